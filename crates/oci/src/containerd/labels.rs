//! The labels by which containerd's garbage collector finds from a document to what it needs.
//!
//! As containerd sets them when it pulls (`core/images`: `ChildGCLabels` and `SetChildrenMappedLabels`); every label
//! that begins with `containerd.io/gc.ref.content.` is a reference (`core/metadata/gc.go`).

use std::collections::BTreeMap;

use super::api::Labels;
use crate::digest::Digest;
use crate::document::{Descriptor, Document};
use crate::media_type;

const REFERENCE: &str = "containerd.io/gc.ref.content.";

/// A label of our own, on a document with a referrer, such as a SOCI index v1: the referrer lives as long as what
/// it is about. The digits of its digest follow.
const REFERRER: &str = "containerd.io/gc.ref.content.referrer.";

/// Which labels lead from a document to what it lists.
pub(super) fn of(document: &Document) -> Labels {
    let children: Vec<&Descriptor> = match document {
        Document::Index(index) => index.manifests.iter().collect(),
        Document::Manifest(manifest) => std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .collect(),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut labels = Labels::new();
    for child in children {
        let kind = kind(&child.media_type);
        let count = counts.entry(kind).or_default();
        let key = match (kind, *count) {
            ("config", 0) => format!("{REFERENCE}{kind}"),
            (_, number) => format!("{REFERENCE}{kind}{number}"),
        };
        *count += 1;
        labels.insert(key, child.digest.to_string());
    }
    labels
}

fn kind(media_type: &str) -> &'static str {
    if media_type::is_config(media_type) {
        "config"
    } else if media_type::is_manifest(media_type) {
        "m."
    } else if media_type::is_layer(media_type) {
        "l."
    } else {
        ""
    }
}

/// The label that leads from a document to something about it.
pub(super) fn referrer(digest: &Digest) -> (String, String) {
    let short: String = digest.hex().chars().take(12).collect();
    (format!("{REFERRER}{short}"), digest.to_string())
}

/// What is about a document, by its labels.
pub(super) fn referrers(labels: &Labels) -> impl Iterator<Item = Digest> {
    labels
        .iter()
        .filter(|(key, _)| key.starts_with(REFERRER))
        .filter_map(|(_, digest)| digest.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Index, Manifest};

    fn descriptor(media_type: &str, content: &str) -> Descriptor {
        Descriptor::of(media_type, content.as_bytes())
    }

    fn short(labels: &Labels) -> Vec<&str> {
        let strip = |key: &'_ String| key.len() - key.trim_start_matches(REFERENCE).len();
        labels.keys().map(|key| &key[strip(key)..]).collect()
    }

    #[test]
    fn labels_as_containerd_numbers_them() {
        let layers = vec![
            descriptor(media_type::OCI_LAYER_GZIP, "a"),
            descriptor(media_type::DOCKER_LAYER_GZIP, "b"),
        ];
        let config = descriptor(media_type::OCI_CONFIG, "c");
        let image = Document::Manifest(Box::new(Manifest::new(config.clone(), layers)));
        let labels = of(&image);
        assert_eq!(short(&labels), ["config", "l.0", "l.1"]);
        assert_eq!(
            labels["containerd.io/gc.ref.content.config"],
            config.digest.to_string()
        );

        // An artifact: what containerd does not know is numbered only.
        let artifact = Manifest::new(
            descriptor(media_type::OCI_EMPTY_JSON, "{}"),
            vec![descriptor("application/octet-stream", "z")],
        );
        assert_eq!(
            short(&of(&Document::Manifest(Box::new(artifact)))),
            ["0", "1"]
        );

        let index = Index::new(vec![
            descriptor(media_type::OCI_MANIFEST, "m"),
            descriptor(media_type::OCI_INDEX, "i"),
            descriptor(media_type::DOCKER_MANIFEST, "n"),
        ]);
        assert_eq!(short(&of(&Document::Index(index))), ["0", "m.0", "m.1"]);
    }

    #[test]
    fn referrers_are_found_again() {
        let digest = Digest::sha256_of(b"x");
        let mut labels = Labels::from([referrer(&digest)]);
        labels.insert(
            format!("{REFERENCE}m.0"),
            Digest::sha256_of(b"y").to_string(),
        );
        labels.insert(format!("{REFERRER}broken"), "no digest".to_owned());
        assert_eq!(referrers(&labels).collect::<Vec<_>>(), [digest]);
    }
}
