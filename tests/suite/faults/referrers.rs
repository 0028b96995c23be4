//! Indexes of generation 1: beside the image, with the referrers API or without; and commands on many images.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::thread;

use serde_json::{Value, json};
use sociable_tests::layout::media;
use sociable_tests::proxy::{Answer, Fault, Gate, Rule, Tokens};
use sociable_tests::registry::{self, Kind};
use sociable_tests::{http, run, sha256};

use super::Lab;
use crate::s;

impl Lab {
    /// `create` of an index beside the image, in place.
    pub(super) fn create(&self, tool: &str) -> std::process::Command {
        let image = self.proxy.image("src/app:1");
        let mut command = self.command(&["create", &image, &image]);
        command.args(["--no-cache", "--min-layer-size", "0"]);
        command.args(["--build-tool-identifier", tool]);
        command
    }

    /// The tag that stands in for the referrers API.
    fn fallback(&self) -> String {
        let digest = self.result("src/app", "1").expect("the image");
        digest.replace(':', "-")
    }
}

#[test]
fn indexes_beside_the_image() {
    for kind in Kind::ALL {
        let Some(lab) = Lab::with("indexes_beside_the_image", kind, super::LARGE) else {
            return;
        };
        let before = lab.result("src/app", "1");
        let _ = run(&mut lab.create("a tool")).ok();
        assert_eq!(lab.result("src/app", "1"), before, "the image itself");
        let tags = registry::tags(lab.registry.address(), "src/app");
        let tagged = tags.contains(&lab.fallback());
        assert_eq!(tagged, kind == Kind::Distribution, "{kind:?}: {tags:?}");
        let shown = run(&mut lab.command(&["inspect", &lab.proxy.image("src/app:1")])).ok();
        assert!(!shown.text().contains("no SOCI index"), "{shown}");
        assert!(shown.text().contains("v1  sha256:"), "{shown}");

        // A copy brings it along; removing it leaves the image.
        let copy = lab.proxy.image("copied:1");
        let _ = run(&mut lab.command(&["copy", &lab.proxy.image("src/app:1"), &copy])).ok();
        let shown = run(&mut lab.command(&["inspect", &copy])).ok();
        assert!(!shown.text().contains("no SOCI index"), "{shown}");
        assert!(shown.text().contains("v1  sha256:"), "{shown}");
        assert_eq!(lab.result("copied", "1"), before);
        let _ = run(&mut lab.command(&["rm", "--index", &copy])).ok();
        let shown = run(&mut lab.command(&["inspect", &copy])).ok();
        assert!(shown.text().contains("no SOCI index"), "{shown}");
        assert_eq!(lab.result("copied", "1"), before);
    }
}

#[test]
fn many_at_once() {
    for writers in [2, 8] {
        let Some(lab) = Lab::new("many_at_once") else {
            return;
        };
        thread::scope(|scope| {
            for n in 0..writers {
                let mut create = lab.create(&format!("tool {n}"));
                scope.spawn(move || drop(run(&mut create).ok()));
            }
        });
        let address = lab.registry.address();
        assert_eq!(list(&lab, "src/app").len(), writers);
        let found = registry::complete(address, "src/app", &lab.fallback());
        assert!(found.is_ok(), "{found:?}");
    }
}

/// The entries of the list under the fallback tag.
fn list(lab: &Lab, repository: &str) -> Vec<Value> {
    let list = registry::manifest(lab.registry.address(), repository, &lab.fallback());
    let (list, _) = list.expect("a list");
    let mut list: Value = serde_json::from_slice(&list).expect("JSON");
    list["manifests"]
        .take()
        .as_array()
        .expect("entries")
        .clone()
}

/// The entries that the referrers API has.
fn by_api(lab: &Lab, repository: &str) -> Vec<Value> {
    let path = format!("/v2/{repository}/referrers/{}", lab.digest());
    let answer = http::ask(lab.registry.address(), "GET", &path, &[], b"").expect("an answer");
    assert_eq!(answer.head.status, 200);
    let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
    list["manifests"].as_array().expect("entries").clone()
}

