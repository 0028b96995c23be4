//! `pack`: a directory becomes an image with its index, in one pass.
//!
//! The directory's files become one layer, alone or on top of a base image, whose layers are indexed too. The result is
//! what [`convert`](mod@crate::convert) would make of the image without an index.

use std::io::{self, Write};
use std::path::Path;

use sociable_layer::pack::{PackEntry, SourceError, entries, pack_plain, pack_zstd};
use sociable_layer::{PackError, PackOptions};
use sociable_oci::document::History;
use sociable_oci::{
    BlobWriter, Config, Descriptor, Digest, Hashing, Index, Manifest, Platform, Sink, Source,
    media_type,
};
use sociable_policy::compression::{Choice, Format, Levels, layer_choice};
use sociable_policy::{Interface, Layer};
use sociable_tar::walk;
use sociable_ztoc::{Sha256, Ztoc};

use crate::cache::Cache;
use crate::convert::{Report, assemble};
use crate::error::{Error, Result};
use crate::image::{PlatformImage, config};
use crate::layers::{self, Job};
use crate::names::INDEX_DIGEST;
use crate::outcome::{LayerOutcome, SkipReason};
use crate::parts::Part;
use crate::progress::{Event, Run};
use crate::repack::{Packing, Plain, Repacked};
use crate::settings::IndexSettings;

/// What to pack, and how.
pub struct Options<'a> {
    /// The directory.
    pub directory: &'a Path,
    /// How it is walked: what is left out, owners, times.
    pub walk: walk::Options,
    /// How the new layer, and those of the base image, are indexed.
    pub settings: &'a IndexSettings,
    /// The new layer is indexed if it has at least so many (compressed) bytes; [`IndexSettings::min_layer_size`] is for
    /// the layers of the base image.
    pub min_layer_size: u64,
    /// Compression level, 0 to 9.
    pub level: u8,
    /// What to put the layer on.
    pub base: Option<Base<'a>>,
    /// What the new image runs on, if it has no base.
    pub platform: Platform,
    /// Changes the config of the base image, or of an empty one.
    pub configure: &'a dyn Fn(&mut Config),
    /// When the image was made, RFC 3339.
    pub created: Option<String>,
    /// Where zTOCs are kept from run to run.
    pub cache: Option<&'a Cache>,
    /// The tag of the new image in the sink.
    pub tag: Option<&'a str>,
}

/// A base image.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// Where it is.
    pub source: &'a dyn Source,
    /// The image.
    pub image: &'a PlatformImage,
    /// What happens to its layers that are plain tars.
    pub plain: Plain,
}

/// Packs a directory.
///
/// # Errors
/// [`Error`]; the sink's `index.json` then is as it was.
pub fn pack(sink: Box<dyn Sink>, options: Options<'_>, run: Run<'_>) -> Result<Report> {
    let Options {
        directory,
        walk,
        settings,
        min_layer_size,
        level,
        base,
        platform,
        configure,
        created,
        cache,
        tag,
    } = options;
    let packing = Packing {
        sink: &*sink,
        settings,
        cache,
        run,
    };
    let repacked = match base {
        Some(base) if base.plain == Plain::Pack => Repacked::new(base.source, packing)?,
        _ => None,
    };
    let repacked_image = match (&repacked, base) {
        (Some(repacked), Some(base)) => Some(repacked.image(base.image)?),
        _ => None,
    };
    let base = base.map(|base| Base {
        source: repacked.as_ref().map_or(base.source, |repacked| repacked),
        image: repacked_image.as_ref().unwrap_or(base.image),
        ..base
    });
    let job = Job {
        source: base.map_or(&Nothing as &dyn Source, |base| base.source),
        sink: &*sink,
        settings,
        cache,
        prepared: repacked.as_ref().map(Repacked::prepared),
        prior: None,
        run,
    };
    let (mut manifest, mut image_config) = beginnings(base, platform)?;
    let base_image = base.map(|base| base.image.clone());
    let planned = layers::plan_all(job, base_image.as_slice(), [])?;
    let mut outcomes = layers::process(job, &planned)?;

    let part = {
        let walk = walk::Walk::new(directory, walk);
        let entries = entries(walk, |name, what| {
            run.note(&format!("{name} is left out: it is {what}"));
        });
        let place = directory.display().to_string();
        layer(job, entries, &place, level, min_layer_size)?
    };
    outcomes.insert(part.layer.digest, part.outcome);
    manifest.layers.push(part.layer);

    image_config.created.clone_from(&created);
    "layers".clone_into(&mut image_config.rootfs.kind);
    image_config.rootfs.diff_ids.push(part.diff_id);
    // A base without a history stays without: a history of some layers only is not valid.
    if manifest.layers.len() == 1 || !image_config.history.is_empty() {
        image_config.history.push(History {
            created,
            created_by: "sociable pack".to_owned(),
            ..History::default()
        });
    }
    configure(&mut image_config);
    let platform = image_config.platform().normalize();
    let bytes = image_config.to_bytes();
    job.sink.put(&bytes)?;
    manifest.config = Descriptor::of(media_type::OCI_CONFIG, &bytes);

    let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest.to_bytes());
    descriptor.platform = Some(platform.clone());
    let image = PlatformImage {
        platform,
        descriptor: descriptor.clone(),
        manifest: manifest.clone(),
    };
    let entries = Index::new(vec![descriptor]);
    let assembled = assemble(job, &[image], entries, vec![Some(manifest)], &outcomes)?;
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    sink.finish(&assembled.update(tag))?;
    Ok(assembled.report)
}

