//! Policies: whatever they answer, the result can be read, or nothing is written and the message says whose fault it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sociable_tests::layout::Layout;
use sociable_tests::plugins::{component, interpreted, text};
use sociable_tests::rng::Rng;
use sociable_tests::{
    Run, reference, registry, run, run_for, scaled, seed, skip, sociable, target_dir, temp_dir,
    tree,
};

use crate::{none, s};

/// A tree with enough in it for every question to be asked.
fn grown(dir: &Path, seed: u64) -> PathBuf {
    let root = dir.join("tree");
    fs::create_dir(&root).expect("a directory");
    let shape = tree::Shape {
        entries: 150,
        largest: 1 << 19,
        plain: false,
    };
    let mut rng = Rng::new(seed);
    tree::grow(&root, shape, &mut rng);
    fs::write(root.join("large"), rng.noise(1 << 20)).expect("a file");
    root
}

/// Packs with these policies, which have little fuel.
fn pack(root: &Path, dest: &Path, policies: &[&str], more: &[&str]) -> (Run, Layout) {
    let dest = Layout::open(dest);
    let mut command = sociable(["pack", &s(root), &dest.arg(), "--no-cache"]);
    command.args(["--span-size", "65536"]);
    if !more.contains(&"--policy-fuel") {
        command.args(["--policy-fuel", "300"]);
    }
    for policy in policies {
        command.args(["--policy", policy]);
    }
    (run(command.args(more)), dest)
}

fn spec(component: &Path, parameters: &Value) -> String {
    format!("{}={parameters}", component.display())
}

fn verified(layout: &Layout) -> Option<String> {
    let verified = run(&mut sociable(["verify", &layout.arg()]));
    (verified.code != Some(0)).then(|| verified.to_string())
}

#[test]
fn a_policy_that_misbehaves_ends_the_run_and_nothing_is_written() {
    let Some(misbehaving) = component("sociable_misbehaving") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 1);
    let fuel = "it was stopped after 300 million instructions; raise --policy-fuel";
    let everywhere = [
        "plugin.configure",
        "span.start",
        "span.decide",
        "order.arrange",
        "compression.choose",
        "compression.file",
        "selection.select",
        "prefetch.choose",
    ];
    let mut cases: Vec<(&str, &str, &str)> = Vec::new();
    for place in everywhere {
        cases.push(("loop", place, fuel));
        cases.push(("panic", place, "it gave up"));
        cases.push(("recurse", place, "recursed too deeply"));
        cases.push(("refuse", place, "no"));
    }
    cases.extend([
        (
            "allocate",
            "span.decide",
            "more than 256 MiB of memory; raise --policy-memory",
        ),
        ("allocate", "plugin.configure", "--policy-memory"),
        ("refuse-at-length", "order.arrange", "nono"),
        ("huge", "order.arrange", "misbehaving"),
        ("beyond", "order.arrange", "there is no entry 4294967295"),
        ("repeat", "order.arrange", "came back twice"),
        ("omit", "order.arrange", "came back"),
        ("reverse", "order.arrange", "which it needs"),
        ("beyond", "compression.choose", "no gzip level 200"),
        ("beyond", "compression.file", "no gzip level 200"),
        ("beyond", "prefetch.choose", "is not there"),
    ]);
    let mut wrong = Vec::new();
    for (number, (deed, place, expected)) in cases.iter().enumerate() {
        let policy = spec(&misbehaving, &json!({"do": deed, "in": place}));
        let (done, image) = pack(&root, &dir.path().join(number.to_string()), &[&policy], &[]);
        let function = place.trim_start_matches("plugin.");
        let case = format!("{deed} in {place}");
        if done.code != Some(1) {
            // That the guest says where it panicked is no panic of ours.
            wrong.push(format!("{case}: should exit with 1 and a message: {done}"));
        } else if !done.stderr.contains(expected)
            || !done.stderr.contains("policy misbehaving 0.1.0: ")
            || !done.stderr.contains(function) && *place != "order.arrange"
            || done.stderr.chars().any(|c| c.is_control() && c != '\n')
            || done.stderr.len() > 5000
        {
            wrong.push(format!("{case}: the message: {done}"));
        } else if image.index_json().is_some() {
            wrong.push(format!("{case}: an image was written"));
        }
    }
    none(&wrong, cases.len());
}

