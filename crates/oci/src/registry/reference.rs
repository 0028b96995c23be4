//! What a user types after `docker://`, with Docker's rules: `alpine` is `docker.io/library/alpine:latest`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    /// Host, and port if there is one: `docker.io`, `registry.example:5000`.
    pub registry: String,
    /// Path: `library/alpine`.
    pub repository: String,
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// `HOST/REPOSITORY[:TAG][@DIGEST]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Where.
    pub name: RepositoryName,
    /// The tag; `latest` if neither tag nor digest was given.
    pub tag: Option<String>,
    /// The digest; it decides when both are given.
    pub digest: Option<Digest>,
}

/// Why a text is no [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no image reference (HOST/REPOSITORY[:TAG][@DIGEST]): {why}")]
pub struct ParseReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

/// Most characters of a repository's path.
const MAX_PATH: usize = 255;

impl FromStr for Reference {
    type Err = ParseReferenceError;

    /// By hand, as expressions that match all of it take 30 ms to prepare.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| ParseReferenceError {
            text: text.to_owned(),
            why,
        };
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => {
                let digest = digest.parse().map_err(|e| wrong(format!("{e}")))?;
                (named, Some(digest))
            }
            None => (text, None),
        };
        let (named, tag) = match named.rsplit_once(':') {
            Some((named, tag)) if !tag.contains('/') => (named, Some(tag)),
            _ => (named, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(wrong(format!("{tag:?} is no tag")));
        }
        let (host, path) = match named.split_once('/') {
            Some((first, path)) if names_host(first) => (first, path),
            _ => (DOCKER_HUB, named),
        };
        if !is_host(host) {
            return Err(wrong(format!("{host:?} is no host")));
        }
        if path.len() > MAX_PATH {
            return Err(wrong(format!(
                "the repository has more than {MAX_PATH} characters"
            )));
        }
        if let Some(part) = path.split('/').find(|part| !is_component(part)) {
            return Err(wrong(if part.is_empty() {
                "a part of the repository is empty".to_owned()
            } else {
                format!("{part:?} cannot be a part of a repository")
            }));
        }
        let registry = match host {
            "index.docker.io" => DOCKER_HUB,
            host => host,
        };
        let library = registry == DOCKER_HUB && !path.contains('/');
        let tag = match (tag, &digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            name: RepositoryName {
                registry: registry.to_owned(),
                repository: format!("{}{path}", if library { "library/" } else { "" }),
            },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Where names without a host are.
const DOCKER_HUB: &str = "docker.io";

/// Whether the first part of a name is a host, and not a part of the repository.
fn names_host(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// `NAME[:PORT]`; an IPv6 address stands in brackets.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let inside = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let name = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty()
                && label.bytes().all(fine)
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    name && port.is_none_or(digits)
}

/// Small letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = text.split(plain);
    // Before the first and behind the last letter there is nothing.
    let ends = text.starts_with(plain) && text.ends_with(plain);
    ends && separators.all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// A letter, digit or `_`, and at most 127 of these, `.` and `-`.
fn is_tag(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(fine) && !text.starts_with(['.', '-'])
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Reference {
    /// The same repository, another tag, no digest.
    #[must_use]
    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self {
            name: self.name.clone(),
            tag: Some(tag.into()),
            digest: None,
        }
    }

    /// What stands behind `/manifests/` in a request.
    pub(crate) fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_reads_them() {
        let digest = Digest::sha256_of(b"x");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("user/app:1", "docker.io/user/app:1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("index.docker.io/a", "docker.io/library/a:latest".to_owned()),
            ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest".to_owned()),
            ("Host/a", "Host/a:latest".to_owned()),
            (
                "example.com",
                "docker.io/library/example.com:latest".to_owned(),
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            ("[::1]/a:b", "[::1]/a:b".to_owned()),
            (
                "localhost:5000",
                "docker.io/library/localhost:5000".to_owned(),
            ),
            (
                "127.0.0.1:5000/a/b:v1.0",
                "127.0.0.1:5000/a/b:v1.0".to_owned(),
            ),
            (
                &*format!("example.com/a@{digest}"),
                format!("example.com/a@{digest}"),
            ),
            (
                &*format!("example.com/a:t@{digest}"),
                format!("example.com/a:t@{digest}"),
            ),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "UPPER",
            "a b",
            "x@sha256:12",
            "a:b:c",
            "a//b",
            "/a",
            "a/",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "-x.example/a",
            "example..com/a",
            "example.com:/a",
            "example.com:x/a",
            "[::g]/a",
            "[::1/a",
            "a:",
            "a:ä",
            "ä",
            &*format!("a:{}", "t".repeat(129)),
            &*"a".repeat(256),
            "example.com/a:-x",
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("no image reference"), "{error}");
        }
    }
}
