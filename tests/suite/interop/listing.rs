//! What a registry lists after a conversion, and what is refused.

use std::collections::BTreeSet;

use serde_json::Value;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{run, sociable};

use super::{convert, make, text};

const IMAGE: &str = "docker buildx build --builder rem --provenance=false \
    --output type=image,name=$IN,push=true,oci-mediatypes=true,compression=gzip,force-compression=true .";

/// The kind of each manifest in a repository, tagged or not.
fn kinds(stack: &Stack, repository: &str) -> Vec<String> {
    let mut kinds: Vec<_> = stack
        .manifests(repository)
        .iter()
        .map(|digest| {
            let manifest = format!("{}/{repository}@{digest}", stack.registry());
            let manifest = stack.json(&format!("crane manifest --insecure {manifest}"));
            kind(&manifest).to_owned()
        })
        .collect();
    kinds.sort();
    kinds
}

fn kind(manifest: &Value) -> &'static str {
    let artifact = [&manifest["artifactType"], &manifest["config"]["mediaType"]].map(text);
    if artifact.contains(&"application/vnd.amazon.soci.index.v1+json") {
        "SOCI index v1"
    } else if artifact.contains(&"application/vnd.amazon.soci.index.v2+json") {
        "SOCI index v2"
    } else if !manifest["manifests"].is_null() {
        "index"
    } else {
        "image"
    }
}

fn tags(stack: &Stack, repository: &str) -> BTreeSet<String> {
    let repository = format!("{}/{repository}", stack.registry());
    let list = stack
        .run(&format!("crane ls --insecure {repository}"))
        .ok()
        .text();
    list.lines().map(str::to_owned).collect()
}

#[test]
fn convert_leaves_image_image_index_and_soci_index_in_one_repository() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(stack, "listing-v2", IMAGE);
    assert_eq!(kinds(stack, "listing-v2"), ["image"]);
    let _ = convert(stack, &image, &[]).ok();
    let expected = ["SOCI index v2", "image", "image", "index"];
    assert_eq!(kinds(stack, "listing-v2"), expected, "the old image stays");
    let expected = ["in", "out"].map(str::to_owned);
    assert_eq!(tags(stack, "listing-v2"), expected.into());
    // Again: the same bytes, so nothing new.
    let _ = convert(stack, &image, &[]).ok();
    assert_eq!(kinds(stack, "listing-v2").len(), 4);
}

#[test]
fn create_leaves_the_image_as_it_is_with_a_soci_index_beside_it() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(stack, "listing-v1", IMAGE);
    let digest = format!("crane digest --insecure {image}");
    let before = stack.run(&digest).ok().text();
    let url = format!("docker://{image}");
    let mut create = sociable(["create", &url, &url, "--no-cache"]);
    let _ = run(create.args(["--plain-http", &stack.registry()])).ok();
    assert_eq!(
        stack.run(&digest).ok().text(),
        before,
        "the tag still names the image"
    );
    // This registry has no referrers API, so the referrers are an index under a tag made from the image's digest.
    assert_eq!(
        kinds(stack, "listing-v1"),
        ["SOCI index v1", "image", "index"]
    );
    let fallback = before.trim().replace(':', "-");
    let expected = ["in".to_owned(), fallback];
    assert_eq!(tags(stack, "listing-v1"), expected.into());
    let found = stack.json(&format!("oras discover --plain-http --format json {image}"));
    let found = found["referrers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let [soci] = found else {
        panic!("one referrer: {found:?}");
    };
    assert_eq!(
        soci["artifactType"],
        "application/vnd.amazon.soci.index.v1+json"
    );
}

#[test]
fn what_is_no_image_is_refused() {
    let Some(stack) = stack::start() else {
        return;
    };
    let artifact = make(
        stack,
        "artifact",
        "oras push --plain-http $IN --artifact-type application/vnd.example.text Dockerfile",
    );
    let done = convert(stack, &artifact, &[]).refused();
    assert!(!tags(stack, "artifact").contains("out"), "{done}");
}

/// Layers of zstd cannot be indexed: the image is refused, and nothing is pushed.
#[test]
fn zstd_layers_are_not_indexed() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(
        stack,
        "zstd",
        "docker buildx build --builder rem --output \
        type=image,name=$IN,push=true,oci-mediatypes=true,compression=zstd,force-compression=true .",
    );
    let done = convert(stack, &image, &[]).refused();
    assert!(!tags(stack, "zstd").contains("out"), "{done}");
}
