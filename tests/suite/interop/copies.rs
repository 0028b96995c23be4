//! Converted images on their way: from repository to repository, through a layout, over TLS, and with what others made.

use std::fs;

use sociable_tests::layout::Layout;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{Run, run, sociable};

use super::readers::{Expected, check};
use super::{convert, make, text};

/// An image whose provenance comes along.
const IMAGE: &str = "docker buildx build --builder rem --provenance mode=max \
    --output type=image,name=$IN,push=true,oci-mediatypes=true,compression=gzip,force-compression=true .";

const EXPECTED: Expected = Expected {
    platforms: &["linux/amd64"],
    indexed: 1,
    attestations: 1,
};

/// Runs `sociable` with the registry over HTTP.
fn over_http<const N: usize>(stack: &Stack, arguments: [&str; N]) -> Run {
    run(sociable(arguments).args(["--plain-http", &stack.registry()]))
}

/// The digest that a tag names.
#[track_caller]
fn digest(stack: &Stack, image: &str) -> String {
    let asked = stack.run(&format!("crane digest --insecure {image}"));
    asked.ok().text().trim().to_owned()
}

/// The digests of an image's referrers, as oras finds them.
#[track_caller]
fn referrers(stack: &Stack, image: &str) -> Vec<String> {
    let found = stack.json(&format!("oras discover --plain-http --format json {image}"));
    let found = found["referrers"].as_array().cloned().unwrap_or_default();
    let found = found.iter().map(|r| text(&r["digest"]).to_owned());
    found.collect()
}

#[test]
fn copied_and_pulled_and_pushed() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(stack, "copy-from", IMAGE);
    let _ = convert(stack, &image, &[]).ok();
    let converted = image.replace(":in", ":out");
    let url = |name: &str| format!("docker://{}/{name}:out", stack.registry());
    let expected = digest(stack, &converted);

    let _ = over_http(stack, ["copy", &url("copy-from"), &url("copy-to")]).ok();
    assert_eq!(digest(stack, &url("copy-to")[9..]), expected);
    // Blobs are mounted, not sent: each upload is over with the request that begins it (201, not 202).
    let uploads = stack.answers("copy-to").into_iter();
    let uploads = uploads.filter(|a| a.method != "HEAD" && a.path.contains("/blobs/"));
    let uploads: Vec<_> = uploads.map(|a| (a.method, a.status)).collect();
    assert!(!uploads.is_empty());
    let sent = uploads.iter().filter(|u| **u != ("POST".to_owned(), 201));
    assert_eq!(sent.count(), 0, "{uploads:?}");
    check(stack, "copy-to", &EXPECTED);

    let layout = Layout::open(stack.dir("copy-layout"));
    let _ = over_http(stack, ["pull", &url("copy-to"), &layout.arg()]).ok();
    let _ = over_http(stack, ["push", &layout.arg(), &url("copy-pushed")]).ok();
    assert_eq!(digest(stack, &url("copy-pushed")[9..]), expected);
    check(stack, "copy-pushed", &EXPECTED);
}

/// What Debian's `soci` makes is verified and read, and comes along when the image is copied.
#[test]
fn an_index_that_soci_made() {
    let Some(stack) = stack::start() else {
        return;
    };
    let script = IMAGE.replace("--provenance mode=max", "--provenance=false");
    let image = make(stack, "soci-made", &script);
    for command in [
        format!("ctr --namespace soci-made images pull --plain-http {image}"),
        format!("soci --namespace soci-made create {image}"),
        format!("soci --namespace soci-made push --plain-http {image}"),
    ] {
        let _ = stack.run(&command).ok();
    }
    let [theirs] = &referrers(stack, &image)[..] else {
        panic!("soci pushed no index");
    };
    let url = format!("docker://{image}");
    let verified = over_http(stack, ["verify", &url]).ok();
    assert!(verified.text().contains("1 SOCI index "), "{verified}");
    let start = over_http(stack, ["cat", &url, "/data/start"]).ok();
    let context = super::context(stack);
    let original = fs::read(context.join("start")).expect("a file");
    assert!(start.stdout == original, "not what was put in");
    let to = image.replace("soci-made", "soci-made-copy");
    let _ = over_http(stack, ["copy", &url, &format!("docker://{to}")]).ok();
    assert_eq!(referrers(stack, &to), [&**theirs]);
    assert_eq!(digest(stack, &to), digest(stack, &image));
}

#[test]
fn over_tls() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(stack, "over-tls", IMAGE);
    let port = stack.tls_registry();
    let (_, port) = port.split_once(':').expect("a port");
    let registry = format!("127.0.0.1:{port}");
    let [from, to] = ["in", "out"].map(|tag| format!("docker://{registry}/over-tls:{tag}"));
    let words = ["convert", &from, &to, "--no-cache"];
    let untrusted = run(&mut sociable(words)).refused();
    assert!(untrusted.stderr.contains("certificate"), "{untrusted}");
    let ca = stack.ca();
    let _ = run(sociable(words).arg("--ca").arg(&ca)).ok();
    let _ = run(sociable(["verify", &to]).args(["--skip-tls-verify", &registry])).ok();
    // One storage, two registries: over HTTP it is what `convert` makes there.
    let tls = digest(stack, &image.replace(":in", ":out"));
    let _ = convert(stack, &image, &[]).ok();
    assert_eq!(digest(stack, &image.replace(":in", ":out")), tls);
}
