//! The layers of an image, several at once: indexed, copied, or left as they are, each read at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sociable_layer::{Compression, IndexOptions, Indexed};
use sociable_oci::registry::{Reference, RepositoryName};
use sociable_oci::{
    Algorithm, BlobWriter, Descriptor, Digest, Hashing, Manifest, Sink, Source, media_type,
    verified,
};
use sociable_ztoc::{Encoded, Spans, Ztoc};

use crate::cache::{Cache, Header, Key};
use crate::error::{Error, Result, chain};
use crate::image::PlatformImage;
use crate::names::{self, OPAQUE_WHITEOUT};
use crate::outcome::{IndexedLayer, LayerOutcome, Origin, SkipReason};
use crate::prefetch;
use crate::prior::Prior;
use crate::progress::{Event, Run, Work};
use crate::settings::IndexSettings;

/// What to do with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    Index(Compression),
    Skip(SkipReason),
    Copy,
}

/// What to do with a layer whose image is to have an index.
///
/// # Errors
/// [`Error::NotALayer`].
pub(crate) fn plan(
    layer: &Descriptor,
    settings: &IndexSettings,
    source: &dyn Source,
) -> Result<Plan> {
    let not_a_layer = || Error::NotALayer {
        layer: layer.digest,
        media_type: layer.media_type.clone(),
    };
    if !media_type::is_layer(&layer.media_type) {
        return Err(not_a_layer());
    }
    if let Some(reason) = settings.unwanted(&settings.facts(layer))? {
        return Ok(Plan::Skip(reason));
    }
    let format = |format: &str| {
        Ok(Plan::Skip(SkipReason::Format {
            format: format.to_owned(),
        }))
    };
    let compression =
        match media_type::layer_compression(&layer.media_type).ok_or_else(not_a_layer)? {
            // Docker's bare type may hold either; like the reference, only gzip is taken for granted there.
            media_type::Compression::Gzip | media_type::Compression::Unknown => Compression::Gzip,
            media_type::Compression::None if layer.media_type == media_type::OCI_LAYER => {
                Compression::Uncompressed
            }
            media_type::Compression::None => return format(&layer.media_type),
            media_type::Compression::Zstd => return format("zstd"),
        };
    if media_type::is_nondistributable(&layer.media_type) && !source.has(layer)? {
        return Ok(Plan::Skip(SkipReason::Absent));
    }
    Ok(Plan::Index(compression))
}

/// Every layer that has to be read or copied, once: those of the chosen images to be indexed, those of other manifests to be
/// copied.
///
/// # Errors
/// [`Error::NotALayer`].
pub(crate) fn plan_all<'m>(
    job: Job<'_>,
    chosen: &[PlatformImage],
    others: impl IntoIterator<Item = &'m Manifest>,
) -> Result<Vec<(Descriptor, Plan)>> {
    let mut seen = BTreeSet::new();
    let mut planned = Vec::new();
    for layer in chosen.iter().flat_map(|image| &image.manifest.layers) {
        if layer.media_type != names::PREFETCH && seen.insert(layer.digest) {
            planned.push((layer.clone(), plan(layer, job.settings, job.source)?));
        }
    }
    for layer in others.into_iter().flat_map(|manifest| &manifest.layers) {
        if seen.insert(layer.digest) {
            planned.push((layer.clone(), Plan::Copy));
        }
    }
    Ok(planned)
}

/// Layers of a source that can be read only once: they were indexed, and copied, before anybody knew that they would be
/// needed.
pub(crate) trait Prepared: Sync {
    /// Size of a layer that has passed.
    fn size(&self, layer: &Digest) -> Option<u64>;

    /// What was found, with its zTOC written to the sink; `None` for a layer that was not looked into.
    fn layer(
        &self,
        job: Job<'_>,
        layer: &Descriptor,
        compression: Compression,
    ) -> Option<Result<IndexedLayer>>;
}

/// Where the layers come from, where they and their zTOCs go, and how they are indexed.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) settings: &'a IndexSettings,
    pub(crate) cache: Option<&'a Cache>,
    /// Layers that were indexed while they passed by.
    pub(crate) prepared: Option<&'a dyn Prepared>,
    /// Layers that an index of an earlier run, at the source or the destination, has zTOCs of.
    pub(crate) prior: Option<&'a Prior<'a>>,
    pub(crate) run: Run<'a>,
}

