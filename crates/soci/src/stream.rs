//! A streamed oci-archive (`-`) as the source: layers pass once, before anybody knows what they are.
//!
//! Every blob that could be a layer worth indexing is indexed and copied to the destination while it passes; zTOCs wait
//! in temporary files until the documents at the stream's end have said which of them are needed. Documents wait in a
//! temporary file too, as they are rewritten before they are stored.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use sociable_layer::{Compression, IndexError};
use sociable_oci::{
    Descriptor, Digest, Hashing, Index, Sink, Source, StreamEvent, StreamReader, limits,
};

use crate::convert::{self, Options, Report};
use crate::create;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layers::{self, Job, Prepared, Tee};
use crate::outcome::{IndexedLayer, Origin};
use crate::progress::{Event, Run, Work};
use crate::soci_index::Version;

/// [`convert`](convert::convert) for v2, [`create`](create::create) for v1, from a stream that is called `name` in
/// messages.
///
/// # Errors
/// As there, and when the stream is damaged or cut off.
pub fn make(
    version: Version,
    input: impl Read + Send,
    name: &str,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    let streamed = Streamed::read(input, name, &*sink, options, run)?;
    let image = Image::open(&streamed, None)?;
    let make = match version {
        Version::V1 => create::create_prepared,
        Version::V2 => convert::convert_prepared,
    };
    make(&streamed, &image, sink, options, Some(&streamed), run)
}

/// What is left of a stream after it has passed.
struct Streamed {
    name: String,
    index: Index,
    /// Documents, one after another, and where each is.
    documents: File,
    places: BTreeMap<Digest, (u64, u64)>,
    /// Blobs that are at the destination, and their sizes.
    passed: BTreeMap<Digest, u64>,
    indexed: Mutex<BTreeMap<Digest, Found>>,
}

/// What was found in a blob that could be a layer.
enum Found {
    Layer {
        compression: Compression,
        facts: IndexedLayer,
        ztoc: File,
    },
    Bad(IndexError),
}

/// What a blob seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Document,
    Layer(Compression),
    Other,
}

/// Bytes looked at to guess what a blob is: one tar header.
const HEAD: u64 = 512;

fn guess(head: &[u8], size: u64) -> Guess {
    match head {
        [b'{', ..] if size <= limits::MAX_DOCUMENT => Guess::Document,
        [0x1f, 0x8b, ..] => Guess::Layer(Compression::Gzip),
        _ if head
            .first_chunk()
            .is_some_and(sociable_tar::header::is_header) =>
        {
            Guess::Layer(Compression::Uncompressed)
        }
        _ => Guess::Other,
    }
}

impl Streamed {
    fn read(
        input: impl Read + Send,
        name: &str,
        sink: &dyn Sink,
        options: &Options<'_>,
        run: Run<'_>,
    ) -> Result<Self> {
        let mut this = Self {
            name: name.to_owned(),
            index: Index::new(Vec::new()),
            documents: temporary()?,
            places: BTreeMap::new(),
            passed: BTreeMap::new(),
            indexed: Mutex::default(),
        };
        let mut end = 0;
        let mut reader = StreamReader::new(input, name);
        while let Some(event) = reader.next_event()? {
            if run.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match event {
                StreamEvent::Index(index) => this.index = index,
                StreamEvent::Blob {
                    digest,
                    size,
                    mut reader,
                } => {
                    let mut head = Vec::new();
                    reader
                        .by_ref()
                        .take(HEAD)
                        .read_to_end(&mut head)
                        .map_err(sociable_oci::Error::io("read", name))?;
                    let guess = guess(&head, size);
                    let mut bytes = io::Cursor::new(head).chain(reader);
                    if guess == Guess::Document {
                        io::copy(&mut bytes, &mut this.documents)
                            .map_err(sociable_oci::Error::io("read", name))?;
                        this.places.insert(digest, (end, size));
                        end += size;
                    } else {
                        let blob = Descriptor::new("", digest, size);
                        this.pass(&blob, guess, Box::new(bytes), sink, options, run)?;
                    }
                }
                _ => {}
            }
        }
        Ok(this)
    }

