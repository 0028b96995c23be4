//! `deploy/aws`: the commands of its builds, on a machine that has what CodeBuild's have.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use sociable_tests::ecr::{self, Ecr};
use sociable_tests::frontend::{Builder, buildx};
use sociable_tests::lazily::{layers_on_fuse, sent};
use sociable_tests::pipeline::{self, BUILDER, Machine};
use sociable_tests::proxy::{Gate, Proxy};
use sociable_tests::stack::{self, Docker, Stack};
use sociable_tests::{Run, run, run_for, sociable};

use super::steps::{self, codebuild};
use super::{deploy, text};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A project's inline file in a template.
fn inline(template: &str, project: &str) -> String {
    let template = steps::yaml(template);
    let source = &template["Resources"][project]["Properties"]["Source"];
    source["BuildSpec"]
        .as_str()
        .expect("an inline file")
        .to_owned()
}

/// Runs the commands of a CodeBuild file on a machine, in the shell that it asks for.
fn build(machine: &Machine, file: &str, variables: &[(&str, &str)]) -> Run {
    let file = steps::parse(&text(file), file);
    assert_eq!(file["env"]["shell"], "bash");
    // CodeBuild runs as root in a container of its own: /usr/local/bin is nobody else's.
    machine.run(&["bash", "-ec"], &codebuild(&file), variables)
}

/// A registry under a name of Amazon's, its API, and the image of `sociable` between the two, as CodeBuild runs it: with a role's
/// credentials, and no others.
struct Amazon {
    host: &'static str,
    api: Ecr,
    _proxy: Proxy,
}

impl Amazon {
    /// One at a time: names have no ports, and the credential helper knows such names alone.
    fn new(stack: &'static Stack, number: u8) -> Self {
        let host = match number {
            1 => "111111111111.dkr.ecr.us-east-1.amazonaws.com",
            _ => "222222222222.dkr.ecr.us-east-1.amazonaws.com",
        };
        let id = std::process::id();
        let address = format!(
            "127.{}.{}.{}",
            70 + number,
            id / 250 % 250 + 1,
            id % 250 + 1
        );
        let proxy = Proxy::start_at(&format!("{address}:80"), &stack.registry());
        proxy.guard(Gate::Basic {
            user: ecr::USER.to_owned(),
            password: "a password of ECR".to_owned(),
        });
        let _ =
            run(&mut stack.command(["sh", "-c", &format!("echo {address} {host} >>/etc/hosts")]))
                .ok();
        Self {
            host,
            api: Ecr::start(stack, "a password of ECR", &format!("https://{host}")),
            _proxy: proxy,
        }
    }

    /// Runs a script, by the shell that CodeBuild takes by itself.
    fn run(&self, machine: &Machine, script: &str, variables: &[(&str, &str)]) -> Run {
        let mut docker = format!(
            "docker run --rm --network host --entrypoint sh --env AWS_ENDPOINT_URL={} --env AWS_REGION --env AWS_SECRET_ACCESS_KEY \
             --env AWS_ACCESS_KEY_ID --env SOCIABLE_PLAIN_HTTP={}",
            self.api.endpoint, self.host
        );
        for (name, _) in variables {
            docker.extend([" --env ", name]);
        }
        docker.push_str(" $SOCIABLE_IMAGE -ec \"$SCRIPT\"");
        let variables = [&[("SCRIPT", script)], variables].concat();
        let done = machine.run(&["bash", "-ec"], &docker, &variables);
        machine.says_no_secret(&done);
        assert!(
            !format!("{}{}", done.text(), done.stderr).contains("a password of ECR"),
            "{done}"
        );
        done
    }
}

/// Where the sample is built: with what is not to be had here in its place.
fn sample<'a>(machine: &Machine, name: &'a str) -> Vec<(&'a str, String)> {
    let base = pipeline::python(machine.stack);
    vec![
        ("REPOSITORY_URI", format!("{}/{name}", machine.registry)),
        ("CACHE_URI", format!("{}/{name}-cache", machine.registry)),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", COMMIT.to_owned()),
        ("BUILDER", BUILDER.to_owned()),
        ("BUILD_FLAGS", format!("--build-arg BASE={base}")),
    ]
}