/// Works on all layers, each once: largest first, several at a time. The first layer (in the given order) that fails
/// gives the error.
pub(crate) fn process(
    job: Job<'_>,
    layers: &[(Descriptor, Plan)],
) -> Result<BTreeMap<Digest, LayerOutcome>> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(layers[i].0.size));
    let ahead: Vec<u64> = layers
        .iter()
        .filter(|(layer, _)| job.prepared.and_then(|p| p.size(&layer.digest)).is_none())
        .map(|(layer, _)| layer.size)
        .collect();
    if !ahead.is_empty() || job.prepared.is_none() {
        job.run.progress.event(&Event::Plan {
            layers: ahead.len(),
            bytes: ahead.iter().sum(),
        });
    }
    let queue = Mutex::new(order.into_iter());
    let stop = AtomicBool::new(false);
    let results = Mutex::new(BTreeMap::new());
    let lock_results = || results.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..job.run.layers_at_once(layers.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(i) = next.filter(|_| !stop.load(Ordering::Relaxed)) else {
                        return;
                    };
                    let (layer, plan) = &layers[i];
                    let result = one(job, layer, plan, &stop);
                    match &result {
                        Ok(outcome) => job.run.progress.event(&Event::Done { layer, outcome }),
                        Err(_) => stop.store(true, Ordering::Relaxed),
                    }
                    lock_results().insert(i, result);
                }
            });
        }
    });
    if job.run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A layer that was only told to stop is not the one to blame.
    let (stopped, results): (Vec<_>, Vec<_>) = results
        .into_iter()
        .partition(|(_, result)| matches!(result, Err(Error::Cancelled)));
    debug_assert!(stopped.is_empty() || results.iter().any(|(_, r)| r.is_err()));
    results
        .into_iter()
        .map(|(i, result)| result.map(|outcome| (layers[i].0.digest, outcome)))
        .collect()
}

fn one(job: Job<'_>, layer: &Descriptor, plan: &Plan, stop: &AtomicBool) -> Result<LayerOutcome> {
    if let Some(actual) = job.prepared.and_then(|p| p.size(&layer.digest))
        && actual != layer.size
    {
        return Err(Error::WrongSize {
            layer: layer.digest,
            stated: layer.size,
            actual,
        });
    }
    match plan {
        Plan::Index(compression) => {
            if let Some(prepared) = job.prepared.and_then(|p| p.layer(job, layer, *compression)) {
                return prepared.map(LayerOutcome::Indexed);
            }
            if let Some(indexed) = known(job, layer, *compression, stop)? {
                return Ok(LayerOutcome::Indexed(indexed));
            }
            read(job, layer, *compression, stop).map(LayerOutcome::Indexed)
        }
        Plan::Skip(SkipReason::Absent) => Ok(LayerOutcome::Skipped(SkipReason::Absent)),
        Plan::Skip(reason) => {
            copy(job, layer, stop)?;
            Ok(LayerOutcome::Skipped(reason.clone()))
        }
        Plan::Copy => {
            copy(job, layer, stop)?;
            Ok(LayerOutcome::Copied)
        }
    }
}

fn copy(job: Job<'_>, layer: &Descriptor, stop: &AtomicBool) -> Result<()> {
    if job.sink.acquire(job.source, layer)? {
        return Ok(());
    }
    if media_type::is_nondistributable(&layer.media_type) && !job.source.has(layer)? {
        return Ok(());
    }
    job.run.progress.event(&Event::Start {
        layer,
        work: Work::Copy,
    });
    let blob = verified(layer, job.source.blob(layer)?);
    let writer = Some(job.sink.begin_from(job.source, layer)?);
    let mut tee = Tee::new(job.sink, writer, job.run, layer, Box::new(blob), stop);
    let read = io::copy(&mut tee, &mut io::sink());
    let writer = tee.finish()?;
    read.map_err(sociable_oci::Error::io(
        "read a layer from",
        job.source.name(),
    ))?;
    if let Some(writer) = writer {
        writer.commit_trusted(&layer.digest, layer.size)?;
    }
    Ok(())
}

