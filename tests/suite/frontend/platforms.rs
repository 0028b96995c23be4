//! Several platforms in one build, and what BuildKit attests of them.

use std::collections::BTreeSet;

use serde_json::Value;
use sociable_tests::frontend::{BUILDERS, Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{run, sociable};

use super::project::Project;

const PLATFORMS: &str = "linux/amd64,linux/arm64";

/// Each platform has a layer of its own, and one is the same for both.
fn project(stack: &'static Stack, name: &str) -> Project {
    let mut rng = Rng::new(17);
    let [amd, arm, both] = [(); 3].map(|()| rng.noise(2 << 20));
    let dockerfile =
        b"FROM scratch\nARG TARGETARCH\nCOPY both /both\nCOPY $TARGETARCH /own\nCMD [\"/own\"]\n";
    let files: &[(&str, &[u8])] = &[
        ("amd64", &amd),
        ("arm64", &arm),
        ("both", &both),
        ("Dockerfile", dockerfile),
    ];
    Project::new(stack, name, files)
}

/// A tag of the repository has both platforms, each with an index of its own.
#[track_caller]
fn both_are_there(project: &Project, tag: &str) {
    let index = project.manifest(tag);
    let manifests = index["manifests"].as_array().expect("an index").iter();
    let mut platforms = BTreeSet::new();
    let mut indexes = BTreeSet::new();
    for entry in manifests {
        let architecture = entry["platform"]["architecture"].as_str().expect("one");
        if architecture == "unknown" || !entry["artifactType"].is_null() {
            continue; // an attestation, a SOCI index
        }
        let digest = entry["digest"].as_str().expect("a digest");
        let validate = format!("crane validate --remote {}@{digest}", project.repository);
        let _ = project.stack.run(&validate).ok();
        let image = project.manifest(digest);
        let soci = project.soci_index(&image);
        let ztocs = soci["layers"].as_array().expect("zTOCs");
        assert_eq!(ztocs.len(), 2, "{soci}");
        platforms.insert(architecture.to_owned());
        indexes.insert(soci.to_string());
    }
    let expected = ["amd64", "arm64"].map(str::to_owned);
    assert_eq!(platforms, BTreeSet::from(expected), "{index}");
    assert_eq!(indexes.len(), 2);
    project.verify(&format!("docker://{}", project.image(tag)), 2);
}

#[test]
fn images_and_pushes_have_an_index_for_each_platform() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "platforms");
    for builder in BUILDERS {
        let word = builder.word();
        let tag = format!("image-{word}");
        let options = ["OUTPUT=image", &format!("REPO={}", project.repository)];
        let mut build = project.sociable(builder, &options);
        build.args([
            "--platform",
            PLATFORMS,
            "--tag",
            &project.image(&tag),
            "--push",
        ]);
        let _ = run(build.arg(".")).ok();
        both_are_there(&project, &tag);

        let tag = format!("push-{word}");
        let options = ["OUTPUT=push", &format!("REPO={}", project.image(&tag))];
        let mut build = project.sociable(builder, &options);
        build.args(["--platform", PLATFORMS, "--output", "type=cacheonly"]);
        let _ = run(build.arg(".")).ok();
        both_are_there(&project, &tag);
    }
}