#[test]
fn the_sample_is_built_with_its_index_and_starts_lazily() {
    let Some(stack) = stack::start() else { return };
    let name = "socidemoapp";
    let machine = Machine::new(stack, name, &deploy("aws/sample"));
    let variables = sample(&machine, name);
    let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, &**v)).collect();
    let built = build(&machine, "aws/buildspec.yml", &variables).ok();
    machine.says_no_secret(&built);
    assert!(built.text().contains("all claims hold"), "{built}");

    // The evidence: image index, image and SOCI index, as `aws ecr list-images` has them.
    let said = built.text();
    let listed = said.find("\n[").map(|at| &said[at..]).expect("a list");
    let listed: Vec<Value> = serde_json::from_str(listed).expect("JSON");
    let tag = &COMMIT[..12];
    let image = format!("{}/{name}", machine.registry);
    let manifests = machine.indexed(&format!("{image}:{tag}"));
    assert_eq!(listed.len(), 3, "{listed:?}");
    let tagged: Vec<_> = listed
        .iter()
        .filter(|entry| entry["imageTag"] == tag)
        .collect();
    assert_eq!(tagged.len(), 1, "{listed:?}");
    for manifest in &manifests {
        let untagged = |entry: &&Value| {
            entry["imageDigest"] == manifest["digest"] && entry["imageTag"].is_null()
        };
        assert_eq!(listed.iter().filter(untagged).count(), 1, "{listed:?}");
    }
    let soci = manifests
        .iter()
        .find(|m| m["artifactType"] == "application/vnd.amazon.soci.index.v2+json");
    assert!(soci.is_some(), "{manifests:?}");

    starts_lazily(
        stack,
        name,
        &format!("{}/{name}:{tag}", stack.registry()),
        &manifests,
    );
}

fn starts_lazily(stack: &Stack, name: &str, image: &str, manifests: &[Value]) {
    let manifest = stack.json(&format!(
        "crane manifest {}@{}",
        image.rsplit_once(':').expect("a tag").0,
        manifests[0]["digest"].as_str().expect("a digest")
    ));
    let layers = manifest["layers"].as_array().expect("layers");
    let whole: u64 = layers
        .iter()
        .filter_map(|layer| layer["size"].as_u64())
        .sum();
    let docker = |arguments: &str| stack.docker(Docker::Lazy, arguments).ok();
    let before = sent(stack, name);
    let _ = docker(&format!("run --detach --name {name} {image}"));
    // Asked from inside, where nothing but Python is there to ask.
    let ask = |path: &str| {
        let script = format!(
            "import time, urllib.request\nfor wait in range(600):\n try: print(urllib.request.urlopen('http://127.0.0.1:8080{path}').read().decode()); break\n except OSError: time.sleep(.1)\n"
        );
        let socket = "unix:///run/docker-soci.sock";
        let words = [
            "docker", "--host", socket, "exec", name, "python3", "-c", &script,
        ];
        run_for(&mut stack.command(words), Duration::from_mins(3))
            .ok()
            .text()
    };
    let hello = ask("/");
    let started = sent(stack, name) - before;
    assert!(
        hello.starts_with("Hello"),
        "{hello}\n{}\n{}",
        docker(&format!("logs {name}")),
        stack.log("soci", 20)
    );
    let mounts = docker(&format!("exec {name} cat /proc/mounts"));
    assert!(layers_on_fuse(stack, &mounts) > 0, "{mounts}");
    assert!(
        started < whole / 2,
        "{started} bytes of {whole} were fetched for a start"
    );
    let flower = ask("/predict?leaves=5.1,3.5,1.4,0.2");
    assert!(flower.contains("setosa"), "{flower}");
    let used = sent(stack, name) - before;
    assert!(
        used > started,
        "what a request imports comes when it is asked for"
    );
    sociable_tests::say(&format!(
        "the sample: {started} bytes of {whole} for a start, {used} with the model"
    ));
    let _ = docker(&format!("rm --force {name}"));
}

/// A context of one large file, without a network.
fn plain(stack: &'static Stack, name: &str) -> Machine {
    let machine = Machine::new(stack, name, &deploy("aws/sample"));
    machine.large(4, "");
    machine
}

/// What a run says of its one image.
fn line(done: &Run) -> Value {
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("no line of JSON ({error}): {done}"))
}