#[test]
fn a_policy_that_is_asked_at_every_byte_comes_to_an_end() {
    let Some(misbehaving) = component("sociable_misbehaving") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 9);
    let policy = spec(&misbehaving, &json!({"do": "repeat", "in": "span.decide"}));
    let less = ["--policy-fuel", "20"];
    let (done, image) = pack(&root, &dir.path().join("image"), &[&policy], &less);
    let done = done.refused();
    let expected = "about one layer, after 200 million instructions in all, of which a call takes 10000 at least; raise --policy-fuel";
    assert!(
        done.stderr
            .contains("policy misbehaving 0.1.0: span.decide"),
        "{done}"
    );
    assert!(done.stderr.contains(expected), "{done}");
    assert!(image.index_json().is_none());
}

#[test]
fn with_a_fallback_the_run_goes_on_and_says_so() {
    let Some(misbehaving) = component("sociable_misbehaving") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 2);
    let (done, plain) = pack(&root, &dir.path().join("plain"), &[], &["--compact-ztoc"]);
    let _ = done.ok();
    for (number, (deed, place)) in [
        ("panic", "span.start"),
        ("loop", "span.decide"),
        ("reverse", "order.arrange"),
        ("refuse", "compression.file"),
        ("beyond", "prefetch.choose"),
        ("panic", "selection.select"),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = spec(&misbehaving, &json!({"do": deed, "in": place}));
        let interface = place.split('.').next().expect("an interface");
        let policy = format!("{interface}={policy}");
        let dest = dir.path().join(number.to_string());
        let more = ["--policy-fallback", "--compact-ztoc"];
        let (done, image) = pack(&root, &dest, &[&policy], &more);
        let done = done.ok();
        assert!(done.stderr.contains("going on without it"), "{done}");
        // The same layers, and the same zTOCs; only the record of the policy is another.
        let layers = |image: &Layout| -> Vec<(String, String)> {
            let indexed = image.indexed().into_iter();
            indexed
                .map(|indexed| (indexed.layer, indexed.ztoc))
                .collect()
        };
        let shown = run(&mut sociable(["inspect", &image.arg()])).ok();
        let or = "or the default where that failed";
        assert!(shown.text().contains(or), "{shown}");
        if place == "span.decide" {
            // It answered once before: when to ask.
            assert_eq!(verified(&image), None);
        } else {
            assert_eq!(layers(&image), layers(&plain), "{deed} in {place}");
        }
    }
}

#[test]
fn a_policy_that_logs_too_much_is_cut_short() {
    let Some(misbehaving) = component("sociable_misbehaving") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 3);
    for deed in ["flood", "log-at-length"] {
        let policy = spec(&misbehaving, &json!({"do": deed, "in": "selection.select"}));
        let (done, _) = pack(
            &root,
            &dir.path().join(deed),
            &[&policy],
            &["--policy-fuel", "20000"],
        );
        let done = done.ok();
        assert!(done.stderr.len() < 20_000, "{} bytes", done.stderr.len());
        assert!(!done.stderr.contains('\x1b'), "{done}");
        assert!(done.stderr.contains("misbehaving 0.1.0: "), "{done}");
        assert!(
            deed != "flood" || done.stderr.contains("logs too much"),
            "{done}"
        );
    }
}

