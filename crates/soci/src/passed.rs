//! Layers that have passed on their way to the destination before anybody knew that they would be needed: indexed as they
//! went by, with their zTOCs waiting in temporary files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use sociable_layer::{Compression, IndexError};
use sociable_oci::{Descriptor, Digest, Hashing};

use crate::error::{Error, Result};
use crate::layers::{Job, Prepared};
use crate::outcome::IndexedLayer;

/// Blobs that are at the destination, and what was found in those that could be layers.
#[derive(Default)]
pub(crate) struct Passed {
    sizes: BTreeMap<Digest, u64>,
    found: Mutex<BTreeMap<Digest, Found>>,
}

/// What was found in a blob that could be a layer.
pub(crate) enum Found {
    Layer {
        compression: Compression,
        facts: IndexedLayer,
        ztoc: File,
    },
    Bad(IndexError),
}

impl Passed {
    pub(crate) fn add(&mut self, blob: Digest, size: u64, found: Option<Found>) {
        self.sizes.insert(blob, size);
        let all = self.found.get_mut().unwrap_or_else(PoisonError::into_inner);
        all.extend(found.map(|found| (blob, found)));
    }

    pub(crate) fn contains(&self, blob: &Digest) -> bool {
        self.sizes.contains_key(blob)
    }
}

impl Prepared for Passed {
    fn size(&self, layer: &Digest) -> Option<u64> {
        self.sizes.get(layer).copied()
    }

    fn layer(
        &self,
        job: Job<'_>,
        layer: &Descriptor,
        wanted: Compression,
    ) -> Option<Result<IndexedLayer>> {
        if !self.contains(&layer.digest) {
            return None;
        }
        let found = self
            .found
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

pub(crate) fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(Error::Temporary)
}

/// A temporary file with what `write` writes, to be read from its beginning.
pub(crate) fn kept(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<File> {
    let mut file = temporary()?;
    let mut buffered = io::BufWriter::with_capacity(1 << 18, &mut file);
    write(&mut buffered)
        .and_then(|()| buffered.flush())
        .map_err(Error::Temporary)?;
    drop(buffered);
    file.seek(SeekFrom::Start(0)).map_err(Error::Temporary)?;
    Ok(file)
}
