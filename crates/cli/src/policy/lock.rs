//! Lock files: what a project lets policies be and use.
//!
//! A line holds `DIGEST REFERENCE`, a component that may be used; `limits fuel=MILLIONS,memory=SIZE,output=SIZE`, with any of the
//! three, is what components may use at most. Empty lines and those that begin with `#` do not count.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sociable_policy_wasm::Bounds;

use super::fetch::Component;
use crate::error::CliError;

/// The word of the line that is none of a component.
const LIMITS: &str = "limits";

/// What a project may say of limits.
///
/// # Errors
/// When it is nothing, or more than the usual.
pub(crate) fn lower(text: &str) -> Result<Bounds, String> {
    let bounds: Bounds = text.parse()?;
    if bounds == Bounds::default() {
        return Err("none is named; there are fuel=MILLIONS, memory=SIZE, output=SIZE".to_owned());
    }
    if bounds.only_lower() {
        return Ok(bounds);
    }
    Err(format!(
        "{text:?} is more than {}: a project lowers limits, and only whoever runs it raises them",
        Bounds::USUAL
    ))
}

/// The lines that count, each as its first word and the rest.
fn read(file: &Path) -> Result<Vec<(String, String)>, CliError> {
    let text = fs::read_to_string(file).map_err(CliError::io("read", file.display()))?;
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once(' ') {
            Some((first, rest)) => Ok((first.to_owned(), rest.trim().to_owned())),
            None => Err(CliError::failed(format!(
                "{}: the line {line:?} has not the form DIGEST REFERENCE",
                file.display()
            ))),
        })
        .collect()
}

/// A file's limits; none where it says nothing of them.
///
/// # Errors
/// When the file cannot be read, or says what it may not.
pub(crate) fn limits(file: &Path) -> Result<Option<Bounds>, CliError> {
    let found = read(file)?.into_iter().find(|(first, _)| first == LIMITS);
    let wrong = |why| CliError::failed(format!("{}: {LIMITS} {why}", file.display()));
    found
        .map(|(_, text)| lower(&text).map_err(wrong))
        .transpose()
}

/// Refuses a component that is not in the file.
pub(crate) fn check(file: &Path, component: &Component) -> Result<(), CliError> {
    let digest = component.digest.to_string();
    for (locked, reference) in read(file)? {
        if locked == digest {
            return Ok(());
        }
        if reference == component.reference && locked != LIMITS {
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

/// The lines of components, and of limits.
pub(crate) fn lines(components: &[Component], limits: Option<Bounds>) -> String {
    let limits = limits.map_or_else(String::new, |bounds| format!("{LIMITS} {bounds}\n"));
    components.iter().fold(limits, |mut text, component| {
        let _ = writeln!(text, "{} {}", component.digest, component.reference);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_lowered_only() {
        assert_eq!(lower("fuel=500").map(|bounds| bounds.fuel), Ok(Some(500)));
        for wrong in ["", "fuel=20001", "memory=1GiB"] {
            assert!(lower(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_file_says() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(&file, "# ours\n\nsha256:0 ./a.wasm\nlimits output=1MiB\n").expect("written");
        let bounds = limits(file.path()).expect("right").expect("there");
        assert_eq!(bounds.output, Some(1 << 20));
        assert_eq!(lines(&[], Some(bounds)), "limits output=1MiB\n");
        fs::write(&file, "sha256:0 ./a.wasm\n").expect("written");
        assert_eq!(limits(file.path()).expect("right"), None);
        fs::write(&file, "limits fuel=1000000\n").expect("written");
        let error = limits(file.path()).expect_err("raised").to_string();
        assert!(error.contains("lowers limits"), "{error}");
    }
}
