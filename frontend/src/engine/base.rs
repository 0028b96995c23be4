//! Steps that read a base image.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sociable_oci::oci_dir::OciDirSink;
use sociable_oci::{
    BlobWriter, Descriptor, Digest, Document, Error, Hashing, Index, IndexUpdate, Platform, Result,
    Sink, Source,
};
use sociable_soci::Run;
use sociable_soci::image::Image;
use sociable_soci::parts::{self, Part};

use super::registry::{self, Patience};
use super::{EngineError, policies};
use crate::task::{BLOB_FILE, NOT_READ, Remote, Settings, place};

/// Indexes a layer, or copies it, where there are no settings.
pub(super) fn index(
    settings: Option<&Settings>,
    layer: &Descriptor,
    diff_id: Digest,
    keep: bool,
    from: Option<&Remote>,
    run: Run<'_>,
) -> std::result::Result<Part, EngineError> {
    let source: Box<dyn Source> = match from {
        Some(remote) => open(remote, Patience::Much)?,
        None => Box::new(Mounted {
            path: Path::new(place::BLOB).join(BLOB_FILE),
            name: format!("layer {} of the base image", layer.digest),
        }),
    };
    let sink = OciDirSink::create(place::OUT)?;
    let sink: Box<dyn Sink> = if keep {
        Box::new(sink)
    } else {
        Box::new(Without {
            sink,
            layer: layer.digest,
        })
    };
    Ok(match settings {
        Some(settings) => {
            let settings = settings.index_settings(policies::load(settings)?);
            parts::index_layer(&*source, layer, diff_id, &*sink, &settings, run)?
        }
        None => parts::copy_layer(&*source, layer, diff_id, &*sink, run)?,
    })
}

/// The manifest for a platform.
#[allow(clippy::print_stderr, reason = "the step's log")]
pub(super) fn manifest(
    from: &Remote,
    platform: Option<&Platform>,
    gently: bool,
) -> std::result::Result<Vec<u8>, EngineError> {
    let patience = if gently {
        Patience::Little
    } else {
        Patience::Much
    };
    match read_manifest(&*open(from, patience)?, platform) {
        Err(error) if gently => {
            eprintln!(
                "BuildKit is asked for it instead: {}",
                sociable_soci::chain(&error)
            );
            Ok(NOT_READ.to_vec())
        }
        manifest => manifest,
    }
}

fn read_manifest(
    source: &dyn Source,
    platform: Option<&Platform>,
) -> std::result::Result<Vec<u8>, EngineError> {
    let image = Image::open(source, None)?;
    let descriptor = image.one(source, platform)?.descriptor;
    let bytes = source.document(&descriptor)?;
    match Document::parse(&descriptor.media_type, &bytes) {
        Ok(Some(Document::Manifest(_))) => Ok(bytes),
        _ => Err(EngineError::NoManifest(descriptor.digest.to_string())),
    }
}

fn open(remote: &Remote, patience: Patience) -> std::result::Result<Box<dyn Source>, EngineError> {
    let registries = registry::registries(&remote.plain_http, patience)?;
    Ok(Box::new(registries.source(&remote.reference.parse()?)))
}

/// A blob that is mounted as a file.
struct Mounted {
    path: PathBuf,
    /// For messages.
    name: String,
}

impl Mounted {
    fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::io("open", self.name()))
    }
}

impl Source for Mounted {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn index(&self) -> Result<Index> {
        Ok(Index::new(Vec::new()))
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open()?))
    }

    fn blob_at(&self, _: &Descriptor, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut file = self.open()?;
        let mut bytes = vec![0; len];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io("read", self.name()))?;
        Ok(bytes)
    }

    fn has(&self, _: &Descriptor) -> Result<bool> {
        Ok(true)
    }
}

/// A layout that gets zTOCs, and not the layer, which the registry has.
struct Without {
    sink: OciDirSink,
    layer: Digest,
}

impl Sink for Without {
    fn name(&self) -> String {
        Sink::name(&self.sink)
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(*digest == self.layer || self.sink.has(digest)?)
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        self.sink.begin_with(known, hashing)
    }

    fn finish(self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        Box::new(self.sink).finish(update)
    }
}
