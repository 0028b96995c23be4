//! What a step of the build is told, and what it answers.

use serde::{Deserialize, Serialize};
use sociable_oci::{Descriptor, Digest, Platform};
use sociable_policy::Policies;
use sociable_soci::IndexSettings;
use sociable_soci::parts::Part;
use sociable_soci::record::Used;

use crate::policy::Wanted;

/// The environment variable that holds a [`Task`], JSON.
pub(crate) const VARIABLE: &str = "SOCIABLE_TASK";
/// Where the binary is in its image.
pub(crate) const BINARY: &str = "/sociable-frontend";

/// Where things are in a step's container.
pub(crate) mod place {
    /// What a layer is on top of; absent for a first one.
    pub(crate) const LOWER: &str = "/lower";
    /// What it made of that.
    pub(crate) const UPPER: &str = "/upper";
    /// A blob of a base image, as a file `blob`.
    pub(crate) const BLOB: &str = "/blob";
    /// An image layout to be pushed.
    pub(crate) const LAYOUT: &str = "/layout";
    /// Policies that are ready to be loaded.
    pub(crate) const POLICIES: &str = "/policies";
    /// The build context with files of policies.
    pub(crate) const CONTEXT: &str = "/context";
    /// Blobs that the step makes: a part of an image layout.
    pub(crate) const OUT: &str = "/out";
    /// The step's answer, and nothing else.
    pub(crate) const ANSWER: &str = "/answer";
    /// Docker's `config.json`, if the user hands one over.
    pub(crate) const CREDENTIALS: &str = "/run/secrets/soci-registry";
    /// Certificates to trust, PEM, if the user hands them over.
    pub(crate) const CERTIFICATES: &str = "/run/secrets/soci-ca";

    /// A component that was fetched.
    pub(crate) fn fetched(number: usize) -> String {
        format!("/fetched/{number}")
    }
}

/// The answer of a step that tried gently, and in vain.
pub(crate) const NOT_READ: &[u8] = b"not read";
/// The file with a step's answer.
pub(crate) const ANSWER_FILE: &str = "answer.json";
/// The file that a component is.
pub(crate) const COMPONENT_FILE: &str = "policy.wasm";
/// The file that a base image's blob is.
pub(crate) const BLOB_FILE: &str = "blob";

/// What a step does. The same task has the same bytes: they are part of the step's cache key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub(crate) enum Task {
    /// Packs what [`place::UPPER`] has changed of [`place::LOWER`], with its index. Answers with [`Made`].
    Layer {
        settings: Settings,
        level: u8,
        /// Latest modification time, seconds since 1970.
        epoch: Option<i64>,
    },
    /// Indexes a layer of a base image. Answers with [`Made`].
    Base {
        settings: Settings,
        layer: Descriptor,
        diff_id: Digest,
        /// Make its zTOC, if it is worth one.
        index: bool,
        /// Write the layer itself, too.
        keep: bool,
        /// Where it is; none, if it is mounted.
        from: Option<Remote>,
    },
    /// Reads a base image's manifest. Answers with the manifest.
    Manifest {
        from: Remote,
        platform: Option<Platform>,
        /// There is another way: try once, and answer with [`NOT_READ`] rather than fail.
        gently: bool,
    },
    /// Answers with the digest that a tag has.
    Resolve { from: Remote },
    /// Fetches a component. Answers with `{}`.
    Component { from: Remote },
    /// Makes policies ready to be loaded. Answers with what is recorded of them, a list of [`Used`].
    Policies {
        wanted: Wanted,
        /// The components that were fetched, with digests.
        pinned: Vec<String>,
        /// A new version of this program compiles them anew.
        by: String,
    },
    /// Pushes what the layout lists: what has a tag, under it; what has none, by its digest, or under the tags of the references
    /// themselves. Answers with `{}`.
    Push {
        repositories: Vec<String>,
        under_their_tags: bool,
        plain_http: Vec<String>,
    },
}

/// Something in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remote {
    /// `HOST/REPOSITORY[:TAG][@DIGEST]`.
    pub(crate) reference: String,
    pub(crate) plain_http: Vec<String>,
}

/// How layers are indexed: what of [`IndexSettings`] users can choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) span_size: u64,
    pub(crate) min_layer_size: u64,
    pub(crate) prefetch: Vec<String>,
    /// Who decides: which policies [`place::POLICIES`] holds.
    pub(crate) policies: Vec<Used>,
    /// A new version of this program makes all steps anew.
    pub(crate) by: String,
}

impl Settings {
    /// With the policies that a step has loaded.
    pub(crate) fn index_settings(&self, policies: Policies) -> IndexSettings {
        IndexSettings {
            span_size: self.span_size,
            min_layer_size: self.min_layer_size,
            prefetch: self.prefetch.clone(),
            policies,
            build_tool_identifier: self.by.clone(),
            ..IndexSettings::default()
        }
    }
}

/// A layer that a step made or indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) part: Part,
    /// When, RFC 3339. It stays as long as the step is cached.
    pub(crate) created: String,
    /// What it was made of.
    pub(crate) seen: Seen,
}

/// Which file systems a step has seen, by names that hold on one machine for as long as these are there; none where they cannot
/// be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) lower: Option<String>,
    pub(crate) upper: Option<String>,
}
