//! Traces as files.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sociable_policy::Trace;
use sociable_soci::chain;

use crate::error::CliError;
use crate::progress::Shown;
use crate::text;

/// Reads a trace; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Trace, CliError> {
    let text = read_bytes(path)?;
    Trace::parse(&text).map_err(|error| {
        CliError::failed(format!("{}: {}", path.display(), chain(&error)))
            .hint("`sociable trace run` and `sociable trace from-requests` write traces")
    })
}

/// Reads a file; `-` is standard input.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    bytes.map_err(CliError::io("read", path.display()))
}

/// A file that appears when all of it is there.
///
/// It is opened before anything is recorded, so that a place nobody can write to is known then.
pub(super) struct Output<'a> {
    path: &'a Path,
    file: tempfile::NamedTempFile,
}

impl<'a> Output<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, CliError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".sociable-trace-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory);
        Ok(Self {
            path,
            file: file.map_err(CliError::io("write", path.display()))?,
        })
    }

    /// Writes a trace, and says what is in it.
    pub(super) fn write(self, trace: &Trace, shown: &Shown) -> Result<(), CliError> {
        let Self { path, mut file } = self;
        file.write_all(trace.to_json().as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| file.persist(path).map(drop::<File>).map_err(|e| e.error))
            .map_err(CliError::io("write", path.display()))?;
        if !shown.quiet {
            shown.line(&format!("{}: {}", path.display(), summary(trace)));
        }
        Ok(())
    }
}

/// `63 files, 8.1 MB read of 24.0 MB`.
pub(super) fn summary(trace: &Trace) -> String {
    let whole = trace.files.iter().map(|file| file.size).sum();
    let read = trace.bytes();
    format!(
        "{}, {} read of {} ({})",
        text::count(trace.files.len(), "file"),
        text::size(read),
        text::size(whole),
        text::percent(read, whole)
    )
}
