//! Policies decide in a build, too: those that are built in, and components.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use sociable_tests::frontend::{Builder, image};
use sociable_tests::layout::Layout;
use sociable_tests::plugins::component;
use sociable_tests::rng::Rng;
use sociable_tests::stack::Stack;
use sociable_tests::{Run, run, sociable, stack};

use super::project::Project;

/// What a build made.
struct Made {
    /// What the SOCI index records.
    record: Option<String>,
    /// How many spans the layer has.
    spans: u64,
    media_types: Vec<String>,
}

struct Place {
    project: Project,
}

impl Place {
    fn new(stack: &'static Stack, name: &str) -> Self {
        let (large, small) = (Rng::new(11).noise(3 << 20), Rng::new(12).text(400_000));
        let files: &[(&str, &[u8])] = &[
            ("large", &large),
            ("small", &small),
            ("Dockerfile", b"FROM scratch\nCOPY large small /\n"),
        ];
        let project = Project::new(stack, name, files);
        fs::create_dir(project.dir.join("policies")).expect("a directory");
        Self { project }
    }

    fn policy(&self, file: &str, content: &[u8]) {
        let dir = self.project.dir.join("policies");
        fs::write(dir.join(file), content).expect("a file");
    }

    /// `docker buildx build` with the directory `policies` as the context.
    fn try_build(&self, builder: Builder, options: &[&str], context: bool) -> Run {
        let output = format!("type=tar,dest={}", self.archive());
        let options = [&["OUTPUT=layout"], options].concat();
        let mut build = self.project.sociable(builder, &options);
        if context {
            build.args(["--build-context", "policy=policies"]);
        }
        run(build.args(["--output", &output, "."]))
    }

    fn archive(&self) -> String {
        let file = self.project.dir.join("made.tar");
        file.to_str().expect("UTF-8").to_owned()
    }

    /// Whether the step that packs was not done again.
    fn packed_from_cache(&self, policy: &str) -> bool {
        let log = self.try_build(Builder::Buildkitd, &[policy], true).ok();
        let step = |line: &&str| line.contains("pack and index");
        let step = log.stderr.lines().find(step).expect("a step that packs");
        let number = step.split(' ').next().expect("its number");
        let cached = format!("{number} CACHED");
        log.stderr.lines().any(|line| line == cached)
    }

    fn build(&self, builder: Builder, options: &[&str]) -> Made {
        let _ = self.try_build(builder, options, true).ok();
        self.project
            .verify(&format!("oci-archive:{}", self.archive()), 1);
        made(&self.archive())
    }
}

fn made(archive: &str) -> Made {
    let dir = sociable_tests::temp_dir();
    let mut unpack = Command::new("tar");
    let _ = run(unpack.args(["-xf", archive, "-C"]).arg(dir.path())).ok();
    let layout = Layout::open(dir.path());
    let documents = documents(dir.path());
    let records = documents.iter().filter_map(|document| {
        let record = &document["annotations"]["dev.sociable.policies"];
        record.as_str().map(str::to_owned)
    });
    let layers = documents
        .iter()
        .filter(|document| document["config"]["mediaType"] == IMAGE_CONFIG)
        .flat_map(|document| document["layers"].as_array().expect("layers"));
    let media_types = layers.map(|layer| layer["mediaType"].as_str().expect("a type").to_owned());
    let spans = layout.indexed().first().map_or(0, |indexed| {
        let file = dir.path().join("ztoc");
        let ztoc = layout.blob(&indexed.ztoc).expect("a zTOC");
        fs::write(&file, ztoc).expect("a file");
        let file = file.to_str().expect("UTF-8");
        let info = run(&mut sociable(["ztoc", "info", file, "--json"])).ok();
        let info: Value = serde_json::from_str(&info.text()).expect("JSON");
        info["spans"]["count"].as_u64().expect("a number of spans")
    });
    Made {
        record: { records }.next(),
        spans,
        media_types: media_types.collect(),
    }
}

const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn documents(layout: &Path) -> Vec<Value> {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs");
    blobs
        .filter_map(|blob| serde_json::from_slice(&fs::read(blob.ok()?.path()).ok()?).ok())
        .collect()
}

#[test]
fn a_policy_that_is_built_in_decides() {
    let Some(stack) = stack::start() else {
        return;
    };
    let place = Place::new(stack, "policies");
    let usual = place.build(Builder::Buildkitd, &[]);
    assert_eq!(usual.record, None);
    let small = "POLICY=adaptive={\"small\":65536,\"large\":65536}";
    let more = place.build(Builder::Docker, &[small]);
    let record = more.record.expect("a record");
    assert!(record.contains("\"policy\":\"adaptive\""), "{record}");
    assert!(
        more.spans >= 40 && more.spans > 2 * usual.spans,
        "{} spans, {} without",
        more.spans,
        usual.spans
    );
    // The same, named apart.
    let apart = ["POLICY=adaptive", "POLICY_PARAMS=small=65536,large=65536"];
    assert_eq!(place.build(Builder::Buildkitd, &apart).spans, more.spans);
}

