//! How layers are compressed while they are packed.

use std::fmt;

use crate::{Entry, Layer, PolicyError};

/// Formats of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Can be entered at spans, and so be loaded lazily.
    Gzip,
    /// Smaller, but soci-snapshotter cannot load it lazily: it gets no index.
    Zstd,
    /// A plain tar: can be loaded lazily, and takes all of its size on the wire.
    None,
}

/// A choice for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The format.
    pub format: Format,
    /// For gzip 0 (stored) to 9 (smallest), for zstd 1 to 19; without meaning for none.
    pub level: u8,
}

/// What the beginning of a file shrinks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Bytes that were tried, from the file's beginning.
    pub bytes: u32,
    /// What they took after deflate at level 1, in bytes.
    pub deflated: u32,
}

/// Files with fewer bytes have the layer's level.
pub const MIN_FILE: u64 = 4096;
/// Bytes of a file's beginning that are tried.
pub const SAMPLE: usize = 16 * 1024;

/// Decides how layers are compressed.
pub trait CompressionPolicy: Send + Sync + fmt::Debug {
    /// Decides for one layer.
    ///
    /// # Errors
    /// The policy's.
    fn levels(&self, layer: &Layer) -> Result<Box<dyn Levels>, PolicyError>;

    /// Names the policy and everything that its answers depend on.
    fn identity(&self) -> String;
}

/// Asks how to compress a layer, and checks the answer; `None`: as it was asked for.
///
/// # Errors
/// The policy's; or there is no such level.
pub fn layer_choice(levels: &mut dyn Levels) -> Result<Option<Choice>, PolicyError> {
    let choice = levels.layer()?;
    let wrong = match choice {
        Some(Choice {
            format: Format::Gzip,
            level,
        }) if level > LAST => no_level(level),
        Some(Choice {
            format: Format::Zstd,
            level,
        }) if !ZSTD_LEVELS.contains(&level) => format!(
            "there is no zstd level {level}, only {} to {}",
            ZSTD_LEVELS.start(),
            ZSTD_LEVELS.end()
        ),
        _ => return Ok(choice),
    };
    Err(PolicyError::new(levels.name(), "compression.choose", wrong))
}

/// Asks at which gzip level, 0 to 9, to compress a file, and checks the answer; `None`: at the layer's.
///
/// # Errors
/// The policy's; or there is no such level.
pub fn file_level(
    levels: &mut dyn Levels,
    entry: &Entry<'_>,
    sample: Sample,
) -> Result<Option<u8>, PolicyError> {
    match levels.file(entry, sample)? {
        Some(level) if level > LAST => {
            let why = format!("{}: {}", entry.path, no_level(level));
            Err(PolicyError::new(levels.name(), "compression.file", why))
        }
        level => Ok(level),
    }
}

/// gzip's last level.
const LAST: u8 = 9;
/// zstd's levels: 1 (fastest) to 19 (smallest that needs no more memory to unpack).
pub const ZSTD_LEVELS: std::ops::RangeInclusive<u8> = 1..=19;

fn no_level(level: u8) -> String {
    format!("there is no gzip level {level}, only 0 to {LAST}")
}

/// Decides about the files of a layer.
pub trait Levels: Send {
    /// What the policy is called, with a component's version.
    fn name(&self) -> &str;

    /// How shall the layer be compressed? `None`: as it was asked for. Called once, first.
    ///
    /// # Errors
    /// The policy's.
    fn layer(&mut self) -> Result<Option<Choice>, PolicyError> {
        Ok(None)
    }

    /// At which gzip level, 0 to 9, shall this file be compressed? `None`: at the layer's. Asked about files of [`MIN_FILE`]
    /// bytes and more, in the archive's order.
    ///
    /// # Errors
    /// The policy's.
    fn file(&mut self, entry: &Entry<'_>, sample: Sample) -> Result<Option<u8>, PolicyError>;
}

/// Stores files whose beginning does not shrink.
///
/// Pieces that are as good as random are stored under any policy. This one decides for whole files, by less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreIncompressible {
    /// A file is stored when the sample keeps so many percent of its size, or more.
    pub percent: u32,
}

impl Default for StoreIncompressible {
    fn default() -> Self {
        Self { percent: 97 }
    }
}

impl CompressionPolicy for StoreIncompressible {
    fn levels(&self, _: &Layer) -> Result<Box<dyn Levels>, PolicyError> {
        Ok(Box::new(*self))
    }

    fn identity(&self) -> String {
        format!("store-incompressible:{}", self.percent)
    }
}

impl Levels for StoreIncompressible {
    fn name(&self) -> &'static str {
        "store-incompressible"
    }

    fn file(&mut self, _: &Entry<'_>, sample: Sample) -> Result<Option<u8>, PolicyError> {
        let keeps =
            u64::from(sample.deflated) * 100 >= u64::from(sample.bytes) * u64::from(self.percent);
        Ok(keeps.then_some(0))
    }
}
