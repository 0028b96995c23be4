//! Tar archives: GNU tar's dialects of a directory, and headers by hand for what no tar would write.

use std::path::Path;
use std::process::{Command, Stdio};

/// GNU tar's dialects.
pub const DIALECTS: [&str; 5] = ["pax", "gnu", "oldgnu", "ustar", "v7"];

/// Whether GNU tar is here.
pub fn gnu_tar() -> bool {
    let version = Command::new("tar")
        .arg("--version")
        .stderr(Stdio::null())
        .output();
    version.is_ok_and(|o| o.stdout.windows(8).any(|w| w == b"GNU tar)"))
}

/// Writes a directory as a tar of a dialect. Entries that the dialect cannot hold are left out, as tar does.
pub fn tar(dialect: &str, dir: &Path, out: &Path) {
    let mut command = Command::new("tar");
    command
        .arg(format!("--format={dialect}"))
        .arg("--sort=name");
    if dialect == "pax" {
        command.args(["--xattrs", "--xattrs-include=user.*"]);
    }
    command.arg("-C").arg(dir).arg("-cf").arg(out).arg(".");
    let done = command.stdin(Stdio::null()).output().expect("run tar");
    // 2 says that something was left out.
    assert!(
        matches!(done.status.code(), Some(0..=2)),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// One header by hand. Fields are bytes, so that they may be wrong.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Its name, at most 100 bytes.
    pub name: &'a [u8],
    /// Its type flag.
    pub kind: u8,
    /// The size field's 12 bytes; see [`octal`] and [`base256`].
    pub size: [u8; 12],
    /// Its link target, at most 100 bytes.
    pub link: &'a [u8],
}

impl Header<'_> {
    /// The 512 bytes, with a right checksum.
    pub fn bytes(&self) -> [u8; 512] {
        let mut h = [0; 512];
        h[..self.name.len()].copy_from_slice(self.name);
        h[100..108].copy_from_slice(b"0000644\0");
        h[108..116].copy_from_slice(b"0000000\0");
        h[116..124].copy_from_slice(b"0000000\0");
        h[124..136].copy_from_slice(&self.size);
        h[136..148].copy_from_slice(b"14000000000\0");
        h[148..156].copy_from_slice(b"        ");
        h[156] = self.kind;
        h[157..157 + self.link.len()].copy_from_slice(self.link);
        h[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        h
    }
}

/// A size of less than 8 GiB.
pub fn octal(size: u64) -> [u8; 12] {
    format!("{size:011o}\0")
        .into_bytes()
        .try_into()
        .expect("less than 8 GiB")
}

/// A size of any number of bits, GNU's way.
pub fn base256(size: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&size.to_be_bytes());
    field
}

/// A whole entry: header, content, padding.
pub fn entry(kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
    let header = Header {
        name,
        kind,
        size: octal(content.len() as u64),
        link,
    };
    let mut out = header.bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

/// A PAX extended header of these records, for the entry after it.
pub fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        // The length counts its own digits.
        let len = (1..20)
            .map(|digits| rest + digits)
            .find(|n| n.to_string().len() + rest == *n)
            .expect("a length");
        body.extend([&len.to_string(), " ", key, "=", value, "\n"]);
    }
    entry(b'x', b"pax", b"", body.as_bytes())
}

/// The two empty blocks at the end.
pub const END: [u8; 1024] = [0; 1024];
