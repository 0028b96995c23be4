//! What cannot be built says why, in a sentence that helps, and leaves nothing behind.

use sociable_tests::daemons;
use sociable_tests::frontend::{BUILDERS, Builder, base, image};
use sociable_tests::rng::Rng;
use sociable_tests::stack::{self, Docker, Stack};
use sociable_tests::{Run, run};

use super::project::Project;

fn project(stack: &'static Stack, name: &str) -> Project {
    let noise = Rng::new(name.len() as u64).noise(2 << 20);
    let dockerfile = format!("FROM {}\nCOPY data /{name}\n", base(stack));
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    Project::new(stack, name, files)
}

/// A build that fails with all of these words in what it says last.
#[track_caller]
fn fails(
    project: &Project,
    builder: Builder,
    options: &[&str],
    arguments: &[&str],
    words: &[&str],
) {
    let mut build = project.sociable(builder, options);
    let failed = run(build.args(arguments).arg("."));
    says(&failed, words);
}

#[track_caller]
fn says(failed: &Run, words: &[&str]) {
    assert_ne!(failed.code, Some(0), "{failed}");
    for word in words {
        let said = failed.stderr.contains(word);
        assert!(said, "{word:?} is not said: {}", failed.stderr);
    }
}

/// The tags of a repository; none, if there is none.
fn tags(stack: &Stack, repository: &str) -> String {
    stack.run(&format!("crane ls {repository}")).text()
}

const CACHEONLY: [&str; 2] = ["--output", "type=cacheonly"];

#[test]
fn options_are_checked() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "failures-options");
    let known = [
        "SOCI_SPANS",
        "SOCI_OUTPUT",
        "SOCI_REPO",
        "SOCI_SPAN_SIZE",
        "SOCI_MIN_LAYER_SIZE",
        "SOCI_COMPRESSION_LEVEL",
        "SOCI_BASE",
        "SOCI_PREFETCH",
        "SOCI_VERSION",
        "SOCI_PLAIN_HTTP",
    ];
    let wrong: &[(&[&str], &[&str])] = &[
        (&["SPANS=4MiB"], &known),
        (&["OUTPUT=image"], &["SOCI_OUTPUT=image", "SOCI_REPO"]),
        (&["OUTPUT=push"], &["SOCI_OUTPUT=push", "SOCI_REPO"]),
        (&["OUTPUT=tar"], &["SOCI_OUTPUT=tar", "layout"]),
        (&["SPAN_SIZE=some"], &["SOCI_SPAN_SIZE=some", "4MiB"]),
        (&["MIN_LAYER_SIZE=-1"], &["SOCI_MIN_LAYER_SIZE=-1"]),
        (
            &["COMPRESSION_LEVEL=10"],
            &["SOCI_COMPRESSION_LEVEL=10", "0 to 9"],
        ),
        (&["BASE=no"], &["SOCI_BASE=no", "true or false"]),
        (&["VERSION=v1"], &["SOCI_VERSION=v1", "sociable create"]),
        (&["OUTPUT=push", "REPO=A b"], &["SOCI_REPO=A b"]),
    ];
    for (options, words) in wrong {
        fails(&project, Builder::Buildkitd, options, &CACHEONLY, words);
    }
}

/// The image is that of the Dockerfile all the same.
#[test]
fn a_build_without_an_output_warns() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "failures-none");
    for builder in BUILDERS {
        let options: &[&str] = match builder {
            Builder::Docker => &["OUTPUT=none"],
            Builder::Buildkitd => &[],
        };
        let mut build = project.sociable(builder, options);
        let warned = run(build.args(["--tag", &project.image("none"), "--push", "."])).ok();
        for word in ["SociableNoOutput", "SOCI_OUTPUT"] {
            assert!(warned.stderr.contains(word), "{warned}");
        }
        let mut build = project.plain(builder);
        let _ = run(build.args(["--tag", &project.image("plain"), "--push", "."])).ok();
        assert_eq!(project.manifest("none"), project.manifest("plain"));
    }
}

/// A frontend does not see how its result leaves the build.
#[test]
fn a_layout_in_the_place_of_an_image_says_so() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "failures-layout");
    let mut build = project.sociable(Builder::Docker, &["OUTPUT=layout"]);
    let _ = run(build.args(["--tag", "failures-layout:1", "."])).ok();
    let started = stack.docker(Docker::Eager, "run --rm --network none failures-layout:1");
    says(
        &started,
        &["an OCI image layout in the place of an image", "type=tar"],
    );
}

