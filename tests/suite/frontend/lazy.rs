//! What the frontend made starts lazily on Docker with the `soci` snapshotter, the base image's layers as well.

use std::fs;

use serde_json::Value;
use sociable_tests::frontend::Builder;
use sociable_tests::lazily::{layers_on_fuse, sent};
use sociable_tests::rng::Rng;
use sociable_tests::stack::{self, Docker, Stack};
use sociable_tests::{run, sha256, sociable};

use super::project::{Project, layers};

/// What nothing reads when a container starts: in the base image, and above it.
const COLD: usize = 4 << 20;
/// Layers that are large enough to be indexed: busybox, and twice [`COLD`].
const INDEXED: usize = 3;

/// An image whose layers are like no other's, from the first one, since a snapshotter has a layer once, wherever it came from.
fn project(stack: &'static Stack, name: &str) -> Project {
    let mut rng = Rng::new(sha256(name.as_bytes()).bytes().map(u64::from).sum());
    let (below, above) = (rng.noise(COLD), rng.noise(COLD));
    let registry = stack.registry();
    let base = format!(
        "FROM scratch\nCOPY below /{name}/below\nCOPY busybox /bin/busybox\n\
        ENTRYPOINT [\"/bin/busybox\"]\nLABEL of={name}\n"
    );
    let dockerfile = format!(
        "FROM {registry}/{name}-base:1\nCOPY above /{name}/above\n\
        RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo hello >/hello\"]\nCMD [\"cat\", \"/hello\"]\n"
    );
    let files: &[(&str, &[u8])] = &[
        ("below", &below),
        ("above", &above),
        ("base.Dockerfile", base.as_bytes()),
        ("Dockerfile", dockerfile.as_bytes()),
    ];
    let project = Project::new(stack, name, files);
    let to = project.dir.display();
    let _ = stack.run(&format!("cp /usr/bin/busybox {to}")).ok();
    let mut build = project.plain(Builder::Buildkitd);
    build.args(["--tag", &format!("{registry}/{name}-base:1"), "--push"]);
    let _ = run(build.args(["--file", "base.Dockerfile", "."])).ok();
    project
}

/// Starts a container of an image in the project's repository: this many layers are mounted from the registry, and their files are right.
#[track_caller]
fn starts_lazily(project: &Project, image: &str, expected: usize) {
    let Project { stack, name, .. } = project;
    let before = sent(stack, name);
    let docker = |arguments: &str| stack.docker(Docker::Lazy, arguments).ok();
    let _ = docker(&format!("run --detach --name {name} {image} sleep 600"));
    let exec = |words: &str| docker(&format!("exec {name} /bin/busybox {words}")).text();
    assert_eq!(exec("cat /hello"), "hello\n");
    let mounts = docker(&format!("exec {name} /bin/busybox cat /proc/mounts"));
    let found = layers_on_fuse(stack, &mounts);
    assert_eq!(found, expected, "{mounts}\n{}", stack.log("soci", 5));
    let lazily = sent(stack, name) - before;
    let eager = if expected == INDEXED { 0 } else { COLD };
    let most = (eager + COLD) as u64;
    assert!(lazily < most, "{lazily} bytes were fetched, {most} at most");
    for file in ["below", "above"] {
        let whole = exec(&format!("sha256sum /{name}/{file}"));
        let content = fs::read(project.dir.join(file)).expect("a file");
        let hash = sha256(&content).replace("sha256:", "");
        assert_eq!(whole.split_whitespace().next(), Some(&*hash), "{file}");
    }
    let all = sent(stack, name) - before;
    assert!(all > 2 * COLD as u64, "{all} bytes were fetched");
    let _ = docker(&format!("rm --force {name}"));
}

fn an_image_pushed_by_buildkit(builder: Builder) {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, &format!("lazy-image-{}", builder.word()));
    let _ = project.push_image(builder, "1", &[]);
    starts_lazily(&project, &project.image("1"), INDEXED);
}