/// Something else that refers to the image, such as a signature.
fn sign(lab: &Lab) -> String {
    let address = lab.registry.address();
    let manifest = lab.image.blob(&lab.digest()).expect("the manifest");
    let image: Value = serde_json::from_slice(&manifest).expect("JSON");
    let signature = json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": "application/vnd.example.signature",
        "config": image["config"], "layers": [],
        "subject": {"mediaType": media::MANIFEST, "digest": lab.digest(), "size": manifest.len()},
    });
    let signature = signature.to_string().into_bytes();
    let digest = sha256(&signature);
    registry::push(address, "src/app", &digest, media::MANIFEST, &signature);
    let tags = registry::tags(address, "src/app");
    if tags.contains(&lab.fallback()) {
        // The registry has no referrers API: whoever signs keeps the list.
        let mut entries = list(lab, "src/app");
        entries.push(json!({
            "mediaType": media::MANIFEST, "digest": digest, "size": signature.len(),
            "artifactType": "application/vnd.example.signature",
        }));
        let list = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": entries});
        let list = list.to_string();
        let tag = lab.fallback();
        registry::push(address, "src/app", &tag, media::INDEX, list.as_bytes());
    }
    digest
}

#[test]
fn what_refers_to_an_image_comes_along() {
    for kind in Kind::ALL {
        let Some(lab) = Lab::with("what_refers_comes_along", kind, super::LARGE) else {
            return;
        };
        let _ = run(&mut lab.create("a tool")).ok();
        let signature = sign(&lab);
        let entries = |repository: &str| match kind {
            Kind::Distribution => list(&lab, repository),
            Kind::Olareg => by_api(&lab, repository),
        };
        let digests = |repository: &str| {
            let entries = entries(repository);
            let digests = entries.iter().map(|e| e["digest"].to_string());
            digests.collect::<BTreeSet<_>>()
        };
        let before = digests("src/app");
        assert_eq!(before.len(), 2, "{kind:?}: {before:?}");
        let copy = lab.proxy.image("copied:1");
        let _ = run(&mut lab.command(&["copy", &lab.proxy.image("src/app:1"), &copy])).ok();
        assert_eq!(lab.result("copied", "1"), Some(lab.digest()));
        assert_eq!(digests("copied"), before, "{kind:?}");

        // Removing indexes leaves the signature.
        let _ = run(&mut lab.command(&["rm", "--index", &copy])).ok();
        let left = digests("copied");
        assert_eq!(left, [format!("{signature:?}")].into(), "{kind:?}");
        assert_eq!(digests("src/app"), before, "{kind:?}");

        // Generation 2 is part of what the tag names.
        let _ = run(&mut lab.convert()).ok();
        let copy = lab.proxy.image("copied:2");
        let _ = run(&mut lab.command(&["copy", &lab.dest(), &copy])).ok();
        let converted = lab.result(&lab.repository(), "1");
        assert_eq!(lab.result("copied", "2"), converted);
        let _ = run(&mut lab.command(&["verify", &copy])).ok();
    }
}

#[test]
fn batches_go_on() {
    let Some(lab) = Lab::new("batches_go_on") else {
        return;
    };
    let list = lab.dir.path().join("list");
    let mut file = std::fs::File::create(&list).expect("a file");
    for (from, to) in [
        ("src/app:1", "x:1"),
        ("missing:1", "y:1"),
        ("src/app:1", "z:1"),
    ] {
        let (from, to) = (lab.proxy.image(from), lab.proxy.image(to));
        writeln!(file, "{from} {to}").expect("write a list");
    }
    let mut batch = lab.command(&["convert", "--batch", &s(&list), "--json"]);
    batch.args(["--no-cache", "--min-layer-size", "0"]);
    let done = run(&mut batch);
    assert_eq!(done.code, Some(1), "{done}");
    let lines: Vec<Value> = done
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect();
    let results: Vec<_> = lines.iter().map(|l| l["result"].as_str()).collect();
    assert_eq!(
        results,
        [Some("converted"), Some("failed"), Some("converted")]
    );
    let why = lines[1]["why"].as_str().expect("why it failed");
    assert!(why.contains("missing"), "{why}");
    assert!(done.stderr.contains("1 of 3 images failed"), "{done}");
    assert!(lab.result("x", "1").is_some() && lab.result("z", "1").is_some());
    assert_eq!(lab.result("y", "1"), None);
}