#[test]
fn components_and_traces_come_from_a_build_context() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let place = Place::new(stack, "policies-context");
    let aligned = fs::read(aligned).expect("a component");
    place.policy("aligned.wasm", &aligned);
    for builder in [Builder::Buildkitd, Builder::Docker] {
        let built_in = place.build(builder, &["POLICY=file-aligned=span-size=65536"]);
        let made = place.build(builder, &["POLICY=./aligned.wasm=span-size=65536"]);
        assert_eq!(made.spans, built_in.spans);
        let record = made.record.expect("a record");
        assert!(
            record.contains(&sociable_tests::sha256(&aligned)) && record.contains("65536"),
            "{record}"
        );
    }
    let trace = br#"{"format": "sociable trace 1", "files": [{"path": "/small", "size": 400000, "ranges": [[0, 400000]]}]}"#;
    place.policy("start.json", trace);
    let profile = place.build(Builder::Buildkitd, &["POLICY=profile=trace=@start.json"]);
    let record = profile.record.expect("a record");
    assert!(record.contains("\"interface\":\"order\""), "{record}");
    // A step that is cached is not done again, and with other parameters it is another step.
    let again = "POLICY=./aligned.wasm=span-size=65536";
    assert!(place.packed_from_cache(again));
    assert!(!place.packed_from_cache("POLICY=./aligned.wasm=span-size=65539"));
    // A stage may have the context's name: it is the Dockerfile's own.
    let dockerfile =
        "FROM scratch AS policy\nCOPY large /\nFROM scratch\nCOPY --from=policy large /\n";
    fs::write(place.project.dir.join("Dockerfile"), dockerfile).expect("a file");
    assert!(place.build(Builder::Buildkitd, &[again]).record.is_some());
}

#[test]
fn sociable_build_brings_the_files_of_policies_along() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let place = Place::new(stack, "policies-sociable-build");
    place.policy("aligned.wasm", &fs::read(aligned).expect("a component"));
    let build = |policy: &str, more: &[&str]| {
        let program = sociable([""; 0]).get_program().to_owned();
        let program = fs::canonicalize(program).expect("the binary's place");
        let mut build = stack.command(["env", "DOCKER_HOST=unix:///run/docker.sock"]);
        build.arg(program).args(["build", "--builder", "rem"]);
        build.args(["--frontend", image(stack), "--soci-policy", policy]);
        build.args(["--soci-min-layer-size", "1MiB"]).args(more);
        let output = format!("type=oci,dest={}", place.archive());
        build.args(["-o", &output, "."]);
        run(build.current_dir(&place.project.dir))
    };
    let _ = build("./policies/aligned.wasm=span-size=65536", &[]).ok();
    let made = made(&place.archive());
    assert!(made.spans > 30 && made.record.is_some(), "{}", made.spans);
    // A lock file holds here, too.
    let lock = place.project.dir.join("policies.lock");
    fs::write(&lock, "").expect("a lock file");
    let lock = ["--policy-lock", lock.to_str().expect("UTF-8")];
    let refused = build("./policies/aligned.wasm", &lock);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.stderr.contains("sociable policy lock"), "{refused}");
}

#[test]
fn a_component_comes_from_a_registry() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let place = Place::new(stack, "policies-registry");
    let reference = format!("oci://{}/policies/aligned:1", stack.registry());
    let plain = stack.registry();
    let file = aligned.to_str().expect("UTF-8");
    let push = ["policy", "push", file, &reference, "--plain-http", &plain];
    let pushed = run(&mut sociable(push)).ok();
    let digest = pushed.text();
    let digest = digest.split_whitespace().last().expect("a digest");
    for reference in [reference.clone(), format!("{reference}@{digest}")] {
        let policy = format!("POLICY={reference}=span-size=65536");
        let made = place.build(Builder::Buildkitd, &[&policy]);
        assert!(made.spans > 30, "{}", made.spans);
        assert!(made.record.is_some());
    }
    // A tag that was moved, and moved back.
    if let Some(other) = component("sociable_misbehaving") {
        let policy = format!("POLICY=span={reference}");
        for file in [&other, &aligned] {
            let file = file.to_str().expect("UTF-8");
            let push = ["policy", "push", file, &reference, "--plain-http", &plain];
            let _ = run(&mut sociable(push)).ok();
            let record = place.build(Builder::Buildkitd, &[&policy]).record;
            let digest = sociable_tests::sha256(&fs::read(file).expect("a component"));
            assert!(record.expect("a record").contains(&digest));
        }
    }
    let nobody = format!("POLICY=oci://{}/policies/nobody:1", stack.registry());
    let refused = place.try_build(Builder::Buildkitd, &[&nobody], false);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("policies/nobody"), "{refused}");
    assert!(refused.stderr.contains("sociable policy push"), "{refused}");
    assert!(!refused.stderr.contains("SOCI_BASE"), "{refused}");
}

