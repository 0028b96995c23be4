//! A step that makes a layer.

use std::io::Read;
use std::path::{Path, PathBuf};

use sociable_layer::pack::{PackEntry, SourceError};
use sociable_oci::oci_dir::OciDirSink;
use sociable_soci::Run;
use sociable_soci::parts::{self, Part};
use sociable_tar::Header;
use sociable_tar::diff::{Change, Diff};

use super::{EngineError, policies};
use crate::task::{Settings, place};

/// A change as an entry of a layer.
struct Entry(Change);

impl PackEntry for Entry {
    fn header(&self) -> &Header {
        self.0.header()
    }

    fn open(&self) -> Result<impl Read, SourceError> {
        Ok(self.0.open()?)
    }
}

/// Packs what changed.
pub(super) fn pack(
    settings: &Settings,
    level: u8,
    epoch: Option<i64>,
    run: Run<'_>,
) -> Result<Part, EngineError> {
    let lower = Some(PathBuf::from(place::LOWER)).filter(|lower| lower.is_dir());
    let changes = Diff::new(lower, Path::new(place::UPPER).to_owned(), epoch);
    let entries = changes.map(|change| change.map(Entry).map_err(SourceError::from));
    let sink = OciDirSink::create(place::OUT)?;
    let settings = settings.index_settings(policies::load(settings)?);
    let part = parts::pack_layer(entries, &sink, "the layer", &settings, level, run)?;
    Ok(part)
}
