//! `-`: an oci-archive on standard input or output, as a stream.
//!
//! `docker buildx build -o type=oci,dest=-` writes its entries sorted by name: the blobs first, then `index.json` and
//! `oci-layout`, and for Docker a `manifest.json`. So what a blob is becomes clear only
//! after it has passed, and reading is a sequence of events. Any other order is fine as well.
//!
//! On a pipe nothing can be taken back. When writing fails in the middle, neither `index.json` nor the end-of-archive
//! blocks are written, so that a consumer refuses what it got.

use std::io::{self, Read, Write};

use crate::digest::{Digest, VerifyingReader};
use crate::docker_manifest::MANIFEST_FILE;
use crate::document::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::oci_dir::{INDEX_FILE, check_layout, parse_index};
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Sink, copy};
use crate::tar_read::{EntryData, Role, Skip, TarReader};
use crate::tar_write::{Output, TarSink};

/// What comes along in a stream.
#[non_exhaustive]
pub enum StreamEvent<'a> {
    /// A blob. Its media type is not known yet, unless [`StreamEvent::Index`] came before.
    Blob {
        /// The digest that its name states.
        digest: Digest,
        /// Its size.
        size: u64,
        /// Its bytes, verified for whoever reads them to the end. What is not read is skipped, and not verified.
        reader: BlobReader<'a>,
    },
    /// `index.json`.
    Index(Index),
    /// `oci-layout`, of a version that is known.
    Layout,
    /// A file that does not belong to the layout. In an archive of an old Docker it is a layer, a configuration, or the
    /// `manifest.json` that says which is which: see [`docker_manifest`](crate::docker_manifest).
    File {
        /// Its name.
        name: String,
        /// Its size.
        size: u64,
        /// Its bytes, with nothing to verify them by.
        reader: Box<dyn Read + Send + 'a>,
    },
    /// A link: an old Docker writes a layer that an image has twice once, and a link.
    Link {
        /// Its name.
        name: String,
        /// The name of what it leads to.
        target: String,
    },
    /// A directory and the like.
    Other {
        /// Its name.
        name: String,
    },
}

/// The bytes of a blob in a stream.
pub struct BlobReader<'a>(Box<VerifyingReader<Box<dyn Read + Send + 'a>>>);

impl Read for BlobReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

struct Forward<R>(R);