/// A layer that was indexed before: its zTOC, and the layer itself if the destination lacks it.
fn known(
    job: Job<'_>,
    layer: &Descriptor,
    compression: Compression,
    stop: &AtomicBool,
) -> Result<Option<IndexedLayer>> {
    if job.settings.force {
        return Ok(None);
    }
    if let Some(cached) = cached(job.cache, job.settings, layer, compression) {
        copy(job, layer, stop)?;
        if let Some(home) = &cached.home {
            job.sink.seen(&cached.digest, home);
        }
        let digest = job.sink.put(&cached.bytes)?;
        let size = cached.bytes.len() as u64;
        let origin = Origin::Cache;
        let facts = facts(&cached.ztoc, layer, digest, size, origin, job.settings)?;
        return Ok(Some(facts));
    }
    if let Some((bytes, ztoc)) = job
        .prior
        .and_then(|prior| prior.ztoc(job.settings, layer, compression))
    {
        copy(job, layer, stop)?;
        let digest = job.sink.put(&bytes)?;
        let size = bytes.len() as u64;
        // Not into the cache: whoever made that index vouches for this image's, and not for other images on the same layers.
        let origin = Origin::Index;
        let facts = facts(&ztoc, layer, digest, size, origin, job.settings)?;
        return Ok(Some(facts));
    }
    Ok(None)
}

/// A zTOC of the cache.
pub(crate) struct CachedZtoc {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) ztoc: Ztoc,
    /// Where it was written to when it was made.
    home: Option<RepositoryName>,
}

/// What a repository is called in the notes of the cache.
const HOME: &str = "repository";

/// The zTOC that an earlier run with the same options made of a layer.
pub(crate) fn cached(
    cache: Option<&Cache>,
    settings: &IndexSettings,
    layer: &Descriptor,
    compression: Compression,
) -> Option<CachedZtoc> {
    let cache = cache.filter(|_| !settings.force && !settings.policies.give_way())?;
    let cached = cache.get(&Key::new(layer.digest, settings.identity()))?;
    let bytes = cached.read().ok()?;
    let ztoc = Ztoc::decode_unchecked(&bytes).ok()?;
    let home = cached.header().note.get(HOME);
    let home = home.and_then(|home| home.parse::<Reference>().ok());
    fits(&ztoc, layer, compression).then(|| CachedZtoc {
        bytes,
        digest: *cached.digest(),
        ztoc,
        home: home.map(|home| home.name),
    })
}

/// Whether a zTOC can be of a layer.
pub(crate) fn fits(ztoc: &Ztoc, layer: &Descriptor, compression: Compression) -> bool {
    let same = match compression {
        Compression::Gzip => matches!(ztoc.spans, Spans::Gzip(_)),
        Compression::Uncompressed => matches!(ztoc.spans, Spans::Uncompressed(_)),
    };
    same && ztoc.compressed_size == layer.size
}

/// Reads a layer once: indexes it, and copies it if the destination lacks it.
fn read(
    job: Job<'_>,
    layer: &Descriptor,
    compression: Compression,
    stop: &AtomicBool,
) -> Result<IndexedLayer> {
    job.run.progress.event(&Event::Start {
        layer,
        work: Work::Index,
    });
    let mut blob = job.source.blob(layer)?;
    if layer.digest.algorithm() != Algorithm::Sha256 {
        // Indexing computes SHA-256 only.
        blob = Box::new(verified(layer, blob));
    }
    let writer = if job.sink.acquire(job.source, layer)? {
        None
    } else {
        Some(job.sink.begin_from(job.source, layer)?)
    };
    let mut tee = Tee::new(job.sink, writer, job.run, layer, blob, stop);
    let indexed = index_blob(
        &mut tee,
        compression,
        &job.settings.facts(layer),
        job.settings,
    );
    let writer = tee.finish()?;
    let indexed = match indexed {
        Ok(indexed) => indexed,
        Err(source) => {
            // What is wrong with a damaged blob is that it is damaged.
            damaged(job, layer)?;
            return Err(Error::Layer {
                layer: layer.digest,
                source: Box::new(source),
            });
        }
    };
    check_blob(&indexed, layer, &job.source.name())?;
    if let Some(writer) = writer {
        writer.commit_trusted(&layer.digest, layer.size)?;
    }
    store(job, layer, &indexed.ztoc)
}

