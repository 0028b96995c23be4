//! Lock files: what a project lets policies be and use.
//!
//! A line holds `DIGEST REFERENCE`, a component that may be used; `limits fuel=MILLIONS,memory=SIZE,output=SIZE`, with any of the
//! three, is what components may use at most. Empty lines and those that begin with `#` do not count.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use sociable_policy_wasm::Limits;

use super::fetch::Component;
use crate::error::CliError;
use crate::text::parse_size;

/// The word of the line that is none of a component.
const LIMITS: &str = "limits";

/// Lower limits than the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// In millions of instructions.
    pub(crate) fuel: Option<u64>,
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In bytes.
    pub(crate) output: Option<u64>,
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bounds = Self::default();
        for pair in text.split(',').map(str::trim) {
            let (bound, value, usual) = match pair.split_once('=') {
                Some(("fuel", value)) => {
                    (&mut bounds.fuel, value.parse().ok(), Limits::DEFAULT.fuel)
                }
                Some(("memory", value)) => (
                    &mut bounds.memory,
                    parse_size(value).ok(),
                    Limits::DEFAULT.memory as u64,
                ),
                Some(("output", value)) => (
                    &mut bounds.output,
                    parse_size(value).ok(),
                    Limits::DEFAULT.output as u64,
                ),
                _ => {
                    return Err(format!(
                        "{pair:?} is none of fuel=MILLIONS, memory=SIZE, output=SIZE"
                    ));
                }
            };
            match value {
                Some(value) if (1..=usual).contains(&value) => *bound = Some(value),
                _ => {
                    return Err(format!(
                        "{pair}: a project lowers limits, from 1 to {usual}; only whoever runs it raises them"
                    ));
                }
            }
        }
        Ok(bounds)
    }
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

/// The text of a file's limits, which are right; none where it has none.
pub(crate) fn limits(file: &Path) -> Result<Option<(String, Bounds)>, CliError> {
    let found = read(file)?.into_iter().find(|(first, _)| first == LIMITS);
    found
        .map(|(_, text)| {
            let bounds = text
                .parse()
                .map_err(|why| CliError::failed(format!("{}: {LIMITS} {why}", file.display())))?;
            Ok((text, bounds))
        })
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
pub(crate) fn lines(components: &[Component], limits: Option<&str>) -> String {
    let limits = limits.map_or_else(String::new, |text| format!("{LIMITS} {text}\n"));
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
        let bounds: Bounds = "fuel=500, memory=64MiB".parse().expect("limits");
        let expected = Bounds {
            fuel: Some(500),
            memory: Some(64 << 20),
            output: None,
        };
        assert_eq!(bounds, expected);
        for wrong in [
            "",
            "fuel",
            "fuel=0",
            "fuel=20001",
            "memory=1GiB",
            "time=3",
            "output=much",
        ] {
            assert!(wrong.parse::<Bounds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_file_says() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(&file, "# ours\n\nsha256:0 ./a.wasm\nlimits output=1MiB\n").expect("written");
        let (text, bounds) = limits(file.path()).expect("right").expect("there");
        assert_eq!((&*text, bounds.output), ("output=1MiB", Some(1 << 20)));
        fs::write(&file, "sha256:0 ./a.wasm\n").expect("written");
        assert_eq!(limits(file.path()).expect("right"), None);
        fs::write(&file, "limits fuel=1000000\n").expect("written");
        let error = limits(file.path()).expect_err("raised").to_string();
        assert!(error.contains("lowers limits"), "{error}");
    }
}