impl<R: Read> Read for Forward<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read> Skip for Forward<R> {
    fn skip(&mut self, n: u64) -> io::Result<()> {
        if io::copy(&mut (&mut self.0).take(n), &mut io::sink())? < n {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Reads a streamed oci-archive. See the [module](self).
pub struct StreamReader<R> {
    tar: TarReader<Forward<R>>,
    /// `index.json`, or the `manifest.json` of an archive without one.
    documents_seen: bool,
    drained: bool,
}

impl<R: Read + Send> StreamReader<R> {
    /// Reads from `input`, which is called `name` in messages. Give it a buffered reader.
    pub fn new(input: R, name: impl Into<String>) -> Self {
        Self {
            tar: TarReader::new(Forward(input), name.into()),
            documents_seen: false,
            drained: false,
        }
    }

    /// The next event, or `None` at the end. Whatever was not read of the blob before is skipped.
    ///
    /// # Errors
    /// When the stream cannot be read, is damaged or cut off, or ends without an `index.json` or `manifest.json`.
    pub fn next_event(&mut self) -> Result<Option<StreamEvent<'_>>> {
        let Some(entry) = self.tar.next_entry()? else {
            if !self.documents_seen {
                return Err(Error::NotALayout {
                    place: self.tar.place().to_owned(),
                    why: format!("it ended without a file {INDEX_FILE}"),
                });
            }
            if !self.drained {
                // The producer pads its last record, and should not die of a closed pipe on account of that.
                io::copy(&mut self.tar.get_mut().0, &mut io::sink())
                    .map_err(Error::io("read", self.tar.place().to_owned()))?;
                self.drained = true;
            }
            return Ok(None);
        };
        Ok(Some(match entry.role {
            Role::Blob(digest) => {
                let data: EntryData<'_, _> = self.tar.data();
                let reader = BlobReader(Box::new(VerifyingReader::new(
                    Box::new(data),
                    digest,
                    entry.size,
                )));
                StreamEvent::Blob {
                    digest,
                    size: entry.size,
                    reader,
                }
            }
            Role::Index => {
                let bytes = self.tar.document()?;
                self.documents_seen = true;
                StreamEvent::Index(parse_index(self.tar.place(), &bytes)?)
            }
            Role::Layout => {
                let bytes = self.tar.document()?;
                check_layout(self.tar.place(), &bytes)?;
                StreamEvent::Layout
            }
            Role::File => {
                self.documents_seen |= entry.name == MANIFEST_FILE;
                StreamEvent::File {
                    name: entry.name,
                    size: entry.size,
                    reader: Box::new(self.tar.data()),
                }
            }
            Role::Link(target) => StreamEvent::Link {
                name: entry.name,
                target,
            },
            Role::Other => StreamEvent::Other { name: entry.name },
        }))
    }

    /// Reads the whole stream, puts every blob into `sink`, verified, and returns the `index.json`.
    /// It is for the caller to finish the sink.
    ///
    /// # Errors
    /// As [`StreamReader::next_event`], and when a blob is damaged or cannot be written.
    pub fn unpack_into(mut self, sink: &dyn Sink) -> Result<Index> {
        let mut found = None;
        let place = self.tar.place().to_owned();
        while let Some(event) = self.next_event()? {
            match event {
                StreamEvent::Blob {
                    digest,
                    size,
                    mut reader,
                } => {
                    if !sink.has(&digest)? {
                        // The reader has hashed it already.
                        let mut writer = sink.begin_with(Some((&digest, size)), Hashing::Caller)?;
                        copy(&mut reader, &mut writer, &place, &sink.name())?;
                        writer.commit_trusted(&digest, size)?;
                    }
                }
                StreamEvent::Index(index) => found = Some(index),
                StreamEvent::Layout
                | StreamEvent::File { .. }
                | StreamEvent::Link { .. }
                | StreamEvent::Other { .. } => {}
            }
        }
        found.ok_or_else(|| Error::NotALayout {
            place,
            why: format!("it ended without a file {INDEX_FILE}"),
        })
    }
}

struct Pipe<W>(W);

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write + Send> Output for Pipe<W> {
    fn rollback(&mut self, _to: u64) -> io::Result<bool> {
        Ok(false)
    }
}

/// Writes a streamed oci-archive. See the [module](self).
///
/// Blobs whose digest and size are known at [`Sink::begin_with`] go straight through; the others wait in an unlinked
/// temporary file in `TMPDIR`. A blob that was begun with known size has to be completed, or the stream is lost.
pub struct OciStreamSink<W: Write + Send + 'static> {
    tar: TarSink<Pipe<W>>,
}

impl<W: Write + Send + 'static> OciStreamSink<W> {
    /// Starts an archive on `output`, which is called `name` in messages.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn new(output: W, name: impl Into<String>) -> Result<Self> {
        Ok(Self {
            tar: TarSink::new(Pipe(output), name.into(), None)?,
        })
    }
}

