//! Platforms, as BuildKit and as images spell them.

use std::collections::BTreeMap;

use serde::Deserialize;
use sociable_buildkit::Reply;
use sociable_buildkit::proto::pb;
use sociable_oci::{Config, Platform};

/// `refs.platforms` of a result.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    platforms: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    platform: Platform,
}

/// A result's platforms by their IDs.
pub(crate) fn listed(reply: &Reply) -> BTreeMap<String, Platform> {
    let listed = reply.metadata.get("refs.platforms");
    let listed = listed.and_then(|json| serde_json::from_slice::<Listed>(json).ok());
    let entries = listed.into_iter().flat_map(|listed| listed.platforms);
    entries.map(|entry| (entry.id, entry.platform)).collect()
}

/// What an image's config says.
pub(crate) fn of_config(config: &[u8]) -> Option<Platform> {
    Some(Config::parse(config).ok()?.platform())
}

/// For LLB.
pub(crate) fn to_llb(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        ..pb::Platform::default()
    }
}

/// Of LLB.
pub(crate) fn from_llb(platform: &pb::Platform) -> Platform {
    Platform {
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        ..Platform::new(&platform.os, &platform.architecture)
    }
}
