//! A streamed oci-archive (`-`) as the source: layers pass once, before anybody knows what they are.
//!
//! Every blob that could be a layer worth indexing is indexed and copied to the destination while it passes; zTOCs wait
//! in temporary files until the documents at the stream's end have said which of them are needed. Documents wait in a
//! temporary file too, as they are rewritten before they are stored.
//!
//! What `docker save` writes can be streamed as well: an image layout since Docker 25, files and a `manifest.json`
//! before. Its layers, mostly plain tars, are packed as they pass.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;

use sociable_layer::Compression;
use sociable_oci::docker_manifest::{ArchiveImage, MANIFEST_FILE, named_digest};
use sociable_oci::{
    Descriptor, Digest, Hashing, Index, Manifest, Sink, Source, StreamEvent, StreamReader, limits,
    media_type, verified,
};

use crate::convert::{self, Options, Report};
use crate::create;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layers::{self, Tee};
use crate::outcome::Origin;
use crate::passed::{Found, Passed, kept, temporary};
use crate::progress::{Event, Run, Work};
use crate::repack::{self, Packing, Plain};
use crate::soci_index::Version;

/// [`convert`](convert::convert) for v2, [`create`](create::create) for v1, from a stream that is called `name` in
/// messages. `plain` is for layers of an image layout; in an archive without one, as an old Docker writes it, they are
/// packed in any case, since nothing there says that they should stay.
///
/// # Errors
/// As there, and when the stream is damaged or cut off.
pub fn make(
    version: Version,
    input: impl Read + Send,
    name: &str,
    plain: Plain,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    let streamed = Streamed::read(input, name, plain, &*sink, options, run)?;
    let image = Image::open(&streamed, None)?;
    let make = match version {
        Version::V1 => create::create_prepared,
        Version::V2 => convert::convert_prepared,
    };
    make(
        &streamed,
        &image,
        sink,
        options,
        Some(&streamed.passed),
        run,
    )
}

/// What is left of a stream after it has passed.
struct Streamed {
    name: String,
    index: Index,
    /// Documents, one after another, and where each is.
    documents: File,
    places: BTreeMap<Digest, (u64, u64)>,
    end: u64,
    passed: Passed,
    /// What has become of plain tars that were packed, by their digests.
    packed: BTreeMap<Digest, Descriptor>,
    plain: Plain,
    files: Files,
}

/// What an archive without a layout has.
#[derive(Default)]
struct Files {
    /// Configurations and the like.
    documents: BTreeMap<String, Digest>,
    /// Layers, with a media type.
    layers: BTreeMap<String, Descriptor>,
    links: BTreeMap<String, String>,
    manifest: Option<Vec<u8>>,
}

impl Files {
    /// The layer of a name, through links.
    fn layer(&self, name: &str) -> Option<&Descriptor> {
        let mut at = name;
        for _ in 0..MAX_LINKS {
            if let Some(layer) = self.layers.get(at) {
                return Some(layer);
            }
            at = self.links.get(at)?;
        }
        None
    }
}

/// Most links from one name to another: an archive needs one.
const MAX_LINKS: usize = 8;