#[test]
fn whatever_is_answered_the_image_can_be_read() {
    let Some(misbehaving) = component("sociable_misbehaving") else {
        return;
    };
    let mut reference = reference::start("policies::whatever_is_answered");
    let mut rng = Rng::new(seed("policies::whatever_is_answered", 8));
    let (mut wrong, count) = (Vec::new(), scaled(12));
    for round in 0..count {
        let dir = temp_dir();
        let root = grown(dir.path(), rng.below(1 << 40) as u64);
        let policy = spec(
            &misbehaving,
            &json!({"do": "at-random", "seed": rng.below(1 << 40)}),
        );
        let policies: Vec<String> = ["span", "order", "compression", "prefetch"]
            .map(|interface| format!("{interface}={policy}"))
            .into();
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let (done, image) = pack(
            &root,
            &dir.path().join("image"),
            &policies,
            &["--jobs", "1"],
        );
        let _ = done.ok();
        let (done, same) = pack(&root, &dir.path().join("same"), &policies, &["--jobs", "7"]);
        let _ = done.ok();
        if image.index_json() != same.index_json() {
            wrong.push(format!(
                "round {round}: 1 and 7 threads give different images"
            ));
        }
        // And the same layer indexed as it is.
        let converted = Layout::open(dir.path().join("converted"));
        let mut convert = sociable(["convert", &image.arg(), &converted.arg(), "--no-cache"]);
        convert.args(["--min-layer-size", "0", "--policy", policies[0]]);
        let _ = run(&mut convert).ok();
        for layout in [&image, &converted] {
            wrong.extend(verified(layout).map(|why| format!("round {round}: {why}")));
            let Some(reference) = &mut reference else {
                continue;
            };
            let indexed = layout.indexed();
            let (layer, ztoc) = (&indexed[0].layer, &indexed[0].ztoc);
            let known = tree::files(&root);
            match reference.read(&layout.blob_path(layer), &layout.blob_path(ztoc)) {
                Ok(read) => {
                    let read: BTreeSet<_> =
                        read.into_iter().map(|f| (f.path(), f.sha256)).collect();
                    let missing = (known.iter()).filter(|(path, file)| {
                        !read.contains(&((*path).clone(), file.sha256.clone()))
                    });
                    let missing = missing.count();
                    // Of hard links one name has the content.
                    let links = known.len()
                        - known
                            .values()
                            .map(|k| k.inode)
                            .collect::<BTreeSet<_>>()
                            .len();
                    if missing > links {
                        wrong.push(format!(
                            "round {round}: {missing} files cannot be read by the reference"
                        ));
                    }
                }
                // Its C reader wants a byte behind a span that shares one with the next: see docs/design.md.
                Err(why) if why.contains("return code: -3") => {}
                Err(why) => wrong.push(format!("round {round}: the reference: {why}")),
            }
        }
    }
    none(&wrong, count);
}

#[test]
fn what_is_no_policy_is_refused() {
    let dir = temp_dir();
    let root = grown(dir.path(), 4);
    let mut wrong = Vec::new();
    let files: [(&str, Vec<u8>, &str); 6] = [
        (
            "wants-a-clock",
            text("wants-a-clock"),
            "but a policy gets nothing but sociable:policy/log",
        ),
        (
            "no-policy",
            text("no-policy"),
            "no policy: it exports no sociable:policy/plugin@0.1.0",
        ),
        (
            "decides-nothing",
            text("decides-nothing"),
            "sociable:policy/span@0.1.0",
        ),
        ("describe-loops", text("describe-loops"), "--policy-fuel"),
        ("core-module", b"\0asm\x01\0\0\0".to_vec(), "core module"),
        (
            "no-wasm",
            b"#!/bin/sh\n".to_vec(),
            "no WebAssembly component",
        ),
    ];
    let count = files.len();
    for (name, bytes, expected) in files {
        let file = dir.path().join(format!("{name}.wasm"));
        fs::write(&file, bytes).expect("a file");
        let (done, image) = pack(&root, &dir.path().join(name), &[&s(&file)], &[]);
        if let Some(why) = done.not_a_refusal() {
            wrong.push(format!("{name}: {why}"));
        } else if !done.stderr.contains(expected) || image.index_json().is_some() {
            wrong.push(format!("{name}: {done}"));
        }
    }
    none(&wrong, count);
    let usage = |policies: &[&str], expected: &str| {
        let (done, _) = pack(&root, &dir.path().join("usage"), policies, &[]);
        assert!(
            done.code == Some(2) && done.stderr.contains(expected),
            "{done}"
        );
    };
    usage(&["sizes"], "file-aligned");
    usage(&["adaptive=small"], "NAME=VALUE");
    usage(&["adaptive=small=0"], "1 to");
    usage(&["adaptive", "file-aligned"], "choose with --policy span=");
    usage(&["order=adaptive"], "decides nothing about order");
    usage(&["profile"], "trace");
}

