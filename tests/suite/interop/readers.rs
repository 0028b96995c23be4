//! Everybody's readers: each lists and pulls a converted image, and what it pulled is whole.

use serde_json::Value;
use sociable_tests::layout::Layout;
use sociable_tests::stack::{Docker, Stack};
use sociable_tests::{run, sociable};

use super::{OUTPUT, manifests, text};

/// The platform whose programs run here: the stack is Debian's, and busybox of the same architecture.
const HERE: &str = "linux/amd64";
const SOCI_V2: &str = "application/vnd.amazon.soci.index.v2+json";

/// What a converted image is to be.
pub(super) struct Expected {
    /// Platforms with a SOCI index.
    pub(super) platforms: &'static [&'static str],
    /// Indexed layers of each.
    pub(super) indexed: usize,
    /// Attestation manifests, such as provenance.
    pub(super) attestations: usize,
}

/// Has `sociable` and everybody else read the image `NAME:out`.
#[track_caller]
pub(super) fn check(stack: &Stack, name: &str, expected: &Expected) {
    let image = format!("{}/{name}:out", stack.registry());
    let index = stack.json(&format!("crane manifest --insecure {image}"));
    verify(stack, &format!("docker://{image}"));
    structure(stack, name, &index, expected);
    crane(stack, name, &index, expected);
    skopeo(stack, name, expected);
    oras(stack, name, &index);
    containerd(stack, name, expected);
    docker(stack, name, expected);
}

/// `sociable verify` of an image wherever it is.
#[track_caller]
fn verify(stack: &Stack, image: &str) {
    let mut command = sociable(["verify", image]);
    if image.starts_with("docker://") {
        command.args(["--plain-http", &stack.registry()]);
    }
    let _ = run(&mut command).ok();
}

/// `os/architecture[/variant]` of a descriptor.
fn platform(descriptor: &Value) -> String {
    let platform = &descriptor["platform"];
    let parts = ["os", "architecture", "variant"].map(|field| text(&platform[field]));
    parts.join("/").trim_end_matches('/').to_owned()
}

fn images<'a>(index: &'a Value, expected: &Expected) -> Vec<&'a Value> {
    let images = manifests(index)
        .iter()
        .filter(|d| d["artifactType"].is_null() && expected.platforms.contains(&&*platform(d)));
    images.collect()
}

/// Image and SOCI index of each platform point at each other.
#[track_caller]
fn structure(stack: &Stack, name: &str, index: &Value, expected: &Expected) {
    let repository = format!("{}/{name}", stack.registry());
    let fetch = |descriptor: &Value| {
        let digest = text(&descriptor["digest"]);
        stack.json(&format!("crane manifest --insecure {repository}@{digest}"))
    };
    let soci = manifests(index)
        .iter()
        .filter(|d| d["artifactType"] == SOCI_V2);
    let soci: Vec<_> = soci.collect();
    let images = images(index, expected);
    let count = expected.platforms.len();
    assert_eq!(
        (images.len(), soci.len()),
        (count, count),
        "{name}: {index:#}"
    );
    let attestations = manifests(index)
        .iter()
        .filter(|d| platform(d) == "unknown/unknown")
        .filter(|d| fetch(d)["layers"][0]["mediaType"] == "application/vnd.in-toto+json");
    assert_eq!(
        attestations.count(),
        expected.attestations,
        "{name}: {index:#}"
    );
    for image in images {
        let named = &image["annotations"]["com.amazon.soci.index-digest"];
        let back = &image["digest"];
        // Platforms with the same layers have the same index, listed once for each.
        let found = soci.iter().filter(|d| {
            let of = &d["annotations"]["com.amazon.soci.image-manifest-digest"];
            d["digest"] == *named && of == back
        });
        let found: Vec<_> = found.collect();
        let [soci] = found[..] else {
            panic!("{name}: no one SOCI index {named} of {back}: {index:#}");
        };
        assert_eq!(platform(soci), platform(image), "{name}: {index:#}");
        // The snapshotter reads the annotation in the manifest, not the one in the image index.
        let in_manifest = &fetch(image)["annotations"]["com.amazon.soci.index-digest"];
        assert_eq!(in_manifest, named, "{name}");
        let ztocs = fetch(soci)["layers"].as_array().map(Vec::len);
        assert_eq!(ztocs, Some(expected.indexed), "{name}: zTOCs");
    }
}