/// Manifest and config to begin with: those of the base image, or empty ones.
fn beginnings(base: Option<Base<'_>>, platform: Platform) -> Result<(Manifest, Config)> {
    let Some(Base { source, image, .. }) = base else {
        let config = Config {
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version,
            os_features: platform.os_features,
            variant: platform.variant,
            ..Config::default()
        };
        // The config is known when everything else is.
        let placeholder = Descriptor::of(media_type::OCI_CONFIG, b"");
        return Ok((Manifest::new(placeholder, Vec::new()), config));
    };
    let config = config(source, &image.manifest)?;
    let mut manifest = image.manifest.clone();
    let (described, listed) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    if described != listed {
        return Err(Error::Base { described, listed });
    }
    media_type::OCI_MANIFEST.clone_into(&mut manifest.media_type);
    manifest.subject = None;
    manifest.annotations.remove(INDEX_DIGEST);
    Ok((manifest, config))
}

/// Writes a new layer and, if it has `minimum` bytes or more, its zTOC. What the entries are of is `place`, for messages.
pub(crate) fn layer<E: PackEntry>(
    job: Job<'_>,
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    place: &str,
    level: u8,
    minimum: u64,
) -> Result<Part> {
    let run = job.run;
    let mut out = Cancellable {
        writer: job.sink.begin_with(None, Hashing::Caller)?,
        run,
    };
    let facts = job.settings.facts_of_new(media_type::OCI_LAYER_GZIP);
    let policies = &job.settings.policies;
    let mut planner = policies.planner(&facts)?;
    let mut levels = match policies.compression() {
        Some(compression) => Some(compression.levels(&facts)?),
        None => None,
    };
    let chosen = match &mut levels {
        Some(levels) => layer_choice(&mut **levels)?,
        None => None,
    };
    let Choice { format, level } = chosen.unwrap_or(Choice {
        format: Format::Gzip,
        level,
    });
    if let Some(consequence) = consequence(format) {
        let policy = policies.name_of(Interface::Compression);
        let note = format!("policy {policy} packs {consequence}");
        run.progress.event(&Event::Note(&note));
    }
    let mut seen = 0;
    let mut progress = |at: sociable_layer::pack::Progress| {
        let bytes = at.bytes.saturating_sub(seen);
        seen = at.bytes;
        run.progress.event(&Event::Input { bytes });
    };
    let options = PackOptions {
        build_tool_identifier: job.settings.build_tool_identifier.as_str().into(),
        span_size: job.settings.span_size,
        planner: &mut *planner,
        level,
        levels: levels
            .as_deref_mut()
            .map(|levels| levels as &mut dyn Levels),
        jobs: run.jobs,
        limits: job.settings.limits,
        allow_unreadable: job.settings.allow_unreadable,
        progress: Some(&mut progress),
    };
    let packed = match policies.order() {
        Some(order) => sociable_layer::pack::arranged(entries, order, &facts)
            .and_then(|entries| blob(format, entries.into_iter().map(Ok), &mut out, options)),
        None => blob(format, entries, &mut out, options),
    };
    let packed =
        packed.map_err(|error| pack_error(error, run, job.sink, place, || place.to_owned()))?;
    let digest = Digest::from_sha256(packed.digest.0);
    out.writer.commit_trusted(&digest, packed.size)?;
    let media_type = match format {
        Format::Gzip => media_type::OCI_LAYER_GZIP,
        Format::Zstd => media_type::OCI_LAYER_ZSTD,
        Format::None => media_type::OCI_LAYER,
    };
    let layer = Descriptor::new(media_type, digest, packed.size);
    let facts = Layer {
        min_layer_size: minimum,
        packing: true,
        ..job.settings.facts(&layer)
    };
    let outcome = if let Some(reason) = job.settings.unwanted(&facts)? {
        LayerOutcome::Skipped(reason)
    } else if let Some(ztoc) = &packed.ztoc {
        // While packing a policy decides otherwise than about the layer as it is.
        let cache = job.cache.filter(|_| job.settings.are_the_references());
        LayerOutcome::Indexed(layers::store(Job { cache, ..job }, &layer, ztoc)?)
    } else {
        LayerOutcome::Skipped(SkipReason::Format {
            format: "zstd".to_owned(),
        })
    };
    run.progress.event(&Event::Done {
        layer: &layer,
        outcome: &outcome,
    });
    Ok(Part {
        layer,
        diff_id: Digest::from_sha256(packed.diff_id.0),
        outcome,
    })
}

