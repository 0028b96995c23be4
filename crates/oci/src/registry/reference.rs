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

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| ParseReferenceError {
            text: text.to_owned(),
            why,
        };
        let parsed: oci_spec::distribution::Reference =
            text.parse().map_err(|e| wrong(format!("{e}")))?;
        let digest = parsed
            .digest()
            .map(|digest| digest.parse().map_err(|e| wrong(format!("{e}"))))
            .transpose()?;
        Ok(Self {
            name: RepositoryName {
                registry: parsed.registry().to_owned(),
                repository: parsed.repository().to_owned(),
            },
            tag: parsed.tag().map(str::to_owned),
            digest,
        })
    }
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
            "example.com/a:-x",
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains("no image reference"), "{error}");
        }
    }
}