/// Indexes a blob as it comes.
pub(crate) fn index_blob(
    blob: impl Read + Send,
    compression: Compression,
    facts: &sociable_policy::Layer,
    settings: &IndexSettings,
) -> Result<Indexed, sociable_layer::IndexError> {
    let mut planner = settings.policies.planner(facts)?;
    let options = IndexOptions {
        build_tool_identifier: settings.build_tool_identifier.as_str().into(),
        span_size: settings.span_size,
        planner: &mut *planner,
        diff_id: settings.diff_id,
        allow_unreadable: settings.allow_unreadable,
        limits: settings.limits,
    };
    sociable_layer::index(blob, compression, options)
}

/// Compares what was indexed with what should have been.
pub(crate) fn check_blob(indexed: &Indexed, layer: &Descriptor, place: &str) -> Result<()> {
    let actual = Digest::from_sha256(indexed.digest.0);
    let same = layer.digest.algorithm() != Algorithm::Sha256 || actual == layer.digest;
    if same && indexed.size == layer.size {
        return Ok(());
    }
    Err(Error::WrongLayer {
        place: place.to_owned(),
        expected: layer.digest,
        actual: Box::new(actual),
        size: indexed.size,
    })
}

fn damaged(job: Job<'_>, layer: &Descriptor) -> Result<()> {
    let Ok(blob) = job.source.blob(layer) else {
        return Ok(()); // A stream has passed.
    };
    match io::copy(&mut verified(layer, blob), &mut io::sink()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(sociable_oci::Error::io("read a layer from", job.source.name())(error).into())
        }
        _ => Ok(()),
    }
}

/// Writes a zTOC to the destination and into the cache.
pub(crate) fn store(job: Job<'_>, layer: &Descriptor, ztoc: &Ztoc) -> Result<IndexedLayer> {
    let encoded = encode(ztoc, layer, job.settings)?;
    let blob = Descriptor::new(names::ZTOC, encoded.digest, encoded.size);
    if !job.sink.acquire(job.source, &blob)? {
        let known = Some((&encoded.digest, encoded.size));
        let mut writer = job.sink.begin_with(known, Hashing::Caller)?;
        encoded
            .write_to(&mut writer)
            .map_err(sociable_oci::Error::io("write a zTOC to", job.sink.name()))?;
        writer.commit_trusted(&encoded.digest, encoded.size)?;
    }
    remember(
        job.cache,
        job.settings,
        layer,
        job.sink.repository(),
        |out| encoded.write_to(out),
        job.run,
    );
    facts_of(ztoc, layer, &encoded, job.settings)
}

/// A zTOC as bytes to be written, and what they are called.
pub(crate) struct EncodedZtoc<'a> {
    encoded: Encoded<'a>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl EncodedZtoc<'_> {
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.encoded.write_to(out)
    }
}

pub(crate) fn encode<'a>(
    ztoc: &'a Ztoc,
    layer: &Descriptor,
    settings: &IndexSettings,
) -> Result<EncodedZtoc<'a>> {
    let encoded = settings.encode(ztoc).map_err(|source| Error::Encode {
        layer: layer.digest,
        source: Box::new(source),
    })?;
    Ok(EncodedZtoc {
        digest: Digest::from_sha256(encoded.digest().0),
        size: encoded.size(),
        encoded,
    })
}

/// Puts a zTOC into the cache, with the repository that has it; that it cannot be is no reason to fail.
pub(crate) fn remember(
    cache: Option<&Cache>,
    settings: &IndexSettings,
    layer: &Descriptor,
    home: Option<&RepositoryName>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    run: Run<'_>,
) {
    let Some(cache) = cache.filter(|_| !settings.policies.give_way()) else {
        return;
    };
    let key = Key::new(layer.digest, settings.identity());
    let header = Header {
        layer_size: layer.size,
        note: home
            .map(|home| (HOME.to_owned(), home.to_string()))
            .into_iter()
            .collect(),
        ..Header::default()
    };
    if let Err(error) = cache.put(&key, &header, write) {
        run.note(&format!(
            "the zTOC of layer {} could not be cached: {}",
            layer.digest,
            chain(&error)
        ));
    }
}