/// Where blobs go as they pass.
#[derive(Clone, Copy)]
struct Passing<'a> {
    sink: &'a dyn Sink,
    options: &'a Options<'a>,
    run: Run<'a>,
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
        plain: Plain,
        sink: &dyn Sink,
        options: &Options<'_>,
        run: Run<'_>,
    ) -> Result<Self> {
        let mut this = Self {
            name: name.to_owned(),
            index: Index::new(Vec::new()),
            documents: temporary()?,
            places: BTreeMap::new(),
            end: 0,
            passed: Passed::default(),
            packed: BTreeMap::new(),
            plain,
            files: Files::default(),
        };
        let job = Passing { sink, options, run };
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
                    let (guess, bytes) = this.look(&mut reader, size)?;
                    if guess == Guess::Document {
                        this.keep(digest, size, bytes)?;
                    } else {
                        let blob = Descriptor::new("", digest, size);
                        this.take(&blob, guess, bytes, job)?;
                    }
                }
                StreamEvent::File {
                    name,
                    size,
                    mut reader,
                } => {
                    let (guess, bytes) = this.look(&mut reader, size)?;
                    this.file(name, size, guess, bytes, job)?;
                }
                StreamEvent::Link { name, target } => {
                    this.files.links.insert(name, target);
                }
                _ => {}
            }
        }
        this.settle()?;
        Ok(this)
    }

    /// Reads the first bytes to guess what it is.
    fn look<'r>(
        &self,
        mut reader: impl Read + Send + 'r,
        size: u64,
    ) -> Result<(Guess, Box<dyn Read + Send + 'r>)> {
        let mut head = Vec::new();
        reader
            .by_ref()
            .take(HEAD)
            .read_to_end(&mut head)
            .map_err(sociable_oci::Error::io("read", self.name.clone()))?;
        let guess = guess(&head, size);
        Ok((guess, Box::new(io::Cursor::new(head).chain(reader))))
    }

    /// Keeps a document.
    fn keep(&mut self, digest: Digest, size: u64, mut bytes: impl Read) -> Result<()> {
        io::copy(&mut bytes, &mut self.documents)
            .map_err(sociable_oci::Error::io("read", self.name.clone()))?;
        self.places.insert(digest, (self.end, size));
        self.end += size;
        Ok(())
    }

    fn take(
        &mut self,
        blob: &Descriptor,
        guess: Guess,
        bytes: Box<dyn Read + Send + '_>,
        job: Passing<'_>,
    ) -> Result<()> {
        if self.plain == Plain::Pack && guess == Guess::Layer(Compression::Uncompressed) {
            self.pack(blob, bytes, job).map(drop)
        } else {
            self.pass(blob, guess, bytes, job)
        }
    }

    /// A file of an archive without a layout. What it is for is said at the end.
    fn file(
        &mut self,
        name: String,
        size: u64,
        guess: Guess,
        mut bytes: Box<dyn Read + Send + '_>,
        job: Passing<'_>,
    ) -> Result<()> {
        let small = size <= limits::MAX_DOCUMENT;
        if (name == MANIFEST_FILE && small) || guess == Guess::Document {
            let mut content = Vec::new();
            bytes
                .read_to_end(&mut content)
                .map_err(sociable_oci::Error::io("read", self.name.clone()))?;
            if name == MANIFEST_FILE {
                self.files.manifest = Some(content);
            } else {
                let digest = Digest::sha256_of(&content);
                self.keep(digest, size, &content[..])?;
                self.files.documents.insert(name, digest);
            }
        } else if let Guess::Layer(compression) = guess {
            let layer = match compression {
                Compression::Uncompressed => {
                    // Its digest comes out of the packing; until then its name has to do.
                    let shown = Digest::sha256_of(name.as_bytes());
                    let tar = Descriptor::new("", shown, size);
                    self.pack(&tar, bytes, job)?
                }
                Compression::Gzip => {
                    // Without a digest there is no single pass.
                    let Some(digest) = named_digest(&name) else {
                        return Err(self.wrong(format!(
                            "{name} is compressed and not named after its digest; read the archive from a file, as \
                             docker-archive:FILE"
                        )));
                    };
                    let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size);
                    let verified = Box::new(verified(&blob, bytes));
                    self.pass(&blob, guess, verified, job)?;
                    blob
                }
            };
            self.files.layers.insert(name, layer);
        }
        Ok(())
    }

    fn wrong(&self, why: String) -> Error {
        sociable_oci::Error::NotADockerArchive {
            place: self.name.clone(),
            why,
        }
        .into()
    }

    /// Packs a plain tar.
    fn pack(
        &mut self,
        tar: &Descriptor,
        bytes: Box<dyn Read + Send + '_>,
        job: Passing<'_>,
    ) -> Result<Descriptor> {
        let Passing { sink, options, run } = job;
        if self.packed.is_empty() {
            repack::note(run, &self.name);
        }
        run.progress.event(&Event::Plan {
            layers: 1,
            bytes: tar.size,
        });
        let packing = Packing {
            sink,
            settings: options.settings,
            cache: options.cache,
            run,
        };
        let packed = repack::pack_layer(tar, bytes, &self.name, packing)?;
        let mut layer = packed.layer;
        media_type::OCI_LAYER_GZIP.clone_into(&mut layer.media_type);
        self.passed.add(layer.digest, layer.size, packed.found);
        self.packed.insert(packed.packed.diff_id, layer.clone());
        Ok(layer)
    }

    /// At the end: puts packed layers in the place of tars, and makes the documents that an old archive lacks.
    fn settle(&mut self) -> Result<()> {
        let documents = if self.index.manifests.is_empty()
            && let Some(manifest) = self.files.manifest.take()
        {
            let images = ArchiveImage::parse(&self.name, &manifest)?;
            let image = ArchiveImage::choose(&self.name, &images, None)?;
            let manifest = self.make_manifest(image)?;
            let bytes = manifest.to_bytes();
            let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
            self.index = Index::new(vec![descriptor]);
            vec![bytes]
        } else if self.packed.is_empty() {
            Vec::new()
        } else {
            let rewritten = repack::rewrite(&*self, &self.index, &self.packed)?;
            self.index = rewritten.index;
            rewritten.documents
        };
        for bytes in documents {
            let digest = Digest::sha256_of(&bytes);
            self.keep(digest, bytes.len() as u64, &bytes[..])?;
        }
        Ok(())
    }

    fn make_manifest(&self, image: &ArchiveImage) -> Result<Manifest> {
        let missing =
            |name: &str| self.wrong(format!("{MANIFEST_FILE} lists {name}, which is not there"));
        let config = self
            .files
            .documents
            .get(&image.config)
            .ok_or_else(|| missing(&image.config))?;
        let size = self.places.get(config).map_or(0, |place| place.1);
        let config = self.document_within(
            &Descriptor::new(media_type::OCI_CONFIG, *config, size),
            limits::MAX_DOCUMENT,
        )?;
        let mut wrong = None;
        let manifest = image.manifest(&self.name, &config, |name, diff_id| {
            let layer = self.files.layer(name).cloned();
            let is = layer.as_ref().and_then(|layer| self.diff_id_of(layer));
            wrong = match (&layer, is) {
                (None, _) => Some(missing(name)),
                (Some(layer), Some(actual)) if actual != diff_id => Some(Error::WrongLayer {
                    place: self.name.clone(),
                    expected: diff_id,
                    actual: Box::new(actual),
                    size: layer.size,
                }),
                _ => wrong.take(),
            };
            Ok(layer.unwrap_or_else(|| Descriptor::new("", diff_id, 0)))
        })?;
        wrong.map_or(Ok(manifest), Err)
    }

    /// The digest of the tar that became this layer.
    fn diff_id_of(&self, layer: &Descriptor) -> Option<Digest> {
        let mut packed = self.packed.iter();
        let found = packed.find(|(_, packed)| packed.digest == layer.digest);
        found.map(|(tar, _)| *tar)
    }

    /// Copies a blob to the sink, and indexes it if that could be wanted.
    fn pass(
        &mut self,
        blob: &Descriptor,
        guess: Guess,
        bytes: Box<dyn Read + Send + '_>,
        job: Passing<'_>,
    ) -> Result<()> {
        let Passing { sink, options, run } = job;
        let settings = options.settings;
        // A policy is asked when the layer's media type is known.
        let large = settings.policies.selection().is_some() || blob.size >= settings.min_layer_size;
        let mut found = None;
        let mut compression = None;
        if let Guess::Layer(guessed) = guess
            && large
        {
            match layers::cached(options.cache, settings, blob, guessed) {
                Some(cached) => {
                    let (bytes, digest) = (&cached.bytes, cached.digest);
                    let size = bytes.len() as u64;
                    let facts =
                        layers::facts(&cached.ztoc, blob, digest, size, Origin::Cache, settings)?;
                    let ztoc = kept(|file| file.write_all(bytes))?;
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
        let indexed = compression.map(|c| {
            let indexed = layers::index_blob(&mut tee, c, &settings.facts(blob), settings);
            (c, indexed)
        });
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
                let encoded = layers::encode(&indexed.ztoc, blob, settings)?;
                layers::remember(
                    options.cache,
                    settings,
                    blob,
                    None,
                    |out| encoded.write_to(out),
                    run,
                );
                found = Some(Found::Layer {
                    compression,
                    facts: layers::facts_of(&indexed.ztoc, blob, &encoded, settings)?,
                    ztoc: kept(|file| encoded.write_to(file))?,
                });
            }
            Some((_, Err(error))) => found = Some(Found::Bad(error)),
            None => {}
        }
        self.passed.add(blob.digest, blob.size, found);
        Ok(())
    }
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
        Ok(self.places.contains_key(digest) || self.passed.contains(digest))
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
