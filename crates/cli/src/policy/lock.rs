//! Lock files: which components may be used, by digest.
//!
//! A line holds `DIGEST REFERENCE`; empty lines and those that begin with `#` do not count.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::fetch::Component;
use crate::error::CliError;

/// Refuses a component that is not in the file.
pub(crate) fn check(file: &Path, component: &Component) -> Result<(), CliError> {
    let text = fs::read_to_string(file).map_err(CliError::io("read", file.display()))?;
    let digest = component.digest.to_string();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((locked, reference)) = line.split_once(' ') else {
            let file = file.display();
            return Err(CliError::failed(format!(
                "{file}: the line {line:?} has not the form DIGEST REFERENCE"
            )));
        };
        if locked == digest {
            return Ok(());
        }
        if reference.trim() == component.reference {
            return Err(CliError::failed(format!(
                "the policy {reference} is {digest}, but {} has locked {locked}; \
                 look at what changed, and lock it anew with `sociable policy lock`",
                file.display()
            )));
        }
    }
    Err(CliError::failed(format!(
        "the policy {} ({digest}) is not in {}; add it with `sociable policy lock`",
        component.reference,
        file.display()
    )))
}

/// The lines of components.
pub(crate) fn lines(components: &[Component]) -> String {
    components
        .iter()
        .fold(String::new(), |mut text, component| {
            let _ = writeln!(text, "{} {}", component.digest, component.reference);
            text
        })
}
