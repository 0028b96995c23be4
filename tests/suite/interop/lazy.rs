//! Containers that start while their image is still in the registry, by real snapshotters.

use sociable_tests::lazily::{layers_on_fuse, sent};
use sociable_tests::run;
use sociable_tests::stack::{self, Docker, Stack};

use super::{COLD, OUTPUT, convert, make};

/// The large layer's bytes are those of its files, since those do not compress.
const LAYER: u64 = COLD as u64;

/// An image to start, with these options of BuildKit's exporter. Its layers are like no other's: a snapshotter has a layer once,
/// wherever it came from.
fn app(stack: &'static Stack, name: &str, options: &str) -> String {
    let script = format!(
        "sed 's,/data/,/{name}/,' Dockerfile | docker buildx build --builder rem --file - --provenance=false \
         --output type=image,name=$IN,push=true,force-compression=true,{options} ."
    );
    make(stack, name, &script)
}

const OCI: &str = "compression=gzip,oci-mediatypes=true";

/// What it prints.
fn output(name: &str) -> String {
    OUTPUT.replace("data", name)
}

#[test]
fn docker_starts_a_converted_image_lazily() {
    if let Some(stack) = stack::start() {
        docker_starts_lazily(stack, "lazy-docker", &[]);
    }
}

/// Spans where a policy wants them, a compact zTOC, and a record of the policy in the index.
#[test]
fn docker_starts_an_image_lazily_that_policies_decided_about() {
    if let Some(stack) = stack::start() {
        let policy = "adaptive=small=262144,large=1048576";
        docker_starts_lazily(stack, "lazy-policy", &["--policy", policy]);
    }
}

/// Converts an image with these options, and starts it.
#[track_caller]
fn docker_starts_lazily(stack: &'static Stack, name: &str, options: &[&str]) {
    let image = app(stack, name, OCI);
    let _ = convert(stack, &image, options).ok();
    let out = image.replace(":in", ":out");
    let before = sent(stack, name);
    let docker = |arguments: &str| stack.docker(Docker::Lazy, arguments).ok();
    let _ = docker(&format!("run --detach --name {name} {out} sleep 600"));
    let exec = |words: &str| docker(&format!("exec {name} /bin/busybox {words}"));
    assert!(
        layers_on_fuse(stack, &exec("cat /proc/mounts")) > 0,
        "{}",
        stack.log("soci", 20)
    );
    let read = exec(&format!("wc -c /{name}/start"));
    assert_eq!(read.text().trim(), output(name));
    let lazily = sent(stack, name) - before;
    assert!(lazily < LAYER / 2, "{lazily} bytes of {LAYER} were fetched");
    // All of it, through FUSE, is what was put in; and it does come from the registry.
    let whole = exec(&format!("sha256sum /{name}/cold")).text();
    let cold = stack.run(&format!(
        "sha256sum {}/cold",
        super::context(stack).display()
    ));
    let hash = |text: &str| text.split_whitespace().next().map(str::to_owned);
    assert_eq!(hash(&whole), hash(&cold.ok().text()));
    let all = sent(stack, name) - before;
    assert!(all > LAYER, "{all} bytes of {LAYER} were fetched");
    let _ = docker(&format!("rm --force {name}"));
}

/// Pulls an image with a snapshotter of containerd's and starts it: it runs from FUSE, and most of it stays where it is.
#[track_caller]
fn starts_lazily(stack: &Stack, name: &str, image: &str, pull: &str, snapshotter: &str) {
    let before = sent(stack, name);
    let _ = stack
        .run(&format!("{pull} --snapshotter {snapshotter} {image}"))
        .ok();
    let start = |container: &str, words: &str| {
        let run = format!(
            "ctr --namespace lazy run --rm --snapshotter {snapshotter} {image} {name}-{container} {words}"
        );
        stack.said(&run)
    };
    assert_eq!(start("1", "").text().trim(), output(name));
    let lazily = sent(stack, name) - before;
    assert!(lazily < LAYER / 2, "{lazily} bytes of {LAYER} were fetched");
    let mounts = start("2", "/bin/busybox cat /proc/mounts");
    assert!(
        layers_on_fuse(stack, &mounts) > 0,
        "{}",
        stack.log(snapshotter, 20)
    );
}

#[test]
fn containerd_starts_converted_images_lazily() {
    let Some(stack) = stack::start() else {
        return;
    };
    let cases = [
        ("lazy-oci", OCI),
        ("lazy-v2s2", "compression=gzip,oci-mediatypes=false"),
        ("lazy-estargz", "compression=estargz,oci-mediatypes=true"),
    ];
    for (name, options) in cases {
        let image = app(stack, name, options);
        let _ = convert(stack, &image, &[]).ok();
        let pull = "ctr --namespace lazy images pull --plain-http";
        starts_lazily(stack, name, &image.replace(":in", ":out"), pull, "soci");
    }
}

/// soci-snapshotter 0.4.1, Debian's, knows nothing but v1; it finds the index through the registry's referrers.
#[test]
fn an_old_snapshotter_starts_an_image_with_a_v1_index() {
    let Some(stack) = stack::start() else {
        return;
    };
    let name = "lazy-v1";
    let _ = app(stack, name, OCI);
    let image = format!("{}/{name}:in", stack.tls_registry());
    let url = format!("docker://{image}");
    let mut create = stack.sociable(["create", &url, &url]);
    let _ = run(create.args(["--ca", "/run/ca.crt"])).ok();
    let pull = "soci --namespace lazy image rpull";
    starts_lazily(stack, name, &image, pull, "soci-v1");
}

/// The image as it was, not converted, is pulled whole by the same means: so the means can tell the difference.
#[test]
fn an_image_without_an_index_is_pulled_whole() {
    let Some(stack) = stack::start() else {
        return;
    };
    let name = "eager";
    let image = app(stack, name, OCI);
    let before = sent(stack, name);
    let started = stack
        .docker(Docker::Lazy, &format!("run --rm {image}"))
        .ok();
    assert_eq!(started.text().trim(), output(name));
    let all = sent(stack, name) - before;
    assert!(all >= LAYER, "{all} bytes of {LAYER} were fetched");
}