#[test]
fn tags_by_pattern() {
    let Some(lab) = Lab::new("tags_by_pattern") else {
        return;
    };
    for tag in ["v1.0", "v1.1", "v2.0"] {
        registry::push_layout(&lab.image, lab.registry.address(), "many", tag);
    }
    let pattern = lab.proxy.image("many:v1.*");
    let unasked = run(&mut lab.command(&["convert", "--repository", &pattern]));
    assert_eq!(unasked.code, Some(2), "{unasked}");
    assert!(unasked.stderr.contains("--in-place"), "{unasked}");
    let mut command = lab.command(&["convert", "--repository", &pattern]);
    command.args([
        "--tag-suffix",
        "-soci",
        "--no-cache",
        "--min-layer-size",
        "0",
    ]);
    let _ = run(&mut command).ok();
    assert_eq!(
        registry::tags(lab.registry.address(), "many"),
        ["v1.0", "v1.0-soci", "v1.1", "v1.1-soci", "v2.0"]
    );
    assert!(lab.result("many", "v1.1-soci").is_some());
}

#[test]
fn a_registry_in_shares() {
    let Some(lab) = Lab::new("a_registry_in_shares") else {
        return;
    };
    let names = ["team/a", "team/b", "team/c/d", "other/e"];
    for name in names {
        for tag in ["1", "2"] {
            registry::push_layout(&lab.image, lab.registry.address(), name, tag);
        }
    }
    // Who may list repositories is a right of its own.
    lab.proxy.guard(Gate::Tokens(Tokens::new(
        "somebody",
        "a secret",
        "an identity",
    )));
    let auth = lab.dir.path().join("auth.json");
    let host = lab.proxy.address();
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"c29tZWJvZHk6YSBzZWNyZXQ="}}}}}}"#);
    fs::write(&auth, text).expect("credentials");
    let convert = |more: &[&str]| {
        let mut command = lab.command(&["convert", "--json", "--no-cache"]);
        command.args(["--min-layer-size", "0", "--repository"]);
        command.arg(lab.proxy.image("team/*")).arg("--authfile");
        run(command.arg(&auth).args(more))
    };
    let mut done = Vec::new();
    for shard in ["0/3", "1/3", "2/3"] {
        let part = convert(&["--in-place", "--shard", shard]).ok();
        for line in part.text().lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["result"], "converted", "{line}");
            done.push(line["source"].as_str().expect("a name").to_owned());
        }
    }
    done.sort();
    let mut all: Vec<_> = names[..3]
        .iter()
        .flat_map(|name| ["1", "2"].map(|tag| lab.proxy.image(&format!("{name}:{tag}"))))
        .collect();
    all.sort();
    assert_eq!(done, all, "each once, and no other");
    assert!(lab.result("team/c/d", "2").is_some());

    let again = convert(&["--in-place"]).ok();
    assert_eq!(again.text().matches("unchanged").count(), 6, "{again}");
    let wrong = convert(&["--in-place", "--shard", "3/3"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");

    // A repository that is there and has nothing, and one that may not be seen, are no reason to leave out the others.
    lab.proxy.add(
        Rule::on("GET", "/v2/team/a/tags/list").does(Fault::Answer(Answer::error(
            404,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        ))),
    );
    let emptied = convert(&["--in-place"]).ok();
    assert_eq!(emptied.text().matches("unchanged").count(), 4, "{emptied}");
    lab.proxy.add(
        Rule::on("GET", "/v2/team/b/tags/list").does(Fault::Answer(Answer::error(
            403,
            "DENIED",
            "not for you",
        ))),
    );
    let denied = convert(&["--in-place"]);
    assert_eq!(denied.code, Some(1), "{denied}");
    assert_eq!(denied.text().matches("unchanged").count(), 2, "{denied}");
    assert!(denied.text().contains("not for you"), "{denied}");

    lab.proxy.clear();
    lab.proxy
        .add(Rule::on("GET", "/v2/_catalog").does(Fault::Answer(Answer::status(404))));
    let unlisted = convert(&["--in-place"]);
    assert_eq!(unlisted.code, Some(1), "{unlisted}");
    assert!(unlisted.stderr.contains("name each"), "{unlisted}");
}

#[test]
fn small_files_of_large_layers() {
    let Some(lab) = Lab::with("small_files", Kind::Distribution, 8 << 20) else {
        return;
    };
    let _ = run(lab.convert().args(["--span-size", "262144"])).ok();
    lab.proxy.forget();
    let cat = run(&mut lab.command(&["cat", &lab.dest(), "/small.txt"])).ok();
    assert_eq!(cat.stdout, lab.small);
    let log = lab.proxy.log();
    let down: u64 = log.iter().map(|e| e.down).sum();
    assert!(down < 4 << 20, "{down} bytes\n{log}");
}

#[test]
fn mirrors_first() {
    let Some(lab) = Lab::new("mirrors_first") else {
        return;
    };
    let mirror = sociable_tests::proxy::Proxy::start(lab.registry.address());
    let named = format!("{}={}", lab.proxy.address(), mirror.address());
    let pull = |name: &str| {
        let to = format!("oci:{}", s(&lab.dir.path().join(name)));
        let mut command = lab.command(&["pull", &lab.proxy.image("src/app:1"), &to]);
        command.args(["--mirror", &named, "--plain-http", mirror.address()]);
        run(command.args(["--retries", "1"])).ok()
    };
    let _ = pull("from-mirror");
    assert!(mirror.log().count("GET", &lab.layer(0)) > 0);
    assert_eq!(
        lab.proxy.log().count("GET", "/blobs/"),
        0,
        "{}",
        lab.proxy.log()
    );
    mirror.add(Rule::on("*", "/v2/").does(Fault::status(500)));
    let _ = pull("from-registry");
    assert!(lab.proxy.log().count("GET", &lab.layer(0)) > 0);
}

/// A layout whose `index.json` itself lists the platforms: a tag holds one document, so they get an index.
#[test]
fn several_images_without_an_index_get_one() {
    let Some(lab) = Lab::new("several_images_without_an_index_get_one") else {
        return;
    };
    let flat = sociable_tests::layout::Layout::create(lab.dir.path().join("flat"));
    let platforms = ["amd64", "arm64"];
    let images: Vec<Value> = platforms
        .iter()
        .zip(&lab.layers)
        .map(|(architecture, layer)| {
            let layer = flat.add(media::GZIP, layer);
            let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
            let config = flat.add(media::CONFIG, config.to_string().as_bytes());
            let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer]});
            let mut manifest = flat.add(media::MANIFEST, manifest.to_string().as_bytes());
            manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
            manifest
        })
        .collect();
    flat.set_index(&images);
    let address = lab.registry.address();
    for (n, command) in ["push", "create", "convert"].into_iter().enumerate() {
        let repository = format!("flat{n}");
        let dest = lab.proxy.image(&format!("{repository}:1"));
        let mut command = lab.command(&[command, &flat.arg(), &dest]);
        if n > 0 {
            command.args(["--all-platforms", "--no-cache", "--min-layer-size", "0"]);
        }
        let done = run(&mut command).ok();
        let complete = registry::complete(address, &repository, "1").expect("complete");
        let digest = complete.expect("a tag").digest;
        assert!(done.text().contains(&digest), "{digest}: {done}");
        let (bytes, _) = registry::manifest(address, &repository, "1").expect("an index");
        let index: Value = serde_json::from_slice(&bytes).expect("JSON");
        let manifests = index["manifests"].as_array().expect("an index");
        let listed: BTreeSet<_> = manifests
            .iter()
            .filter_map(|entry| entry["platform"]["architecture"].as_str())
            .collect();
        assert_eq!(listed, BTreeSet::from(platforms), "{index}");
    }
}

/// `latest` is nobody's tag: a digest has none that a suffix could go behind.
#[test]
fn a_digest_has_no_tag_for_a_suffix() {
    let Some(lab) = Lab::new("a_digest_has_no_tag_for_a_suffix") else {
        return;
    };
    let digest = lab.result("src/app", "1").expect("the image");
    let image = lab.proxy.image(&format!("src/app@{digest}"));
    let done = run(&mut lab.command(&["convert", &image, "--tag-suffix", "-soci"]));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("no tag"), "{done}");
    assert_eq!(registry::tags(lab.registry.address(), "src/app"), ["1"]);
}
