//! `sociable convert --batch` and `--repository`: many images, one after another, on the same connections and the same cache.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;
use sociable_oci::registry::{Reference, RepositoryName};
use sociable_oci::{Access, Digest, Source as _, Transport};
use sociable_soci::convert::Report;

use crate::error::CliError;
use crate::output;
use crate::progress::{self, Shown};

/// An image to convert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) source: Transport,
    pub(crate) destination: Transport,
}

/// A reference of a list; without a transport it is one of a registry.
fn parse(text: &str) -> Result<Transport, CliError> {
    let full = if text.contains("://") || is_other_transport(text) {
        text.to_owned()
    } else {
        format!("docker://{text}")
    };
    full.parse()
        .map_err(|error| CliError::usage(format!("{error}")))
}

fn is_other_transport(text: &str) -> bool {
    [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "containerd:",
    ]
    .iter()
    .any(|name| text.starts_with(name))
}

/// Where the result of an image goes that names no destination: beside it, or in its place.
pub(crate) fn beside(source: &Transport, suffix: Option<&str>) -> Result<Transport, CliError> {
    let Some(suffix) = suffix else {
        return Ok(source.clone());
    };
    match source {
        Transport::Registry(reference) => {
            let Some(tag) = reference.tag.as_deref() else {
                return Err(no_tag(source));
            };
            Ok(Transport::Registry(
                reference.with_tag(format!("{tag}{suffix}")),
            ))
        }
        Transport::OciDir {
            path,
            tag: Some(tag),
        } => Ok(Transport::OciDir {
            path: path.clone(),
            tag: Some(format!("{tag}{suffix}")),
        }),
        _ => Err(no_tag(source)),
    }
}

fn no_tag(source: &Transport) -> CliError {
    CliError::usage(format!("{source} has no tag for --tag-suffix to go behind"))
}

/// The lines of a list: `SOURCE [DESTINATION]`; empty ones and those that begin with # do not count.
pub(crate) fn read(file: &Path, suffix: Option<&str>) -> Result<Vec<Item>, CliError> {
    let mut text = String::new();
    let place = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(CliError::io("read", "standard input"))?;
        "standard input".to_owned()
    } else {
        text = fs::read_to_string(file).map_err(CliError::io("read", file.display()))?;
        file.display().to_string()
    };
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next().filter(|word| !word.starts_with('#')) else {
            continue;
        };
        let at =
            |error: CliError| CliError::usage(format!("{place}, line {}: {error}", number + 1));
        let source = parse(first).map_err(at)?;
        let destination = match words.next() {
            Some(second) => parse(second).map_err(at)?,
            None => beside(&source, suffix).map_err(at)?,
        };
        if let Some(third) = words.next() {
            return Err(at(CliError::usage(format!(
                "there is a third word, {third:?}"
            ))));
        }
        items.push(Item {
            source,
            destination,
        });
    }
    Ok(items)
}

/// What patterns stand for.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The images.
    pub(crate) items: Vec<Item>,
    /// Repositories of a pattern whose tags could not be listed, and why.
    pub(crate) failed: Vec<(RepositoryName, CliError)>,
}

