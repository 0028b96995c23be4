//! Traces as files.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use sociable_policy::Trace;
use sociable_soci::chain;

use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Reads a trace; `-` is standard input.
pub(in crate::commands) fn read(path: &Path) -> Result<Trace, CliError> {
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

/// Where a trace goes: opened before anything is recorded.
pub(super) struct Output<'a>(output::File<'a>);

impl<'a> Output<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, CliError> {
        output::File::begin(path).map(Self)
    }

    /// Writes a trace, and says what is in it.
    pub(super) fn write(self, trace: &Trace, shown: &Shown) -> Result<(), CliError> {
        let path = self.0.path();
        self.0
            .write(|out| out.write_all(trace.to_json().as_bytes()))?;
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