impl<W: Write + Send + 'static> Sink for OciStreamSink<W> {
    fn name(&self) -> String {
        self.tar.place().to_owned()
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.tar.has(digest))
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        self.tar.begin(known, hashing)
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        self.tar.finish(update)?;
        Ok(update.image().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    use crate::error::chain;
    use crate::media_type;
    use crate::oci_dir::{OciDir, OciDirSink};
    use crate::source::Source as _;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stream(blobs: &[&[u8]]) -> Vec<u8> {
        let output = Shared::default();
        let sink = OciStreamSink::new(output.clone(), "the stream").unwrap();
        for (i, blob) in blobs.iter().enumerate() {
            if i % 2 == 0 {
                sink.put(blob).unwrap();
            } else {
                let mut writer = sink.begin(None).unwrap();
                writer.write_all(blob).unwrap();
                writer.commit(None).unwrap();
            }
        }
        let image = Descriptor::of(media_type::OCI_MANIFEST, blobs[0]);
        Box::new(sink).finish(&IndexUpdate::new(image)).unwrap();
        output.0.lock().unwrap().clone()
    }

    /// As buildx writes it: sorted, with Docker's manifest.json, and padded to a whole record.
    fn buildx(blob: &[u8]) -> Vec<u8> {
        let image = Descriptor::of(media_type::OCI_MANIFEST, blob);
        let mut builder = tar::Builder::new(Vec::new());
        let index = Index::new(vec![image.clone()]).to_bytes();
        for (name, content) in [
            ("blobs/", &b""[..]),
            ("blobs/sha256/", b""),
            (&format!("./blobs/sha256/{}", image.digest.hex()), blob),
            ("index.json", &index),
            ("manifest.json", b"[{}]"),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(if name.ends_with('/') {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        let mut bytes = builder.into_inner().unwrap();
        bytes.resize(bytes.len().next_multiple_of(10240), 0);
        bytes
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        let mut reader = StreamReader::new(bytes, "the stream");
        let mut names = Vec::new();
        while let Some(event) = reader.next_event()? {
            names.push(match event {
                StreamEvent::Blob {
                    size, mut reader, ..
                } => {
                    let mut out = Vec::new();
                    reader
                        .read_to_end(&mut out)
                        .map_err(Error::io("read", "the stream"))?;
                    assert_eq!(out.len() as u64, size);
                    format!("blob {size}")
                }
                StreamEvent::Index(index) => format!("index {}", index.manifests.len()),
                StreamEvent::Layout => "layout".to_owned(),
                StreamEvent::File { name, .. }
                | StreamEvent::Link { name, .. }
                | StreamEvent::Other { name } => name,
            });
        }
        assert!(reader.next_event()?.is_none());
        Ok(names)
    }

    #[test]
    fn what_we_write_we_read() {
        let bytes = stream(&[b"hello", &[7; 5000], b""]);
        assert_eq!(
            names(&bytes).unwrap(),
            [
                "layout",
                "blobs/",
                "blobs/sha256/",
                "blob 5",
                "blob 5000",
                "blob 0",
                "index 1"
            ]
        );
    }

    #[test]
    fn what_buildx_writes() {
        let bytes = buildx(b"hello");
        assert_eq!(
            names(&bytes).unwrap(),
            [
                "blobs/",
                "blobs/sha256/",
                "blob 5",
                "index 1",
                "manifest.json",
                "layout"
            ]
        );
        let dir = tempfile::tempdir().unwrap();
        let sink = OciDirSink::create(dir.path()).unwrap();
        let index = StreamReader::new(&bytes[..], "x")
            .unpack_into(&sink)
            .unwrap();
        let image = index.manifests[0].clone();
        Box::new(sink)
            .finish(&IndexUpdate::new(image.clone()))
            .unwrap();
        assert_eq!(
            OciDir::open(dir.path()).unwrap().document(&image).unwrap(),
            b"hello"
        );
    }

    #[test]
    fn blobs_may_be_left_unread() {
        let bytes = stream(&[&[7; 5000], b"x"]);
        let mut reader = StreamReader::new(&bytes[..], "x");
        let mut events = 0;
        while let Some(event) = reader.next_event().unwrap() {
            if let StreamEvent::Blob { mut reader, .. } = event {
                reader.read_exact(&mut [0; 1]).unwrap();
            }
            events += 1;
        }
        assert_eq!(events, 6);
    }

    #[test]
    fn truncated_and_damaged_streams_are_refused() {
        let bytes = stream(&[&[5; 1000]]);
        for len in (0..bytes.len() - 512).step_by(128) {
            assert!(names(&bytes[..len]).is_err(), "{len}");
            // Going on after an error is useless, and does no harm.
            let mut reader = StreamReader::new(&bytes[..len], "x");
            assert!((0..10).any(|_| reader.next_event().is_err()));
            assert!(reader.next_event().is_err());
        }
        let at = bytes.windows(64).position(|w| w == [5; 64]).unwrap();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(matches!(names(&flipped), Err(Error::Verify { .. })));
        let error = names(&[0; 1024]).unwrap_err();
        assert!(chain(&error).contains("without a file index.json"));
    }

    #[test]
    fn a_lost_stream_has_no_end() {
        let output = Shared::default();
        let sink = OciStreamSink::new(output.clone(), "the stream").unwrap();
        let digest = sink.put(b"x").unwrap();
        let mut writer = sink.begin(Some((&Digest::sha256_of(b"yy"), 2))).unwrap();
        writer.write_all(b"y").unwrap();
        drop(writer);
        assert!(matches!(sink.put(b"z"), Err(Error::Incomplete { .. })));
        let image = Descriptor::new(media_type::OCI_MANIFEST, digest, 1);
        let error = Box::new(sink).finish(&IndexUpdate::new(image)).unwrap_err();
        assert!(chain(&error).contains("has not been completed"), "{error}");
        assert!(names(&output.0.lock().unwrap()).is_err());
    }

    #[test]
    fn two_blobs_at_once() {
        let output = Shared::default();
        let sink = OciStreamSink::new(output.clone(), "the stream").unwrap();
        let big = vec![3; 3000];
        let digest = Digest::sha256_of(&big);
        let mut writer = sink.begin(Some((&digest, 3000))).unwrap();
        writer.write_all(&big[..1000]).unwrap();
        sink.put(b"in between").unwrap();
        writer.write_all(&big[1000..]).unwrap();
        writer.commit(None).unwrap();
        let image = Descriptor::new(media_type::OCI_MANIFEST, digest, 3000);
        Box::new(sink).finish(&IndexUpdate::new(image)).unwrap();
        assert_eq!(
            names(&output.0.lock().unwrap()).unwrap(),
            [
                "layout",
                "blobs/",
                "blobs/sha256/",
                "blob 3000",
                "blob 10",
                "index 1"
            ]
        );
    }
}
