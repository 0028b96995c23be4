//! What can be packed.

use std::error::Error;
use std::io::Read;

use sociable_tar::Header;

/// Why an entry, or its content, is not to be had.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// An entry to be packed: its header, and a way to its content.
///
/// Entries come in the order of the archive, parents and targets of hard links first. A walk that
/// is no directory walk (a diff, a list in memory) brings its own type.
pub trait PackEntry {
    /// The entry's header.
    fn header(&self) -> &Header;

    /// Opens the content. Called once, and only if the header announces any.
    ///
    /// # Errors
    /// Whatever keeps it from being opened; the text should name the entry.
    fn open(&self) -> Result<impl Read, SourceError>;
}

/// A file found by a walk.
#[cfg(unix)]
impl PackEntry for sociable_tar::WalkEntry {
    fn header(&self) -> &Header {
        &self.header
    }

    fn open(&self) -> Result<impl Read, SourceError> {
        Ok(sociable_tar::WalkEntry::open(self)?)
    }
}

/// An entry with its content in memory.
impl<B: AsRef<[u8]>> PackEntry for (Header, B) {
    fn header(&self) -> &Header {
        &self.0
    }

    fn open(&self) -> Result<impl Read, SourceError> {
        Ok(self.1.as_ref())
    }
}
