//! How hard each file is compressed.

use std::io::{self, Read};

use sociable_flate::Deflater;
use sociable_policy::Kind;
use sociable_policy::compression::{Levels, MIN_FILE, SAMPLE, Sample, file_level};
use sociable_tar::Header;

use super::order::described;
use super::{PackError, SourceError};

/// Asks a policy about files.
pub(super) struct FileLevels<'a> {
    policy: &'a mut dyn Levels,
    /// Of what is no file, and of what the policy leaves to it.
    layer: u8,
    /// For samples.
    deflater: Deflater,
    deflated: Vec<u8>,
}

/// The beginning of a file, read, and the rest of it.
type Opened<R> = (io::Cursor<Vec<u8>>, R);

impl<'a> FileLevels<'a> {
    pub(super) fn new(policy: &'a mut dyn Levels, layer: u8) -> Result<Self, PackError> {
        Ok(Self {
            policy,
            layer,
            deflater: Deflater::new(1).ok_or(PackError::Level(1))?,
            deflated: Vec::new(),
        })
    }

    /// The level from this entry on; and the entry's content, if it had to be looked at.
    pub(super) fn choose<R: Read>(
        &mut self,
        header: &Header,
        open: impl FnOnce() -> Result<R, SourceError>,
    ) -> Result<(u8, Option<Opened<R>>), PackError> {
        let facts = described(header);
        if facts.kind != Kind::File || facts.size < MIN_FILE {
            return Ok((self.layer, None));
        }
        let mut source = open().map_err(PackError::Source)?;
        let mut begun = Vec::with_capacity(SAMPLE);
        let read = source.by_ref().take(SAMPLE as u64).read_to_end(&mut begun);
        read.map_err(|error| PackError::Source(format!("{}: {error}", facts.path).into()))?;
        self.deflated.clear();
        self.deflater.piece(&[], &begun, true, &mut self.deflated)?;
        let count = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let sample = Sample {
            bytes: count(&begun),
            deflated: count(&self.deflated),
        };
        let level = file_level(self.policy, &facts, sample)?;
        let opened = (io::Cursor::new(begun), source);
        Ok((level.unwrap_or(self.layer), Some(opened)))
    }
}
