//! A registry that collects garbage keeps the SOCI index: nothing lists it but a tag of its own.

use sociable_tests::daemons;
use sociable_tests::frontend::{Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::{run, stack};

use super::project::Project;

#[test]
fn the_index_survives_garbage_collection() {
    let Some(stack) = stack::start() else { return };
    let own = daemons::registry(stack, "gc", "", "");
    let noise = Rng::new(3).noise(3 << 20);
    let dockerfile = format!("FROM {}\nCOPY data /data\n", base(stack));
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "gc-app", files);
    let image = format!("{}/app:1", own.host);
    let options = [
        "OUTPUT=image".to_owned(),
        format!("REPO={}/app", own.host),
        format!("PLAIN_HTTP={},{}", own.host, stack.registry()),
    ];
    let mut build = project.sociable(Builder::Buildkitd, &options.each_ref().map(String::as_str));
    let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
    let _ = stack.run(&format!("crane tag {image} to-be-removed")).ok();

    let collect = format!(
        "docker-registry garbage-collect --delete-untagged {}",
        own.config
    );
    let collected = stack.run(&collect).ok();
    // What brought the layers into the build is untagged, so this did remove something.
    assert!(
        collected.stderr.contains("Deleting blob: ")
            || collected.text().contains("manifest eligible"),
        "{collected}"
    );
    let mut verify = stack.sociable(["verify", &format!("docker://{image}")]);
    let verified = run(verify.args(["--plain-http", &own.host])).ok();
    assert!(verified.text().starts_with("1 SOCI index of"), "{verified}");
    let _ = stack
        .run(&format!(
            "ctr --namespace gc images pull --plain-http --snapshotter soci {image}"
        ))
        .ok();
}