#[test]
fn the_two_stage_shape() {
    let Some(stack) = stack::start() else { return };
    let name = "two-stage";
    let machine = plain(stack, name);
    let amazon = Amazon::new(stack, 1);
    let uri = format!("{}/{name}", machine.registry);
    let variables = [
        ("REPOSITORY_URI", &*uri),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", COMMIT),
    ];
    let built = build(&machine, "aws/buildspec-docker.yml", &variables).ok();
    machine.says_no_secret(&built);
    let before = machine.manifest(&format!("{uri}:{COMMIT}"));
    assert!(
        before["layers"].is_array(),
        "an image of docker's: {before}"
    );

    let spec = steps::parse(
        &inline("aws/cloudformation.yaml", "IndexProject"),
        "IndexProject",
    );
    let there = format!("{}/{name}", amazon.host);
    for suffix in ["", "-soci"] {
        let variables = [
            ("REPOSITORY_URI", &*there),
            ("TAG", COMMIT),
            ("TAG_SUFFIX", suffix),
        ];
        let indexed = amazon.run(&machine, &codebuild(&spec), &variables).ok();
        assert_eq!(line(&indexed)["result"], "converted", "{indexed}");
        machine.indexed(&format!("{uri}:{COMMIT}{suffix}"));
    }

    // A build whose layers are all small is no failure, in either shape.
    fs::write(machine.dir.join("noise"), "small").expect("a file");
    let variables = [variables[0], ("CODEBUILD_RESOLVED_SOURCE_VERSION", "small")];
    let _ = build(&machine, "aws/buildspec-docker.yml", &variables).ok();
    let variables = [
        ("REPOSITORY_URI", &*there),
        ("TAG", "small"),
        ("TAG_SUFFIX", ""),
    ];
    let skipped = amazon.run(&machine, &codebuild(&spec), &variables).ok();
    assert_eq!(line(&skipped)["result"], "skipped", "{skipped}");
    let cache = format!("{uri}-cache");
    let variables = [
        ("REPOSITORY_URI", &*uri),
        ("CACHE_URI", &cache),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", COMMIT),
        ("BUILDER", BUILDER),
    ];
    let small = build(&machine, "aws/buildspec.yml", &variables).ok();
    assert!(!small.text().contains("all claims hold"), "{small}");
    let image = format!("{uri}:{}", &COMMIT[..12]);
    let layers = || {
        let index = machine.manifest(&image);
        let digest = index["manifests"][0]["digest"].as_str().expect("an image");
        machine.manifest(&format!("{uri}@{digest}"))["layers"].take()
    };
    assert!(
        small
            .text()
            .contains(&format!("\"imageTag\": \"{}\"", &COMMIT[..12])),
        "{small}"
    );
    let before = layers();
    // The next machine has nothing but the registry's cache.
    let empty = "docker buildx prune --builder rem --all --force";
    let _ = stack.run(empty).ok();
    let again = build(&machine, "aws/buildspec.yml", &variables).ok();
    assert_eq!(layers(), before, "the same commit, other layers");
    let copied = again
        .stderr
        .lines()
        .find(|line| line.contains("COPY noise /") && !line.contains("sociable"));
    let step = copied
        .and_then(|line| line.split(' ').next())
        .expect("the step that copies");
    // What of a cached step is needed after all is unpacked from the cache.
    let cached = ["CACHED", "extracting"].map(|word| format!("{step} {word}"));
    assert!(
        cached.iter().any(|line| again.stderr.contains(line)),
        "{again}"
    );
}

#[test]
fn an_event_indexes_an_image() {
    let Some(stack) = stack::start() else { return };
    let name = "event-driven";
    let machine = plain(stack, name);
    let amazon = Amazon::new(stack, 2);
    for tag in ["1", "2"] {
        let image = format!("{}/team/{name}:{tag}", stack.registry());
        let mut build = buildx(stack, Builder::Buildkitd, &machine.dir);
        let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
    }
    let chart = format!("{}/team/{name}:chart", stack.registry());
    let push = format!(
        "cd {} && oras push --plain-http --artifact-type application/vnd.example.chart {chart} Dockerfile",
        machine.dir.display()
    );
    let _ = run(&mut stack.command(["sh", "-ec", &push])).ok();

    let spec = steps::parse(&inline("aws/events.yaml", "IndexProject"), "IndexProject");
    let repository = format!("team/{name}");
    let event = |tag: &str, suffix: &str| {
        let variables = [
            ("REGISTRY", amazon.host),
            ("REPOSITORY", &repository),
            ("TAG", tag),
            ("TAG_SUFFIX", suffix),
            ("MIN_LAYER_SIZE", "10MiB"),
        ];
        amazon.run(&machine, &codebuild(&spec), &variables)
    };
    for (tag, suffix) in [("1", ""), ("2", "-soci")] {
        // In place the job's own push is an event again: it ends here.
        for result in ["converted", "unchanged"] {
            let done = event(tag, suffix).ok();
            let line = line(&done);
            assert_eq!(line["result"], result, "{done}");
            let destination = format!("docker://{}/{repository}:{tag}{suffix}", amazon.host);
            assert_eq!(line["destination"], destination);
        }
        let verified = format!("docker://{}/{repository}:{tag}{suffix}", stack.registry());
        let plain = ["--plain-http", &stack.registry()];
        let mut verify = sociable(["verify", &verified].into_iter().chain(plain));
        let _ = run(&mut verify).ok();
    }
    let skipped = event("chart", "").ok();
    assert_eq!(line(&skipped)["result"], "skipped", "{skipped}");
    // A push without a tag is nobody's business.
    assert_eq!(event("", "").ok().text(), "");
    // A run that fails: that is what the queue is for.
    let missing = event("3", "");
    assert_eq!(missing.code, Some(1), "{missing}");
    assert_eq!(line(&missing)["result"], "failed", "{missing}");
    // What the helper speaks TLS with is in the image.
    let script = "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt";
    let certificates = amazon.run(&machine, script, &[]).ok().text();
    assert!(
        certificates.trim().parse::<u32>().expect("a number") > 100,
        "{certificates}"
    );
}
