//! What goes to standard output, and into files.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::CliError;

/// Prints one JSON document.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::failed(format!("the report has no JSON form: {e}")))?;
    text.push('\n');
    print(&text)
}

/// Prints to standard output.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    write(text.as_bytes())
}

/// Writes bytes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(CliError::stdout)
}

/// A file that appears when it is whole.
pub(crate) struct File<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> File<'a> {
    /// Begins a file, so that a place nobody can write to is known.
    pub(crate) fn begin(path: &'a Path) -> Result<Self, CliError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".tmp-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(parent)
            .map_err(CliError::io("write", path.display()))?;
        Ok(Self { path, file })
    }

    /// Where it will be.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// Writes its content.
    pub(crate) fn write(
        self,
        content: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let Self { path, mut file } = self;
        let mut buffered = io::BufWriter::with_capacity(1 << 18, &mut file);
        let written = content(&mut buffered).and_then(|()| buffered.flush());
        drop(buffered);
        written
            .and_then(|()| file.persist(path).map(drop).map_err(|error| error.error))
            .map_err(CliError::io("write", path.display()))
    }
}
