//! Which policies decided, for the record: an annotation of the SOCI index.
//!
//! `[{"interface":"span","policy":"adaptive","parameters":{"small":1048576}}]`; a component has its `digest` too, and parameters that
//! are long, such as traces, are named by theirs: `"parametersDigest":"sha256:…"`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sociable_oci::Digest;
use sociable_policy::{About, Interface, Policies};

use crate::names::POLICIES;

/// Parameters of more bytes are recorded by their digest.
const LONGEST: usize = 512;

/// A policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// About what.
    pub interface: String,
    /// Its name and, of a component, version.
    pub policy: String,
    /// The component's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// SHA-256 of the parameters, as JSON without white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_digest: Option<Digest>,
    /// Where it failed, the default has decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
}

impl Used {
    /// What is recorded of policies.
    #[must_use]
    pub fn all(policies: &Policies) -> Vec<Self> {
        let used = policies.used().iter();
        let fallback = policies.give_way();
        used.map(|(interface, about)| Self::of(*interface, about, fallback))
            .collect()
    }

    fn of(interface: Interface, about: &About, fallback: bool) -> Self {
        let text = about.parameters.to_string();
        let long = text.len() > LONGEST;
        let some = about
            .parameters
            .as_object()
            .is_some_and(|map| !map.is_empty());
        Self {
            interface: interface.to_string(),
            policy: about.name.clone(),
            digest: about.digest.clone(),
            parameters: (some && !long).then(|| about.parameters.clone()),
            parameters_digest: long.then(|| Digest::sha256_of(text.as_bytes())),
            fallback,
        }
    }
}

/// What an index's annotations say of policies; nothing, if that cannot be understood.
#[must_use]
pub fn read(annotations: &BTreeMap<String, String>) -> Vec<Used> {
    let record = annotations.get(POLICIES);
    let used = record.and_then(|record| serde_json::from_str(record).ok());
    used.unwrap_or_default()
}

/// The annotation; `None` where no policy decided.
#[must_use]
pub fn record(used: &[Used]) -> Option<String> {
    if used.is_empty() {
        return None;
    }
    let list = sociable_oci::json::to_vec(used).ok()?;
    String::from_utf8(list).ok()
}