#[test]
fn parameters_are_checked_against_the_schema() {
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 5);
    let policy = spec(&aligned, &json!({"nonsense": 1}));
    let (done, _) = pack(&root, &dir.path().join("image"), &[&policy], &[]);
    let done = done.refused();
    assert!(
        done.stderr.contains("nonsense") && done.stderr.contains("policy info"),
        "{done}"
    );
    let info = run(&mut sociable(["policy", "info", &s(&aligned)])).ok();
    assert!(info.text().contains("Decides: span"), "{info}");
    let check = run(&mut sociable(["policy", "check", &s(&aligned)])).ok();
    assert!(check.text().contains("deterministic"), "{check}");
}

#[test]
fn a_component_and_what_is_built_in_cut_alike() {
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 6);
    let (done, image) = pack(&root, &dir.path().join("component"), &[&s(&aligned)], &[]);
    let _ = done.ok();
    let built_in = "file-aligned=span-size=65536";
    let (done, same) = pack(&root, &dir.path().join("built-in"), &[built_in], &[]);
    let _ = done.ok();
    assert_eq!(image.indexed()[0].layer, same.indexed()[0].layer);
    assert_eq!(image.indexed()[0].ztoc, same.indexed()[0].ztoc);
}

#[test]
fn pushed_pulled_locked_and_recorded() {
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 7);
    let layout = format!("oci:{}:1", dir.path().join("policies").display());
    let _ = run(&mut sociable(["policy", "push", &s(&aligned), &layout])).ok();
    let pulled = dir.path().join("pulled.wasm");
    let _ = run(&mut sociable(["policy", "pull", &layout, &s(&pulled)])).ok();
    assert!(fs::read(&pulled).expect("pulled") == fs::read(&aligned).expect("the component"));

    let lock = dir.path().join("policies.lock");
    let _ = run(&mut sociable(["policy", "lock", &s(&lock), &layout])).ok();
    let locked = ["--policy-lock", &s(&lock)];
    let (done, image) = pack(&root, &dir.path().join("image"), &[&layout], &locked);
    let _ = done.ok();
    // A project's limits hold, stay when it is locked again, and are raised by whoever runs it.
    let lower = ["--limits", "output=1,memory=64MiB"];
    let _ = run(sociable(["policy", "lock", &s(&lock), &layout]).args(lower)).ok();
    let _ = run(&mut sociable(["policy", "lock", &s(&lock), &layout])).ok();
    let (done, _) = pack(&root, &dir.path().join("lower"), &[&layout], &locked);
    assert_eq!(done.code, Some(1), "{done}");
    assert!(done.stderr.contains("raise --policy-output"), "{done}");
    let raised = [&locked[..], &["--policy-output", "1MiB"]].concat();
    let (done, _) = pack(&root, &dir.path().join("raised"), &[&layout], &raised);
    assert_eq!(done.code, Some(0), "{done}");
    let higher = ["--limits", "memory=1GiB"];
    let refused = run(sociable(["policy", "lock", &s(&lock), &layout]).args(higher));
    assert_eq!(refused.code, Some(2), "{refused}");
    let _ =
        run(sociable(["policy", "lock", &s(&lock), &layout]).args(["--limits", "fuel=300"])).ok();
    // The file has the digest that was locked, whatever it is called; another component has not.
    let (done, _) = pack(&root, &dir.path().join("pulled"), &[&s(&pulled)], &locked);
    let _ = done.ok();
    if let Some(other) = component("sociable_startup_order") {
        let (done, _) = pack(&root, &dir.path().join("other"), &[&s(&other)], &locked);
        let done = done.refused();
        assert!(done.stderr.contains("policy lock"), "{done}");
    }
    let digest = sociable_tests::sha256(&fs::read(&aligned).expect("the component"));
    let blobs = fs::read_dir(image.dir.join("blobs/sha256")).expect("blobs");
    let records: Vec<String> = blobs
        .filter_map(|blob| {
            let bytes = fs::read(blob.expect("a blob").path()).expect("a blob");
            let manifest: Value = serde_json::from_slice(&bytes).ok()?;
            let record = &manifest["annotations"]["dev.sociable.policies"];
            record.as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert!(
        record.contains(&digest) && record.contains("\"interface\":\"span\""),
        "{record}"
    );
}

#[test]
fn a_compact_ztoc_of_a_single_layer() {
    let dir = temp_dir();
    let root = grown(dir.path(), 9);
    let (done, image) = pack(&root, &dir.path().join("image"), &[], &[]);
    let _ = done.ok();
    let layer = s(&image.blob_path(&image.indexed()[0].layer));
    let build = |name: &str, options: &[&str]| {
        let file = dir.path().join(name);
        let mut build = sociable(["ztoc", "build", &layer, "--output", &s(&file)]);
        let _ = run(build.args(options)).ok();
        let _ = run(&mut sociable(["ztoc", "verify", &s(&file), &layer])).ok();
        fs::metadata(&file).expect("a zTOC").len()
    };
    let plain = build("plain", &[]);
    assert!(build("compact", &["--compact-ztoc"]) < plain);
    // The same spans by a policy, and so compact; unless that is not wanted.
    assert!(build("policy", &["--policy", "size"]) < plain);
    let exact = ["--policy", "size", "--compact-ztoc=false"];
    assert_eq!(build("exact", &exact), plain);
}

#[test]
fn a_new_policy_is_a_whole_project() {
    let dir = temp_dir();
    for (language, files) in [
        (
            "rust",
            &["Cargo.toml", ".cargo/config.toml", "src/lib.rs"][..],
        ),
        ("js", &["package.json", "wit/deps/sociable-policy/span.wit"]),
        (
            "python",
            &["src/app.py", "wit/deps/sociable-policy/types.wit"],
        ),
    ] {
        let name = format!("my-{language}");
        let new = || {
            let mut new = sociable(["policy", "new", &name, "--lang", language]);
            run(new.current_dir(dir.path()))
        };
        let _ = new().ok();
        let root = dir.path().join(&name);
        for file in files {
            let text = fs::read_to_string(root.join(file)).expect(file);
            assert!(!text.contains("{{"), "{language}: {file}: {text}");
        }
        // Its own tests pass at once, as it is; those in Rust are run by the guide's test.
        let test: &[&str] = match language {
            "js" => &["node", "--test"],
            "python" => &["python3", "-m", "unittest"],
            _ => &["true"],
        };
        if Command::new(test[0]).arg("--version").output().is_ok() {
            let mut tests = Command::new(test[0]);
            let _ = run(tests.args(&test[1..]).current_dir(&root)).ok();
        } else {
            skip(&format!(
                "the test of a new policy in {language}: no {}",
                test[0]
            ));
        }
        // What is there stays.
        let again = new();
        assert!(
            again.code == Some(2) && again.stderr.contains("there already"),
            "{again}"
        );
    }
    let mut odd = sociable(["policy", "new", "My Policy"]);
    assert_eq!(run(odd.current_dir(dir.path())).code, Some(2));
}

#[test]
fn a_policy_chooses_the_format_of_a_layer() {
    let Some(odd) = component("sociable_misbehaving") else {
        return;
    };
    let dir = temp_dir();
    let root = grown(dir.path(), 10);
    let policy = |deed: &str| format!("compression={}", spec(&odd, &json!({"do": deed})));
    let (done, plain) = pack(&root, &dir.path().join("plain"), &[&policy("plain")], &[]);
    let done = done.ok();
    assert!(
        done.stderr.contains("nothing in it is compressed"),
        "{done}"
    );
    assert_eq!(verified(&plain), None);
    let (layer, ztoc) = (&plain.indexed()[0].layer, &plain.indexed()[0].ztoc);
    let blob = fs::read(plain.blob_path(layer)).expect("the layer");
    assert_eq!(&blob[257..262], b"ustar");
    if let Some(mut reference) = reference::start("policies::a_policy_chooses_the_format") {
        let read = reference.read(&plain.blob_path(layer), &plain.blob_path(ztoc));
        assert!(!read.expect("read by the reference").is_empty());
    }
    // With zstd there is nothing to be indexed, and `pack` says so rather than make an image without an index.
    let (done, zstd) = pack(&root, &dir.path().join("zstd"), &[&policy("zstd")], &[]);
    assert_ne!(done.code, Some(0), "{done}");
    assert!(
        done.stderr.contains("it gets no index") && done.stderr.contains("zstd"),
        "{done}"
    );
    assert!(!zstd.dir.join("index.json").exists(), "{done}");
}

/// `wkg` is a thin program over the crate `oci-wasm`: what that pushes we pull, and the other way round.
#[test]
fn wkg_and_we_read_each_others_components() {
    use oci_client::client::{ClientConfig, ClientProtocol};
    use oci_client::secrets::RegistryAuth;
    use oci_wasm::{WasmClient, WasmConfig};

    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let Some(registry) = registry::start(registry::Kind::Distribution, "policies::wkg") else {
        return;
    };
    let host = registry.address().to_owned();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bytes = fs::read(&aligned).expect("the component");
    let client = WasmClient::new(oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    }));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    let theirs = format!("{host}/theirs:1").parse().expect("a reference");
    let ours = format!("{host}/ours:1").parse().expect("a reference");
    let (config, layer) = WasmConfig::from_raw_component(bytes.clone(), None).expect("a component");
    let found = config.component.as_ref().expect("interfaces");
    let (exports, imports) = (found.exports.clone(), found.imports.clone());
    let pushed = client.push(&theirs, &RegistryAuth::Anonymous, layer, config, None);
    let _ = runtime.block_on(pushed).expect("pushed as wkg does");

    let plain = ["--plain-http", &host];
    let dir = temp_dir();
    let pulled = s(&dir.path().join("pulled.wasm"));
    let mut pull = sociable(["policy", "pull", &format!("oci://{theirs}"), &pulled]);
    let _ = run(pull.args(plain)).ok();
    assert!(fs::read(&pulled).expect("pulled") == bytes);

    // It was kept by its digest, and is not believed to be what it was.
    let kept = target_dir().join("test-cache/sociable/components");
    let kept = kept.join(sociable_tests::sha256(&bytes).trim_start_matches("sha256:"));
    fs::write(&kept, "something else").expect("a component that was kept");
    let mut pull = sociable(["policy", "pull", &format!("oci://{theirs}"), &pulled]);
    let _ = run(pull.args(plain)).ok();
    assert!(fs::read(&pulled).expect("pulled") == bytes);
    assert!(fs::read(&kept).expect("kept") == bytes);

    let mut push = sociable(["policy", "push", &s(&aligned), &format!("oci://{ours}")]);
    let _ = run(push.args(plain)).ok();
    let auth = RegistryAuth::Anonymous;
    let image = runtime
        .block_on(client.pull(&ours, &auth))
        .expect("pulled as wkg does");
    assert!(image.layers[0].data == bytes);
    let read = client.pull_manifest_and_config(&ours, &auth);
    let (manifest, said, _) = runtime.block_on(read).expect("a config as wkg's");
    let annotations = manifest.annotations.expect("annotations");
    assert_eq!(
        annotations["org.opencontainers.image.title"],
        "file-aligned"
    );
    // What it imports and exports is what wkg would have found.
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let said = said.component.expect("interfaces");
    assert_eq!(sorted(said.exports), sorted(exports));
    assert_eq!(sorted(said.imports), sorted(imports));

    if Command::new("wkg").arg("--version").output().is_err() {
        skip("wkg itself is not installed (cargo install wkg): its library stands for it");
        return;
    }
    let wkg = |arguments: &[&str]| {
        let mut wkg = Command::new("wkg");
        wkg.arg("oci").args(arguments).args(["--insecure", &host]);
        let _ = run(&mut wkg).ok();
    };
    let by_wkg = format!("{host}/wkg:1");
    wkg(&["push", &by_wkg, &s(&aligned)]);
    fs::write(&pulled, "another").expect("a file");
    let mut pull = sociable(["policy", "pull", &format!("oci://{by_wkg}"), &pulled]);
    let _ = run(pull.args(plain)).ok();
    assert!(fs::read(&pulled).expect("pulled") == bytes);
    fs::write(&pulled, "another").expect("a file");
    wkg(&["pull", &ours.to_string(), "--output", &pulled]);
    assert!(fs::read(&pulled).expect("pulled") == bytes);
}