#[test]
fn others_read_a_layout_of_several_platforms() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "platforms-layout");
    for builder in BUILDERS {
        let word = builder.word();
        // BuildKit's exporter may put a file of its own beside the layout's.
        let arguments = ["--platform", PLATFORMS, "--provenance=mode=max"];
        let archive = project.archive(builder, &[], &arguments);
        project.verify(&format!("oci-archive:{archive}"), 2);

        let to = project.image(&format!("skopeo-{word}"));
        let copy = "skopeo copy --all --dest-tls-verify=false";
        let _ = stack
            .run(&format!("{copy} oci-archive:{archive} docker://{to}"))
            .ok();
        both_are_there(&project, &format!("skopeo-{word}"));

        let dir = format!("{}/{word}", project.dir.display());
        let _ = stack.run(&format!("mkdir {dir}")).ok();
        let _ = stack.run(&format!("tar -xf {archive} -C {dir}")).ok();
        let _ = stack
            .run(&format!(
                "crane push --index {dir} {}",
                project.image("crane")
            ))
            .ok();

        let name = format!("{word}.test/platforms:1");
        let import = format!("--index-name {name} --all-platforms {archive}");
        let _ = stack
            .run(&format!("ctr --namespace platforms images import {import}"))
            .ok();
        let images = stack.run("ctr --namespace platforms images list").ok();
        let images = images.text();
        let line = images.lines().find(|line| line.starts_with(&name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {images}"));
        assert!(line.contains(PLATFORMS), "{line}");
    }
}

#[test]
fn a_directory_of_several_platforms_is_one_layout() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "platforms-directory");
    let mut build = project.sociable(Builder::Docker, &["OUTPUT=layout"]);
    build.args(["--platform", PLATFORMS, "--output", "type=local,dest=out"]);
    let _ = run(build.arg(".")).ok();
    let out = project.dir.join("out");
    project.verify(&format!("oci:{}", out.display()), 2);
    let to = format!("docker://{}", project.image("directory"));
    let mut copy = sociable(["copy", &format!("oci:{}", out.display()), &to]);
    let _ = run(copy.args(["--plain-http", &stack.registry()])).ok();
    both_are_there(&project, "directory");
}

/// An image that follows the protocol of BuildKit's scanners for SBOMs: it names what it has seen.
fn scanner(stack: &'static Stack) -> String {
    let script = br#"
document() {
  printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[],'
  printf '"predicate":{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"%s"}}' "$1"
}
document "$(cd "$BUILDKIT_SCAN_SOURCE" && echo *)" >"$BUILDKIT_SCAN_DESTINATION/$(basename "$BUILDKIT_SCAN_SOURCE").spdx.json"
"#;
    let dockerfile = format!(
        "FROM {}\nCOPY scan.sh /scan.sh\nENTRYPOINT [\"sh\", \"/scan.sh\"]\n",
        base(stack)
    );
    let files: &[(&str, &[u8])] = &[("scan.sh", script), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "scanner", files);
    let image = project.image("1");
    let mut build = project.plain(Builder::Buildkitd);
    let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
    image
}

#[test]
fn what_buildkit_attests_is_there() {
    let Some(stack) = stack::start() else { return };
    let scanner = scanner(stack);
    let project = project(stack, "attested");
    for builder in BUILDERS {
        let tag = builder.word();
        let image = project.image(tag);
        let options = ["OUTPUT=image", &format!("REPO={}", project.repository)];
        let mut build = project.sociable(builder, &options);
        build.args(["--platform", PLATFORMS, "--tag", &image, "--push"]);
        build.args([
            "--provenance=mode=max",
            &format!("--sbom=generator={scanner}"),
        ]);
        let _ = run(build.arg(".")).ok();
        both_are_there(&project, tag);
        let inspect = |what: &str| -> Value {
            let format = format!("{{{{json .{what}}}}}");
            let words = ["docker", "buildx", "imagetools", "inspect", "--format"];
            let mut command = stack.command(words);
            let shown = run(command.args([&format, &image])).ok();
            serde_json::from_slice(&shown.stdout).expect("JSON")
        };
        let (provenance, sbom) = (inspect("Provenance"), inspect("SBOM"));
        for platform in PLATFORMS.split(',') {
            let slsa = provenance[platform]["SLSA"].to_string();
            // mode=max has the Dockerfile's steps.
            assert!(slsa.contains("\"/both\""), "{provenance}");
            assert_eq!(sbom[platform]["SPDX"]["name"], "both own", "{sbom}");
        }
    }
}