#[test]
fn a_registry_that_is_down_is_named() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "failures-down");
    let plain = format!("PLAIN_HTTP=127.0.0.1:1,{}", stack.registry());
    let options = ["OUTPUT=image", "REPO=127.0.0.1:1/app", &plain];
    let arguments = ["--tag", &project.image("1"), "--push"];
    let words = [
        "127.0.0.1:1",
        "refused",
        "hint: can 127.0.0.1:1 be reached",
        "--network=host",
    ];
    for builder in BUILDERS {
        fails(&project, builder, &options, &arguments, &words);
    }
    assert_eq!(tags(stack, &project.repository), "");
}

#[test]
fn a_registry_that_is_read_only_is_named() {
    let Some(stack) = stack::start() else { return };
    let read_only = "maintenance: {readonly: {enabled: true}},";
    let own = daemons::registry(stack, "failures-read-only", read_only, "");
    let project = project(stack, "failures-read-only-app");
    let options = [
        "OUTPUT=push".to_owned(),
        format!("REPO={}/app:1", own.host),
        format!("PLAIN_HTTP={},{}", own.host, stack.registry()),
    ];
    let options = options.each_ref().map(String::as_str);
    let words = [&*own.host, "405 Method Not Allowed"];
    fails(&project, Builder::Buildkitd, &options, &CACHEONLY, &words);
}

/// Docker has it, and nobody else: its builder shows an image's blobs to no step.
#[test]
fn a_base_image_that_is_in_no_registry_can_be_left_out() {
    let Some(stack) = stack::start() else { return };
    let below = project(stack, "failures-local-base");
    let mut build = below.plain(Builder::Docker);
    let _ = run(build.args(["--tag", &below.image("1"), "."])).ok();
    let dockerfile = format!("FROM {}\nCOPY data /above\n", below.image("1"));
    let noise = Rng::new(71).noise(2 << 20);
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "failures-local", files);
    let repo = format!("REPO={}", project.repository);
    let tag = project.image("1");
    let words = [
        "there is no image",
        "has to be in a registry",
        "SOCI_BASE=false",
    ];
    let fails = |options: &[&str], arguments: &[&str]| {
        fails(&project, Builder::Docker, options, arguments, &words);
    };
    fails(&["OUTPUT=image", &repo], &["--tag", &tag, "--push"]);
    fails(&["OUTPUT=layout"], &["--output", "type=tar,dest=out.tar"]);
    assert_eq!(tags(stack, &project.repository), "");
    let _ = project.push_image(Builder::Docker, "1", &["BASE=false"]);
    project.verify(&format!("docker://{}", project.image("1")), 1);
}

#[test]
fn dockers_old_image_store_is_told_from_the_new() {
    let Some(stack) = stack::start() else { return };
    let socket = daemons::old_docker(stack, "failures-old");
    let project = project(stack, "failures-old-app");
    let host = format!("DOCKER_HOST={socket}");
    let words = [
        "env",
        &host,
        "docker",
        "buildx",
        "build",
        "--progress=plain",
        "--network=host",
    ];
    let build = |output: &str, arguments: &[&str]| {
        let mut build = stack.command(words);
        for argument in [
            format!("BUILDKIT_SYNTAX={}", image(stack)),
            format!("SOCI_PLAIN_HTTP={}", stack.registry()),
            format!("SOCI_REPO={}", project.image("1")),
            format!("SOCI_OUTPUT={output}"),
        ] {
            build.args(["--build-arg", &argument]);
        }
        run(build.args(arguments).arg(".").current_dir(&project.dir))
    };
    for (output, arguments) in [
        ("layout", ["--output", "type=tar,dest=out.tar"]),
        ("image", ["--tag", &project.image("1")]),
        ("push", CACHEONLY),
    ] {
        let failed = build(output, &arguments);
        says(
            &failed,
            &[
                "older image store",
                "containerd-snapshotter",
                "docker-container",
            ],
        );
    }
    let _ = build("none", &["--tag", "failures-old:1"]).ok();
}

#[test]
fn a_file_to_prefetch_that_is_nowhere_is_said() {
    let Some(stack) = stack::start() else {
        return;
    };
    let large = Rng::new(15).noise(2 << 20);
    let files: &[(&str, &[u8])] = &[
        ("large", &large),
        ("Dockerfile", b"FROM scratch\nCOPY large /\n"),
    ];
    let project = Project::new(stack, "prefetch-nowhere", files);
    let options = ["OUTPUT=layout", "PREFETCH=/large,/nowhere"];
    let mut build = project.sociable(Builder::Buildkitd, &options);
    let out = project.dir.join("made.tar");
    let output = format!("type=tar,dest={}", out.display());
    let said = run(build.args(["--output", &output, "."])).ok().stderr;
    assert!(said.contains("SociablePrefetchMissing"), "{said}");
    assert!(!said.contains("has /large"), "{said}");
}