/// The images of several patterns, each once.
///
/// All tags that fit a pattern, of all repositories that fit one, but for those that are results themselves, or lists of referrers. A
/// repository that a pattern stands for, and nobody named, is no reason to leave out the others.
///
/// # Arguments
/// - `patterns`: `[docker://]HOST/REPOSITORY[:TAG]`; the repository and the tag may be patterns, in which `*` stands for any text
pub(crate) fn matching(
    patterns: &[String],
    suffix: Option<&str>,
    access: &Access,
) -> Result<Listed, CliError> {
    let mut listed = Listed::default();
    let mut seen = BTreeSet::new();
    for pattern in patterns {
        let rest = pattern.strip_prefix("docker://").unwrap_or(pattern);
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (rest, "*"),
        };
        let tag = glob(tag)?;
        for reference in repositories(name, access)? {
            let all = match access.registries()?.tags(&reference.name) {
                Ok(all) => all,
                // A catalog names those, too, of which all was removed.
                Err(error) if is_pattern(name) => {
                    if !is_not_found(&error) {
                        listed.failed.push((reference.name, error.into()));
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for tag in all.iter().filter(|name| tag.is_match(name)) {
                if is_referrers(tag) || suffix.is_some_and(|suffix| tag.ends_with(suffix)) {
                    continue;
                }
                let source = Transport::Registry(reference.with_tag(tag));
                if seen.insert(source.to_string()) {
                    let destination = beside(&source, suffix)?;
                    listed.items.push(Item {
                        source,
                        destination,
                    });
                }
            }
        }
    }
    Ok(listed)
}

fn is_not_found(error: &sociable_oci::Error) -> bool {
    matches!(error, sociable_oci::Error::Registry(error) if error.failure.status() == Some(404))
}

/// Whether a repository's name stands for others.
fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

/// The repository of a name, or those of a registry that fit `HOST/PATTERN`.
fn repositories(name: &str, access: &Access) -> Result<Vec<Reference>, CliError> {
    let parse = |name: &str| -> Result<Reference, CliError> {
        name.parse()
            .map_err(|error| CliError::usage(format!("{error}")))
    };
    if !is_pattern(name) {
        return Ok(vec![parse(name)?]);
    }
    let (host, pattern) = name.split_once('/').unwrap_or_default();
    // What is a host, names of repositories tell.
    if !parse(&format!("{host}/any")).is_ok_and(|any| any.name.registry == host) {
        return Err(CliError::usage(format!(
            "{name:?}: repositories are listed of a registry, HOST/PATTERN"
        )));
    }
    let pattern = glob(pattern)?;
    let all = access.registries()?.repositories(host).map_err(|error| {
        CliError::from(error).hint(
            "not every registry lists its repositories: name each with a --repository of its own",
        )
    })?;
    all.iter()
        .filter(|name| pattern.is_match(name))
        .map(|name| parse(&format!("{host}/{name}")))
        .collect()
}

fn glob(pattern: &str) -> Result<GlobMatcher, CliError> {
    let glob = GlobBuilder::new(pattern)
        .build()
        .map_err(|error| CliError::usage(format!("{pattern:?} is no pattern: {error}")))?;
    Ok(glob.compile_matcher())
}

/// One of several shares that images fall into by their names: whoever asks for the others, no image is done twice or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err("a shard is I/N, with I from 0 to N - 1".to_owned()),
        }
    }
}

impl Shard {
    /// Whether an image falls into it. By a hash and not by the place in a list, which may have grown since others asked.
    pub(crate) fn has(self, item: &Item) -> bool {
        let digest = Digest::sha256_of(item.source.to_string().as_bytes());
        let number = digest.as_bytes().iter().take(8);
        let number = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % self.count == self.index
    }
}