#[test]
fn an_image_pushed_by_dockerd_starts_lazily() {
    an_image_pushed_by_buildkit(Builder::Docker);
}

#[test]
fn an_image_pushed_by_buildkitd_starts_lazily() {
    an_image_pushed_by_buildkit(Builder::Buildkitd);
}

#[test]
fn an_image_pushed_by_the_frontend_starts_lazily() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "lazy-push");
    let options = ["OUTPUT=push", &format!("REPO={}", project.image("1"))];
    let mut build = project.sociable(Builder::Docker, &options);
    let _ = run(build.args(["--output", "type=cacheonly", "."])).ok();
    starts_lazily(&project, &project.image("1"), INDEXED);
}

#[test]
fn a_layout_copied_by_skopeo_starts_lazily() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "lazy-skopeo");
    let archive = project.archive(Builder::Buildkitd, &[], &[]);
    let to = project.image("1");
    let copy = "skopeo copy --all --dest-tls-verify=false";
    let _ = stack
        .run(&format!("{copy} oci-archive:{archive} docker://{to}"))
        .ok();
    starts_lazily(&project, &to, INDEXED);
}

#[test]
fn a_layout_copied_by_sociable_starts_lazily() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "lazy-copy");
    let archive = project.archive(Builder::Docker, &[], &[]);
    let to = format!("docker://{}", project.image("1"));
    let mut copy = sociable(["copy", &format!("oci-archive:{archive}"), &to]);
    let _ = run(copy.args(["--plain-http", &stack.registry()])).ok();
    starts_lazily(&project, &project.image("1"), INDEXED);
}

/// The layers that a SOCI index has a zTOC of.
fn indexed(index: &Value) -> Vec<&str> {
    let blobs = index["layers"].as_array().expect("zTOCs").iter();
    let ztocs = blobs.filter(|blob| blob["mediaType"] == "application/octet-stream");
    let of = ztocs.map(|ztoc| &ztoc["annotations"]["com.amazon.soci.image-layer-digest"]);
    of.map(|layer| layer.as_str().expect("a layer")).collect()
}

#[test]
fn the_base_image_can_be_left_out_of_the_index() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "lazy-without-base");
    let _ = project.push_image(Builder::Buildkitd, "all", &[]);
    let all = project.manifest("all");
    // below, busybox, above, hello
    let found = layers(&all);
    assert_eq!(indexed(&project.soci_index(&all)), found[..3]);
    let _ = project.push_image(Builder::Buildkitd, "1", &["BASE=false"]);
    let new = project.manifest("1");
    assert_eq!(layers(&new), found, "the image has the same layers");
    assert_eq!(indexed(&project.soci_index(&new)), [found[2]]);
    starts_lazily(&project, &project.image("1"), 1);
}

#[test]
fn files_to_be_fetched_first_are_listed() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "lazy-prefetch");
    let above = "/lazy-prefetch/above";
    let _ = project.push_image(Builder::Docker, "1", &[&format!("PREFETCH={above}")]);
    let image = project.manifest("1");
    let index = project.soci_index(&image);
    let blobs = index["layers"].as_array().expect("blobs");
    let prefetch: Vec<_> = blobs
        .iter()
        .filter(|blob| blob["mediaType"] == "application/vnd.amazon.soci.prefetch.v1+json")
        .collect();
    let [prefetch] = prefetch[..] else {
        panic!("one prefetch artifact is expected: {index}");
    };
    let of = &prefetch["annotations"]["com.amazon.soci.image-layer-digest"];
    assert_eq!(of, layers(&image)[2]);
    let digest = prefetch["digest"].as_str().expect("a digest");
    let blob = stack.json(&format!("crane blob {}@{digest}", project.repository));
    let spans = blob["prefetch_spans"].as_array().expect("spans");
    assert!(!spans.is_empty(), "{blob}");
    project.verify(&format!("docker://{}", project.image("1")), 1);
}