/// What it means to pack a layer otherwise than with gzip.
fn consequence(format: Format) -> Option<&'static str> {
    match format {
        Format::Gzip => None,
        Format::Zstd => Some(
            "a layer with zstd: it gets no index, and a node fetches all of it before it starts",
        ),
        Format::None => Some(
            "a layer as a plain tar: it is loaded lazily, in spans of equal size, and nothing in it is compressed on the wire",
        ),
    }
}

/// A layer that was packed.
struct Blob {
    digest: Sha256,
    size: u64,
    diff_id: Sha256,
    /// None for zstd.
    ztoc: Option<Ztoc>,
}

fn blob<E: PackEntry>(
    format: Format,
    entries: impl IntoIterator<Item = Result<E, SourceError>>,
    out: impl Write + Send,
    options: PackOptions<'_>,
) -> Result<Blob, PackError> {
    let packed = match format {
        Format::Gzip => sociable_layer::pack(entries, out, options)?,
        Format::None => pack_plain(entries, out, options)?,
        Format::Zstd => {
            let packed = pack_zstd(entries, out, options)?;
            return Ok(Blob {
                digest: packed.digest,
                size: packed.size,
                diff_id: packed.diff_id,
                ztoc: None,
            });
        }
    };
    Ok(Blob {
        digest: packed.digest,
        size: packed.size,
        diff_id: packed.diff_id,
        ztoc: Some(packed.ztoc),
    })
}

/// Why `what`, which is in `place`, could not be packed into a sink.
pub(crate) fn pack_error(
    error: PackError,
    run: Run<'_>,
    sink: &dyn Sink,
    place: &str,
    what: impl FnOnce() -> String,
) -> Error {
    if run.cancel.is_cancelled() {
        return Error::Cancelled;
    }
    match error {
        PackError::Write { source, .. } => {
            sociable_oci::Error::io("write a layer to", sink.name())(source).into()
        }
        PackError::Read { source, .. } => {
            sociable_oci::Error::io("read a layer from", place)(source).into()
        }
        source => Error::Pack {
            place: what(),
            source: Box::new(source),
        },
    }
}

/// Stops taking bytes when somebody asked to stop.
pub(crate) struct Cancellable<'a> {
    pub(crate) writer: Box<dyn BlobWriter + 'a>,
    pub(crate) run: Run<'a>,
}

impl Write for Cancellable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.run.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The source of an image without a base.
struct Nothing;

impl Nothing {
    fn no_blob(digest: &Digest) -> sociable_oci::Error {
        sociable_oci::Error::NoBlob {
            place: "an image without a base".to_owned(),
            digest: *digest,
        }
    }
}

impl Source for Nothing {
    fn name(&self) -> String {
        "an image without a base".to_owned()
    }

    fn index(&self) -> sociable_oci::Result<Index> {
        Ok(Index::new(Vec::new()))
    }

    fn blob(&self, descriptor: &Descriptor) -> sociable_oci::Result<Box<dyn io::Read + Send>> {
        Err(Self::no_blob(&descriptor.digest))
    }

    fn blob_at(&self, descriptor: &Descriptor, _: u64, _: usize) -> sociable_oci::Result<Vec<u8>> {
        Err(Self::no_blob(&descriptor.digest))
    }

    fn has(&self, _: &Descriptor) -> sociable_oci::Result<bool> {
        Ok(false)
    }
}