/// `sha256-HEX`, with what signing tools put behind it.
fn is_referrers(tag: &str) -> bool {
    tag.strip_prefix("sha256-").is_some_and(|rest| {
        rest.get(..64)
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// What became of one image, as a line.
#[derive(Serialize)]
struct Line<'a> {
    source: String,
    destination: String,
    /// `converted`, `unchanged`, `skipped` or `failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
}

/// Converts all; a failure does not stop the rest.
pub(crate) fn run(
    listed: &Listed,
    json: bool,
    access: &Access,
    shown: &Shown,
    convert: &dyn Fn(&Item) -> Result<Report, CliError>,
) -> Result<(), CliError> {
    let Listed {
        items,
        failed: unlisted,
    } = listed;
    for (repository, error) in unlisted {
        let line = Line {
            source: format!("docker://{repository}"),
            destination: format!("docker://{repository}"),
            result: "failed",
            image: None,
            why: Some(error.to_string()),
            report: None,
        };
        shown.suspended(|| print(&line, json))?;
    }
    let (mut failed, mut made) = (unlisted.len(), 0);
    for (number, item) in items.iter().enumerate() {
        if progress::interrupted() {
            return Err(interrupted(number, items));
        }
        let before = current(&item.destination, access);
        let outcome = convert(item);
        if progress::interrupted() && outcome.is_err() {
            return Err(interrupted(number, items));
        }
        let mut line = Line {
            source: item.source.to_string(),
            destination: item.destination.to_string(),
            result: "failed",
            image: None,
            why: None,
            report: None,
        };
        match &outcome {
            Ok(report) => {
                line.image = Some(report.image.digest);
                line.report = Some(report);
                line.result = if before == Some(report.image.digest) {
                    "unchanged"
                } else {
                    made += 1;
                    "converted"
                };
            }
            Err(error) if error.nothing_to_do => {
                line.result = "skipped";
                line.why = Some(error.to_string());
            }
            Err(error) => {
                failed += 1;
                line.why = Some(error.to_string());
            }
        }
        shown.suspended(|| print(&line, json))?;
    }
    shown.finish();
    if failed > 0 {
        return Err(CliError::failed(format!(
            "{failed} of {} images failed",
            items.len() + unlisted.len()
        ))
        .hint("run the command again: what is done is found at the destination"));
    }
    if !shown.quiet && !json {
        shown.line(&format!("{made} of {} images converted", items.len()));
    }
    Ok(())
}

fn interrupted(done: usize, items: &[Item]) -> CliError {
    CliError::interrupted(format!(
        "interrupted after {done} of {} images",
        items.len()
    ))
    .hint("run the command again: what is done is found at the destination")
}

/// What is at a destination now, as far as that can be told quickly.
fn current(destination: &Transport, access: &Access) -> Option<Digest> {
    let Transport::Registry(reference) = destination else {
        return None;
    };
    let source = access.registries().ok()?.direct(reference);
    let index = source.index().ok()?;
    Some(index.manifests.first()?.digest)
}

fn print(line: &Line<'_>, json: bool) -> Result<(), CliError> {
    if json {
        let text = serde_json::to_string(line);
        let text = text.map_err(|e| CliError::failed(format!("no JSON form: {e}")))?;
        return output::print(&format!("{text}\n"));
    }
    let detail = match (&line.why, &line.image) {
        (Some(why), _) => why.clone(),
        (None, Some(image)) => image.to_string(),
        (None, None) => String::new(),
    };
    let arrow = if line.source == line.destination {
        line.source.clone()
    } else {
        format!("{} -> {}", line.source, line.destination)
    };
    output::print(&format!(
        "{:<10}{arrow}  {}\n",
        line.result,
        crate::text::printable(&detail)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        fs::write(
            &file,
            "# images\n\nexample.com/a:1\n  docker://example.com/b:2 oci:out:x  \n",
        )
        .unwrap();
        let items = read(&file, Some("-soci")).unwrap();
        let texts: Vec<_> = items
            .iter()
            .map(|item| (item.source.to_string(), item.destination.to_string()))
            .collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            texts,
            [
                pair("docker://example.com/a:1", "docker://example.com/a:1-soci"),
                pair("docker://example.com/b:2", "oci:out:x"),
            ]
        );
        fs::write(&file, "example.com/a:1\nA:\n").unwrap();
        let error = read(&file, None).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        fs::write(&file, "a b c").unwrap();
        assert!(read(&file, None).unwrap_err().to_string().contains("third"));
    }

    #[test]
    fn shards_share_everything() {
        let items: Vec<_> = (0..200)
            .map(|n| {
                let source = parse(&format!("r.example/a:{n}")).unwrap();
                let destination = source.clone();
                Item {
                    source,
                    destination,
                }
            })
            .collect();
        let mut sizes = [0; 4];
        for item in &items {
            let has = |n| format!("{n}/4").parse::<Shard>().unwrap().has(item);
            let homes: Vec<_> = (0..4).filter(|n| has(*n)).collect();
            assert_eq!(homes.len(), 1, "{item:?}");
            sizes[homes[0]] += 1;
        }
        assert!(sizes.iter().all(|size| *size > 25), "{sizes:?}");
        for wrong in ["4/4", "0/0", "-1/2", "1", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_referrers_are_no_images() {
        let hex = "a".repeat(64);
        assert!(is_referrers(&format!("sha256-{hex}")));
        assert!(is_referrers(&format!("sha256-{hex}.sig")));
        assert!(!is_referrers("sha256-short"));
    }
}
