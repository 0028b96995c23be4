//! What a registry lists after a conversion, and what is refused.

use std::collections::BTreeSet;

use serde_json::Value;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{run, sociable};

use super::{convert, make, manifests, text};

const IMAGE: &str = "docker buildx build --builder rem --provenance=false \
    --output type=image,name=$IN,push=true,oci-mediatypes=true,compression=gzip,force-compression=true .";

/// An entry of a repository's list, as `aws ecr list-images` prints it (`imageTag`, `imageDigest`), with its kind before it.
type Entry = (&'static str, Option<String>, String);

/// All manifests of a repository, once for each tag, sorted by kind.
fn list_images(stack: &Stack, repository: &str) -> Vec<Entry> {
    let image = format!("{}/{repository}", stack.registry());
    let tags = tags(stack, repository).into_iter().map(|tag| {
        let digest = stack.run(&format!("crane digest --insecure {image}:{tag}"));
        (tag, digest.ok().text().trim().to_owned())
    });
    let tags: Vec<_> = tags.collect();
    let mut list = Vec::new();
    for digest in stack.manifests(repository) {
        let kind = kind(&stack.json(&format!("crane manifest --insecure {image}@{digest}")));
        let named = tags.iter().filter(|(_, named)| *named == digest);
        let named: Vec<_> = named.map(|(tag, _)| Some(tag.clone())).collect();
        let named = if named.is_empty() { vec![None] } else { named };
        list.extend(named.into_iter().map(|tag| (kind, tag, digest.clone())));
    }
    list.sort();
    list
}

/// A list without its digests.
fn shape(list: &[Entry]) -> Vec<(&str, Option<&str>)> {
    let shape = list.iter().map(|(kind, tag, _)| (*kind, tag.as_deref()));
    shape.collect()
}

/// A manifest of a repository.
fn manifest(stack: &Stack, repository: &str, digest: &str) -> Value {
    let registry = stack.registry();
    stack.json(&format!(
        "crane manifest --insecure {registry}/{repository}@{digest}"
    ))
}

fn kind(manifest: &Value) -> &'static str {
    let artifact = [&manifest["artifactType"], &manifest["config"]["mediaType"]].map(text);
    if artifact.contains(&"application/vnd.amazon.soci.index.v1+json") {
        "SOCI index v1"
    } else if artifact.contains(&"application/vnd.amazon.soci.index.v2+json") {
        "SOCI index v2"
    } else if !manifest["manifests"].is_null() {
        "image index"
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
    let name = "listing-v2";
    let image = make(stack, name, IMAGE);
    let before = list_images(stack, name);
    assert_eq!(shape(&before), [("image", Some("in"))]);
    let _ = convert(stack, &image, &[]).ok();
    let after = list_images(stack, name);
    let expected = [
        ("SOCI index v2", None),
        ("image", None),
        ("image", Some("in")),
        ("image index", Some("out")),
    ];
    assert_eq!(shape(&after), expected);
    assert_eq!(after[2], before[0], "the old image stays");
    // The image index lists just the other two.
    let index = manifest(stack, name, &after[3].2);
    let listed = manifests(&index).iter().map(|d| text(&d["digest"]));
    let listed: BTreeSet<_> = listed.collect();
    assert_eq!(listed, [&*after[0].2, &*after[1].2].into());
    // Again: the same bytes, so nothing new.
    let _ = convert(stack, &image, &[]).ok();
    assert_eq!(list_images(stack, name), after);
}

/// In place, the tag moves to the image index; what it named before stays, without a tag.
#[test]
fn convert_in_place_moves_the_tag() {
    let Some(stack) = stack::start() else {
        return;
    };
    let name = "listing-place";
    let image = make(stack, name, IMAGE);
    let before = list_images(stack, name);
    let url = format!("docker://{image}");
    let again = || {
        let mut convert = sociable(["convert", &url, &url, "--no-cache"]);
        let _ = run(convert.args(["--plain-http", &stack.registry()])).ok();
        list_images(stack, name)
    };
    let after = again();
    let expected = [
        ("SOCI index v2", None),
        ("image", None),
        ("image", None),
        ("image index", Some("in")),
    ];
    assert_eq!(shape(&after), expected);
    assert!(after.iter().any(|entry| entry.2 == before[0].2));
    assert_eq!(again(), after, "converted twice is converted once");
}

#[test]
fn create_leaves_the_image_as_it_is_with_a_soci_index_beside_it() {
    let Some(stack) = stack::start() else {
        return;
    };
    let name = "listing-v1";
    let image = make(stack, name, IMAGE);
    let before = list_images(stack, name);
    assert_eq!(shape(&before), [("image", Some("in"))]);
    let url = format!("docker://{image}");
    let registry = stack.registry();
    let mut create = sociable(["create", &url, &url, "--no-cache"]);
    let _ = run(create.args(["--plain-http", &registry])).ok();
    let after = list_images(stack, name);
    // This registry has no referrers API, so the referrers are an index under a tag made from the image's digest.
    let fallback = before[0].2.replace(':', "-");
    let expected = [
        ("SOCI index v1", None),
        ("image", Some("in")),
        ("image index", Some(&*fallback)),
    ];
    assert_eq!(shape(&after), expected);
    assert_eq!(after[1], before[0], "the tag still names the image");
    let soci = manifest(stack, name, &after[0].2);
    assert_eq!(soci["subject"]["digest"], *before[0].2);

    // Others find it among the referrers, and once it is removed they do not.
    let discover = || {
        let found = stack.json(&format!("oras discover --plain-http --format json {image}"));
        let found = found["referrers"].as_array().cloned().unwrap_or_default();
        let found = found.iter().map(|r| text(&r["digest"]).to_owned());
        found.collect::<Vec<_>>()
    };
    assert_eq!(discover(), [&*after[0].2]);
    let _ = run(&mut sociable(["verify", &url, "--plain-http", &registry])).ok();
    let _ = run(&mut sociable([
        "rm",
        "--index",
        &url,
        "--plain-http",
        &registry,
    ]))
    .ok();
    assert_eq!(discover(), [""; 0]);
    let left = list_images(stack, name);
    assert!(left.contains(&before[0]), "{left:?}");
}

#[test]
fn create_leaves_an_index_of_one_image_under_its_tag() {
    let Some(stack) = stack::start() else {
        return;
    };
    let (name, registry) = ("listing-one", stack.registry());
    let image = make(stack, name, IMAGE);
    let one = format!("{registry}/{name}:one");
    let append = format!("crane index append --insecure --manifest {image} --tag {one}");
    let _ = stack.run(&append).ok();
    let before = list_images(stack, name);
    let named = ("image index", Some("one"));
    assert!(shape(&before).contains(&named), "{before:?}");
    let url = format!("docker://{one}");
    let mut create = sociable(["create", &url, &url, "--no-cache"]);
    let _ = run(create.args(["--plain-http", &registry])).ok();
    let after = list_images(stack, name);
    let lost: Vec<_> = before.iter().filter(|old| !after.contains(old)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(
        shape(&after).contains(&("SOCI index v1", None)),
        "{after:?}"
    );
    let _ = run(&mut sociable(["verify", &url, "--plain-http", &registry])).ok();
}

#[test]
fn what_is_no_image_is_refused() {
    let Some(stack) = stack::start() else {
        return;
    };
    let push = "oras push --plain-http $IN Dockerfile --artifact-type application/vnd.example";
    // Of the second kind are Helm's charts.
    let chart = "printf {} >/tmp/chart.json
        oras push --plain-http $IN --config /tmp/chart.json:application/vnd.example Dockerfile";
    for (name, script) in [("artifact", push), ("chart", chart)] {
        let artifact = make(stack, name, script);
        let before = list_images(stack, name);
        let done = convert(stack, &artifact, &[]).refused();
        let sentence = "is not an image: it is an artifact of the type \"application/vnd.example\"";
        assert!(done.stderr.contains(sentence), "{done}");
        assert_eq!(list_images(stack, name), before);
    }
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
    let before = list_images(stack, "zstd");
    let done = convert(stack, &image, &[]).refused();
    let sentences = [
        "no layer was indexed, so there is no index to make",
        "it is compressed with zstd",
    ];
    for sentence in sentences {
        assert!(done.stderr.contains(sentence), "{done}");
    }
    assert_eq!(list_images(stack, "zstd"), before);
}