pub(crate) fn facts_of(
    ztoc: &Ztoc,
    layer: &Descriptor,
    encoded: &EncodedZtoc<'_>,
    settings: &IndexSettings,
) -> Result<IndexedLayer> {
    let (digest, size) = (encoded.digest, encoded.size);
    facts(ztoc, layer, digest, size, Origin::Layer, settings)
}

/// What an image's documents need to know of a zTOC.
pub(crate) fn facts(
    ztoc: &Ztoc,
    layer: &Descriptor,
    digest: Digest,
    size: u64,
    origin: Origin,
    settings: &IndexSettings,
) -> Result<IndexedLayer> {
    let paths: Vec<_> = settings
        .prefetch
        .iter()
        .map(|path| prefetch::clean_path(path.as_bytes()))
        .collect();
    let chosen = match settings.policies.prefetch() {
        Some(policy) => prefetch::chosen(ztoc, policy, &settings.facts(layer))?,
        None => Vec::new(),
    };
    Ok(IndexedLayer {
        ztoc: digest,
        ztoc_size: size,
        spans: ztoc.spans.len(),
        entries: ztoc.entries.len(),
        uncompressed_size: ztoc.uncompressed_size,
        needs_xattrs: needs_xattrs(ztoc),
        origin,
        prefetch: prefetch::find(ztoc, &paths),
        chosen,
    })
}

pub(crate) fn needs_xattrs(ztoc: &Ztoc) -> bool {
    ztoc.entries.iter().any(|entry| {
        entry.xattrs().next().is_some() || entry.name.ends_with(OPAQUE_WHITEOUT.as_bytes())
    })
}

/// The descriptor of a zTOC in a SOCI index.
pub(crate) fn ztoc_descriptor(
    layer: &Descriptor,
    indexed: &IndexedLayer,
    settings: &IndexSettings,
) -> Descriptor {
    let mut ztoc = Descriptor::new(names::ZTOC, indexed.ztoc, indexed.ztoc_size);
    let mut annotate = |key: &str, value: String| ztoc.annotations.insert(key.to_owned(), value);
    annotate(names::LAYER_MEDIA_TYPE, layer.media_type.clone());
    annotate(names::LAYER_DIGEST, layer.digest.to_string());
    annotate(names::SPAN_SIZE, settings.span_size.to_string());
    if settings.xattr_optimization && !indexed.needs_xattrs {
        annotate(names::DISABLE_XATTRS, "true".to_owned());
    }
    ztoc
}

/// A blob on its way through: whoever reads it also writes it to the destination, where that lacks it.
pub(crate) struct Tee<'a> {
    blob: Box<dyn Read + Send + 'a>,
    writer: Option<Box<dyn BlobWriter + 'a>>,
    failed: Option<Error>,
    layer: Digest,
    sink: &'a dyn Sink,
    run: Run<'a>,
    stop: &'a AtomicBool,
}

impl<'a> Tee<'a> {
    pub(crate) fn new(
        sink: &'a dyn Sink,
        writer: Option<Box<dyn BlobWriter + 'a>>,
        run: Run<'a>,
        layer: &Descriptor,
        blob: Box<dyn Read + Send + 'a>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            blob,
            writer,
            failed: None,
            layer: layer.digest,
            sink,
            run,
            stop,
        }
    }

    /// The writer, if there is one, to be committed.
    ///
    /// # Errors
    /// What ended the reading early, if that was not the blob.
    pub(crate) fn finish(self) -> Result<Option<Box<dyn BlobWriter + 'a>>> {
        self.failed.map_or(Ok(self.writer), Err)
    }

    fn give_up(&mut self, error: Error) -> io::Error {
        self.failed = Some(error);
        io::Error::other("given up")
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.run.cancel.is_cancelled() || self.stop.load(Ordering::Relaxed) {
            return Err(self.give_up(Error::Cancelled));
        }
        let count = self.blob.read(buffer)?;
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.write_all(&buffer[..count])
        {
            let name = self.sink.name();
            let error = sociable_oci::Error::io("write a layer to", name)(error);
            return Err(self.give_up(error.into()));
        }
        self.run.progress.event(&Event::Bytes {
            layer: &self.layer,
            bytes: count as u64,
        });
        Ok(count)
    }
}
