//! Fetching.

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;

use super::{Build, named};

/// Something to be fetched.
#[derive(Debug, Clone)]
pub struct Source {
    identifier: String,
    attributes: BTreeMap<String, String>,
    platform: Option<pb::Platform>,
    name: String,
    ignore_cache: bool,
}

impl Source {
    /// By BuildKit's identifier, such as `docker-image://…`, `git://…`, `local://context`.
    #[must_use]
    pub fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            attributes: BTreeMap::new(),
            platform: None,
            name: String::new(),
            ignore_cache: false,
        }
    }

    /// An image of a registry, by its full reference.
    #[must_use]
    pub fn image(reference: &str) -> Self {
        Self::new(format!("docker-image://{reference}"))
    }

    /// One blob of a registry's repository as a file: `REPOSITORY@DIGEST`. Needs the capability `source.imageblob`.
    #[must_use]
    pub fn image_blob(reference: &str, file_name: &str) -> Self {
        Self::new(format!("docker-image+blob://{reference}")).attribute("http.filename", file_name)
    }

    /// An attribute.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key.to_owned(), value.to_owned());
        self
    }

    /// For this platform.
    #[must_use]
    pub fn platform(mut self, platform: Option<pb::Platform>) -> Self {
        self.platform = platform;
        self
    }

    /// What users see.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Asks in every build anew.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.ignore_cache = true;
        self
    }
}

impl Build for Source {
    fn build(self) -> (pb::Op, pb::OpMetadata) {
        let source = pb::SourceOp {
            identifier: self.identifier,
            attrs: self.attributes,
        };
        let op = pb::Op {
            op: Some(pb::op::Op::Source(source)),
            platform: self.platform,
            ..pb::Op::default()
        };
        let metadata = pb::OpMetadata {
            ignore_cache: self.ignore_cache,
            ..named(&self.name)
        };
        (op, metadata)
    }
}