    /// Copies a blob to the sink, and indexes it if that could be wanted.
    fn pass(
        &mut self,
        blob: &Descriptor,
        guess: Guess,
        bytes: Box<dyn Read + Send + '_>,
        sink: &dyn Sink,
        options: &Options<'_>,
        run: Run<'_>,
    ) -> Result<()> {
        let settings = options.settings;
        let large = blob.size >= settings.min_layer_size;
        let mut found = None;
        let mut compression = None;
        if let Guess::Layer(guessed) = guess
            && large
        {
            match layers::cached(options.cache, settings, blob, guessed) {
                Some((ztoc_bytes, ztoc)) => {
                    let digest = Digest::sha256_of(&ztoc_bytes);
                    let size = ztoc_bytes.len() as u64;
                    let facts = layers::facts(&ztoc, digest, size, Origin::Cache, settings);
                    let ztoc = kept(|file| file.write_all(&ztoc_bytes))?;
                    found = Some(Found::Layer {
                        compression: guessed,
                        facts,
                        ztoc,
                    });
                }
                None => compression = Some(guessed),
            }
        }
        let work = if compression.is_some() {
            Work::Index
        } else {
            Work::Copy
        };
        run.progress.event(&Event::Plan {
            layers: 1,
            bytes: blob.size,
        });
        run.progress.event(&Event::Start { layer: blob, work });

        let stop = AtomicBool::new(false);
        let writer = if sink.holds(blob)? {
            None
        } else {
            Some(sink.begin_with(Some((&blob.digest, blob.size)), Hashing::Caller)?)
        };
        let mut tee = Tee::new(sink, writer, run, blob, bytes, &stop);
        let indexed = compression.map(|c| (c, layers::index_blob(&mut tee, c, settings)));
        // A blob that turns out not to be a layer's is copied all the same.
        let rest = io::copy(&mut tee, &mut io::sink());
        let writer = tee.finish()?;
        rest.map_err(sociable_oci::Error::io("read", self.name.clone()))?;
        if let Some(writer) = writer {
            writer.commit_trusted(&blob.digest, blob.size)?;
        }
        match indexed {
            Some((compression, Ok(indexed))) => {
                layers::check_blob(&indexed, blob, &self.name)?;
                let encoded = layers::encode(&indexed.ztoc, blob)?;
                layers::remember(options.cache, settings, blob, |out| encoded.write_to(out), run);
                found = Some(Found::Layer {
                    compression,
                    facts: layers::facts_of(&indexed.ztoc, &encoded, settings),
                    ztoc: kept(|file| encoded.write_to(file))?,
                });
            }
            Some((_, Err(error))) => found = Some(Found::Bad(error)),
            None => {}
        }
        self.passed.insert(blob.digest, blob.size);
        self.indexed_mut()
            .extend(found.map(|found| (blob.digest, found)));
        Ok(())
    }

    fn indexed_mut(&mut self) -> &mut BTreeMap<Digest, Found> {
        self.indexed
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(Error::Temporary)
}

/// A temporary file with what `write` writes, to be read from its beginning.
fn kept(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<File> {
    let mut file = temporary()?;
    let mut buffered = io::BufWriter::with_capacity(1 << 18, &mut file);
    write(&mut buffered)
        .and_then(|()| buffered.flush())
        .map_err(Error::Temporary)?;
    drop(buffered);
    file.seek(SeekFrom::Start(0)).map_err(Error::Temporary)?;
    Ok(file)
}

impl Prepared for Streamed {
    fn size(&self, layer: &Digest) -> Option<u64> {
        self.passed.get(layer).copied()
    }

    fn layer(
        &self,
        job: Job<'_>,
        layer: &Descriptor,
        wanted: Compression,
    ) -> Option<Result<IndexedLayer>> {
        if !self.passed.contains_key(&layer.digest) {
            return None;
        }
        let found = self
            .indexed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&layer.digest);
        Some(match found {
            Some(Found::Layer {
                compression,
                facts,
                ztoc,
            }) if compression == wanted => store(job, &facts, ztoc).map(|()| facts),
            Some(Found::Bad(source)) => Err(Error::Layer {
                layer: layer.digest,
                source: Box::new(source),
            }),
            _ => Err(Error::WrongFormat {
                layer: layer.digest,
                media_type: layer.media_type.clone(),
            }),
        })
    }
}

fn store(job: Job<'_>, facts: &IndexedLayer, mut ztoc: File) -> Result<()> {
    if job.sink.has(&facts.ztoc)? {
        return Ok(());
    }
    let known = Some((&facts.ztoc, facts.ztoc_size));
    let mut writer = job.sink.begin_with(known, Hashing::Caller)?;
    io::copy(&mut ztoc, &mut writer)
        .map_err(sociable_oci::Error::io("write a zTOC to", job.sink.name()))?;
    writer.commit_trusted(&facts.ztoc, facts.ztoc_size)?;
    Ok(())
}

impl Source for Streamed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn index(&self) -> sociable_oci::Result<Index> {
        Ok(self.index.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> sociable_oci::Result<Box<dyn Read + Send>> {
        let bytes = self.blob_at(
            descriptor,
            0,
            usize::try_from(self.size(descriptor)?).unwrap_or(0),
        )?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn blob_at(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        len: usize,
    ) -> sociable_oci::Result<Vec<u8>> {
        let size = self.size(descriptor)?;
        let end = offset.saturating_add(len as u64);
        if end > size {
            return Err(sociable_oci::Error::OutOfRange {
                place: self.name.clone(),
                digest: descriptor.digest,
                size,
                offset,
                end,
            });
        }
        let start = self
            .places
            .get(&descriptor.digest)
            .map_or(0, |place| place.0);
        let mut bytes = vec![0; len];
        self.documents
            .read_exact_at(&mut bytes, start + offset)
            .map_err(sociable_oci::Error::io(
                "read a document of",
                self.name.clone(),
            ))?;
        Ok(bytes)
    }

    fn has(&self, descriptor: &Descriptor) -> sociable_oci::Result<bool> {
        let digest = &descriptor.digest;
        Ok(self.places.contains_key(digest) || self.passed.contains_key(digest))
    }
}

impl Streamed {
    /// Size of a document. Other blobs have passed and cannot be read again.
    fn size(&self, descriptor: &Descriptor) -> sociable_oci::Result<u64> {
        let place = self.places.get(&descriptor.digest);
        place
            .map(|place| place.1)
            .ok_or_else(|| sociable_oci::Error::NoBlob {
                place: format!("what is left of {}", self.name),
                digest: descriptor.digest,
            })
    }
}
