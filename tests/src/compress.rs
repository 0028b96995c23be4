//! Every gzip compressor that this machine has.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use flate2::{Compression, write::GzEncoder};

use crate::reference::Reference;
use crate::rng::Rng;

/// A compressor and its levels.
#[derive(Clone, Copy, Debug)]
pub struct Compressor {
    /// Its name: a program, `go`, or one of `zlib-rs`, `members`, `flushes`, which are made here.
    pub name: &'static str,
    /// Levels worth trying.
    pub levels: &'static [u32],
}

const ALL: [Compressor; 9] = [
    Compressor {
        name: "zlib-rs",
        levels: &[0, 1, 6, 9],
    },
    Compressor {
        name: "members",
        levels: &[1, 6],
    },
    Compressor {
        name: "flushes",
        levels: &[1, 6],
    },
    Compressor {
        name: "go",
        levels: &[0, 1, 6, 9],
    },
    Compressor {
        name: "gzip",
        levels: &[1, 6, 9],
    },
    Compressor {
        name: "pigz",
        levels: &[0, 1, 6, 9, 11],
    },
    Compressor {
        name: "pigz -i",
        levels: &[6],
    },
    Compressor {
        name: "igzip",
        levels: &[0, 1, 3],
    },
    Compressor {
        name: "libdeflate-gzip",
        levels: &[1, 6, 12],
    },
];

/// Those that are here; a loud line about those that are not.
pub fn compressors(reference: bool) -> &'static [Compressor] {
    static HERE: OnceLock<Vec<Compressor>> = OnceLock::new();
    HERE.get_or_init(|| ALL.into_iter().filter(|c| c.is_here(reference)).collect())
}

impl Compressor {
    fn is_here(self, reference: bool) -> bool {
        let program = match self.name {
            "zlib-rs" | "members" | "flushes" => return true,
            "go" => return reference,
            other => other.split(' ').next().expect("a name"),
        };
        let here = Command::new(program)
            .arg("--help")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        if !here {
            crate::skip(&format!(
                "layers compressed by {program}, which is not installed"
            ));
        }
        here
    }

    /// Compresses a file.
    pub fn compress(
        self,
        level: u32,
        from: &Path,
        to: &Path,
        reference: Option<&mut Reference>,
        rng: &mut Rng,
    ) {
        let input = || std::fs::read(from).expect("read a tar");
        match self.name {
            "zlib-rs" => std::fs::write(to, gzip(&input(), level)).expect("write a layer"),
            "members" => {
                // Concatenated members, one of them empty.
                let mut out = gzip(b"", level);
                let input = input();
                let mut rest = &input[..];
                while !rest.is_empty() {
                    let (member, after) = rest.split_at((1 + rng.below(300_000)).min(rest.len()));
                    out.extend(gzip(member, level));
                    rest = after;
                }
                std::fs::write(to, out).expect("write a layer");
            }
            "flushes" => {
                let mut out = GzEncoder::new(Vec::new(), Compression::new(level));
                let input = input();
                let mut rest = &input[..];
                while !rest.is_empty() {
                    let (part, after) = rest.split_at((1 + rng.below(100_000)).min(rest.len()));
                    out.write_all(part)
                        .and_then(|()| out.flush())
                        .expect("deflate");
                    rest = after;
                }
                std::fs::write(to, out.finish().expect("deflate")).expect("write a layer");
            }
            "go" => reference
                .expect("the reference")
                .gzip(level, from, to)
                .expect("Go's gzip"),
            program => {
                let mut words = program.split(' ');
                let mut command = Command::new(words.next().expect("a name"));
                command.args(words).arg(format!("-{level}")).arg("-c");
                command
                    .stdin(File::open(from).expect("open a tar"))
                    .stdout(File::create(to).expect("create a layer"));
                let status = command
                    .status()
                    .unwrap_or_else(|e| panic!("{program}: {e}"));
                assert!(status.success(), "{command:?}: {status}");
            }
        }
    }
}

/// A gzip member by zlib-rs.
pub fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::new(level));
    out.write_all(bytes).expect("deflate");
    out.finish().expect("deflate")
}

/// A gzip of any length that costs almost nothing to make: one deflated chunk, ended by a sync flush so that it may be
/// repeated, as often as asked, between `head` and `tail`. The checksum is combined, not computed.
#[derive(Debug)]
pub struct Repeated {
    head: Vec<u8>,
    chunk: Vec<u8>,
    tail: Vec<u8>,
    plain: (Vec<u8>, Vec<u8>, Vec<u8>),
}

impl Repeated {
    /// Prepares it.
    pub fn new(head: &[u8], chunk: &[u8], tail: &[u8]) -> Self {
        let deflate = |bytes: &[u8], last: bool| {
            let mut out = flate2::Compress::new(Compression::new(6), false);
            let mut to = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 1024);
            let flush = if last {
                flate2::FlushCompress::Finish
            } else {
                flate2::FlushCompress::Sync
            };
            out.compress_vec(bytes, &mut to, flush).expect("deflate");
            assert_eq!(out.total_in(), bytes.len() as u64);
            to
        };
        Self {
            head: deflate(head, false),
            chunk: deflate(chunk, false),
            tail: deflate(tail, true),
            plain: (head.to_vec(), chunk.to_vec(), tail.to_vec()),
        }
    }

    /// Bytes once inflated, with so many chunks.
    pub fn len(&self, times: u64) -> u64 {
        let (head, chunk, tail) = &self.plain;
        head.len() as u64 + chunk.len() as u64 * times + tail.len() as u64
    }

    /// Writes it.
    pub fn write(&self, times: u64, out: &mut impl io::Write) -> io::Result<()> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.plain.0);
        let mut one = crc32fast::Hasher::new();
        one.update(&self.plain.1);
        out.write_all(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")?;
        out.write_all(&self.head)?;
        for _ in 0..times {
            out.write_all(&self.chunk)?;
            crc.combine(&one);
        }
        out.write_all(&self.tail)?;
        crc.update(&self.plain.2);
        out.write_all(&crc.finalize().to_le_bytes())?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "gzip stores the length modulo 2^32"
        )]
        out.write_all(&(self.len(times) as u32).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    #[test]
    fn repeated_is_gzip() {
        let mut out = Vec::new();
        super::Repeated::new(b"head", b"again and again ", b"tail")
            .write(1000, &mut out)
            .unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&out[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, format!("head{}tail", "again and again ".repeat(1000)));
    }
}
