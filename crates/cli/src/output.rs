//! What goes to standard output.

use std::io::{self, Write as _};

use serde::Serialize;

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