#[test]
fn a_policy_in_javascript_decides_about_files() {
    let Some(component) = interpreted("file-type-compression") else {
        return;
    };
    let _ = run_for(&mut sociable(["policy", "check", &s(&component)]), COMPILED).ok();
    let dir = temp_dir();
    let root = dir.path().join("tree");
    fs::create_dir(&root).expect("a directory");
    let text = Rng::new(13).text(300_000);
    fs::write(root.join("picture.jpg"), &text).expect("a file");
    let packed = |name: &str, policies: &[&str]| {
        let more = ["--policy-fuel", "20000"];
        let (done, image) = pack(&root, &dir.path().join(name), policies, &more);
        let _ = done.ok();
        assert_eq!(verified(&image), None);
        let layer = image.blob_path(&image.indexed()[0].layer);
        fs::metadata(layer).expect("the layer").len()
    };
    // By its name it is compressed already, and so it is stored.
    assert!(packed("stored", &[&s(&component)]) > 300_000);
    let as_text = spec(&component, &json!({"extensions": {"jpg": 6}}));
    assert!(packed("text", &[&as_text]) < 200_000);
}

#[test]
fn a_policy_in_python_decides_about_spans() {
    let Some(component) = interpreted("ml-weights") else {
        return;
    };
    let _ = run_for(&mut sociable(["policy", "check", &s(&component)]), COMPILED).ok();
    let dir = temp_dir();
    let root = dir.path().join("tree");
    fs::create_dir(&root).expect("a directory");
    let mut rng = Rng::new(14);
    fs::write(root.join("a.py"), rng.text(100_000)).expect("a file");
    fs::write(root.join("model.safetensors"), rng.noise(3 << 20)).expect("a file");
    let sizes = json!({"weights": 1 << 20, "other": 65536, "least": 1 << 20});
    let policy = spec(&component, &sizes);
    let more = ["--policy-fuel", "20000"];
    let (done, image) = pack(&root, &dir.path().join("image"), &[&policy], &more);
    let _ = done.ok();
    assert_eq!(verified(&image), None);
    let ztoc = image.blob_path(&image.indexed()[0].ztoc);
    let info = run(&mut sociable(["ztoc", "info", &s(&ztoc), "--json"])).ok();
    let info: Value = serde_json::from_str(&info.text()).expect("JSON");
    // Two of the text, three of the weights, one of the end.
    let spans = info["spans"]["count"].as_u64().expect("a number");
    assert!((5..=7).contains(&spans), "{info}");
}

/// Within this time a component with an interpreter in it is compiled, on two busy cores.
const COMPILED: Duration = Duration::from_secs(400);