/// crane takes each image as valid, down to the diff IDs of its layers, and pulls everything.
#[track_caller]
fn crane(stack: &Stack, name: &str, index: &Value, expected: &Expected) {
    let repository = format!("{}/{name}", stack.registry());
    for image in images(index, expected) {
        let digest = text(&image["digest"]);
        let _ = stack
            .run(&format!(
                "crane validate --insecure --remote {repository}@{digest}"
            ))
            .ok();
    }
    let layout = Layout::open(stack.dir(&format!("{name}/crane")));
    let dir = layout.dir.display();
    let _ = stack
        .run(&format!(
            "crane pull --insecure --format oci {repository}:out {dir}"
        ))
        .ok();
    complete(stack, name, &layout, expected);
}

/// skopeo copies everything, and inspects the image.
#[track_caller]
fn skopeo(stack: &Stack, name: &str, expected: &Expected) {
    let image = format!("docker://{}/{name}:out", stack.registry());
    let layout = Layout::open(stack.dir(&format!("{name}/skopeo")));
    let copy = "skopeo copy --quiet --all --preserve-digests --src-tls-verify=false";
    let _ = stack.run(&format!("{copy} {image} {}", layout.arg())).ok();
    complete(stack, name, &layout, expected);
    for platform in expected.platforms {
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap_or_default();
        let (os, arch, variant) = (part(), part(), part());
        let mut choice = format!("--override-os {os} --override-arch {arch}");
        if !variant.is_empty() {
            choice = format!("{choice} --override-variant {variant}");
        }
        let found = stack.json(&format!(
            "skopeo {choice} inspect --tls-verify=false {image}"
        ));
        assert_eq!(found["Os"], os, "{name}");
        assert_eq!(found["Architecture"], arch, "{name}");
    }
}

/// oras fetches the index as it is, discovers referrers, and copies everything.
#[track_caller]
fn oras(stack: &Stack, name: &str, index: &Value) {
    let image = format!("{}/{name}:out", stack.registry());
    let fetched = stack.json(&format!("oras manifest fetch --plain-http {image}"));
    assert_eq!(&fetched, index, "{name}");
    let _ = stack.json(&format!("oras discover --plain-http --format json {image}"));
    let to = format!("{}:out", stack.dir(&format!("{name}/oras")).display());
    let _ = stack
        .run(&format!(
            "oras cp --recursive --from-plain-http {image} --to-oci-layout {to}"
        ))
        .ok();
    verify(stack, &format!("oci:{to}"));
}

/// containerd fetches every platform, and runs the image where it is of this machine.
#[track_caller]
fn containerd(stack: &Stack, name: &str, expected: &Expected) {
    let image = format!("{}/{name}:out", stack.registry());
    let ctr = |arguments: &str| {
        stack
            .run(&format!("ctr --namespace interop {arguments}"))
            .ok()
    };
    let _ = ctr(&format!(
        "content fetch --plain-http --all-platforms {image}"
    ));
    if expected.platforms.contains(&HERE) {
        let _ = ctr(&format!(
            "images pull --plain-http --platform {HERE} {image}"
        ));
        let started = stack.said(&format!(
            "ctr --namespace interop run --rm {image} reader-{name}"
        ));
        assert_eq!(started.text().trim(), OUTPUT, "{started}");
    }
}

/// Docker pulls each platform, and runs the image where it is of this machine.
#[track_caller]
fn docker(stack: &Stack, name: &str, expected: &Expected) {
    let image = format!("{}/{name}:out", stack.registry());
    let docker = |arguments: &str| stack.docker(Docker::Eager, arguments).ok();
    for platform in expected.platforms {
        let _ = docker(&format!("pull --quiet --platform {platform} {image}"));
        if *platform == HERE {
            let started = docker(&format!("run --rm --pull=never {image}"));
            assert_eq!(started.text().trim(), OUTPUT, "{started}");
        }
    }
    let listed = docker(&format!("images --quiet {image}"));
    assert!(!listed.stdout.is_empty(), "{name} is not listed");
}

/// A layout that somebody pulled holds every SOCI index, and `sociable` finds nothing wrong in it.
#[track_caller]
fn complete(stack: &Stack, name: &str, layout: &Layout, expected: &Expected) {
    let indexed = layout.indexed();
    let count = expected.indexed * expected.platforms.len();
    assert_eq!(
        indexed.len(),
        count,
        "{name}: {indexed:?} in {}",
        layout.dir.display()
    );
    verify(stack, &layout.arg());
}