#[test]
fn a_policy_chooses_the_format_of_a_layer() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(odd) = component("sociable_misbehaving") else {
        return;
    };
    let place = Place::new(stack, "policies-format");
    place.policy("odd.wasm", &fs::read(odd).expect("a component"));
    let none = ["POLICY=compression=./odd.wasm={\"do\":\"plain\"}"];
    let made = place.build(Builder::Buildkitd, &none);
    assert_eq!(made.media_types, ["application/vnd.oci.image.layer.v1.tar"]);
    let zstd = ["POLICY=compression=./odd.wasm={\"do\":\"zstd\"}"];
    let run = place.try_build(Builder::Buildkitd, &zstd, true).ok();
    assert!(run.stderr.contains("it gets no index"), "{run}");
    let made = self::made(&place.archive());
    assert_eq!(
        made.media_types,
        ["application/vnd.oci.image.layer.v1.tar+zstd"]
    );
    // And by BuildKit's own exporter.
    for (deed, kind) in [("plain", "tar"), ("zstd", "tar+zstd")] {
        let project = &place.project;
        let repo = format!("REPO={}", project.repository);
        let policy = format!("POLICY=compression=./odd.wasm={{\"do\":\"{deed}\"}}");
        let options = ["OUTPUT=image", &repo, &policy];
        let mut build = project.sociable(Builder::Buildkitd, &options);
        build.args(["--build-context", "policy=policies", "--push"]);
        let _ = self::run(build.args(["--tag", &project.image(deed), "."])).ok();
        let manifest = project.manifest(deed);
        let media_type = format!("application/vnd.oci.image.layer.v1.{kind}");
        assert_eq!(manifest["layers"][0]["mediaType"], media_type, "{manifest}");
        let files = stack.run(&format!("crane export {} -", project.image(deed)));
        assert!(files.ok().stdout.len() > 3 << 20);
    }
}

#[test]
fn what_cannot_decide_is_said_before_anything_is_packed() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(odd) = component("sociable_misbehaving") else {
        return;
    };
    let place = Place::new(stack, "policies-refused");
    place.policy("odd.wasm", &fs::read(odd).expect("a component"));
    place.policy("none.wasm", b"no component");
    let refused = |options: &[&str], context: bool, says: &[&str]| {
        let run = place.try_build(Builder::Buildkitd, options, context);
        assert_ne!(run.code, Some(0), "{run}");
        for text in says {
            assert!(run.stderr.contains(text), "{text}: {run}");
        }
        // Docker makes the file before it begins.
        let written = fs::metadata(place.archive()).map_or(0, |file| file.len());
        assert_eq!(written, 0, "{run}");
    };
    refused(
        &["POLICY=./odd.wasm"],
        false,
        &["--build-context policy=DIRECTORY"],
    );
    refused(
        &["POLICY=./nowhere.wasm"],
        true,
        &["the policy ./nowhere.wasm"],
    );
    refused(&["POLICY=./none.wasm"], true, &["none.wasm"]);
    refused(&["POLICY=nobody"], true, &["nobody", "build context"]);
    refused(&["POLICY=./odd.wasm={\"do\":\"dance\"}"], true, &["dance"]);
    let loops = "POLICY=span=./odd.wasm={\"do\":\"loop\"}";
    let limits = "POLICY_LIMITS=fuel=50";
    refused(
        &[loops, limits],
        true,
        &["50 million instructions", "fuel in SOCI_POLICY_LIMITS"],
    );
    // With a fallback the build goes on, and says so.
    let fallback = ["POLICY_FALLBACK=true", loops, limits];
    let run = place.try_build(Builder::Buildkitd, &fallback, true).ok();
    assert!(run.stderr.contains("going on without it"), "{run}");
    place
        .project
        .verify(&format!("oci-archive:{}", place.archive()), 1);
}

#[test]
fn provenance_names_who_decided() {
    let Some(stack) = stack::start() else {
        return;
    };
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let place = Place::new(stack, "policies-provenance");
    let aligned = fs::read(aligned).expect("a component");
    place.policy("aligned.wasm", &aligned);
    let project = &place.project;
    let repo = format!("REPO={}", project.repository);
    let policy = "POLICY=./aligned.wasm=span-size=65537";
    let mut build = project.sociable(Builder::Buildkitd, &["OUTPUT=image", &repo, policy]);
    let image = project.image("1");
    build.args(["--build-context", "policy=policies"]);
    let _ = run(build.args(["--provenance=mode=max", "--tag", &image, "--push", "."])).ok();
    let mut inspect = stack.command(["docker", "buildx", "imagetools", "inspect"]);
    inspect.args(["--format", "{{json .Provenance}}", &image]);
    let provenance = run(&mut inspect).ok().text();
    assert!(
        provenance.contains("span-size=65537"),
        "among the arguments: {provenance}"
    );
    // And in the steps, as a file's content.
    let provenance: Value = serde_json::from_str(&provenance).expect("JSON");
    let digest = sociable_tests::sha256(&aligned);
    let named = strings(&provenance).into_iter().any(|text| {
        let content = BASE64_STANDARD.decode(text).unwrap_or_default();
        String::from_utf8_lossy(&content).contains(&digest)
    });
    assert!(named, "{provenance}");
}

/// All texts in a document.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().flat_map(strings).collect(),
        Value::Object(all) => all.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
