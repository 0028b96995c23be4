//! Which policies decided, for the record: an annotation of the SOCI index.
//!
//! `[{"interface":"span","policy":"adaptive","parameters":{"small":1048576}}]`; a component has its `digest` too, and parameters that
//! are long, such as traces, are named by theirs: `"parametersDigest":"sha256:…"`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sociable_oci::Digest;
use sociable_policy::Policies;

/// Parameters of more bytes are recorded by their digest.
const LONGEST: usize = 512;

/// A policy that decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

/// What is recorded of policies; `None` where there are none.
#[must_use]
pub fn record(policies: &Policies) -> Option<String> {
    let used = policies.used().iter().map(|(interface, about)| {
        let text = about.parameters.to_string();
        let long = text.len() > LONGEST;
        let some = about
            .parameters
            .as_object()
            .is_some_and(|map| !map.is_empty());
        Used {
            interface: interface.to_string(),
            policy: about.name.clone(),
            digest: about.digest.clone(),
            parameters: (some && !long).then(|| about.parameters.clone()),
            parameters_digest: long.then(|| Digest::sha256_of(text.as_bytes())),
        }
    });
    let used: Vec<Used> = used.collect();
    if used.is_empty() {
        return None;
    }
    let list = sociable_oci::json::to_vec(&used).ok()?;
    String::from_utf8(list).ok()
}
