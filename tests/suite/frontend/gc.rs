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
    let collect = || {
        let collect = "docker-registry garbage-collect --delete-untagged";
        let run = stack.run(&format!("{collect} {}", own.config)).ok();
        // A line for each that is removed; the last one counts them.
        run.text().contains("manifest eligible for deletion: ")
    };
    let verify = || {
        let mut verify = stack.sociable(["verify", &format!("docker://{image}")]);
        run(verify.args(["--plain-http", &own.host]))
    };
    assert!(collect(), "what brought the layers here has no tag");
    let verified = verify().ok();
    assert!(verified.text().starts_with("1 SOCI index of"), "{verified}");
    let pull = "ctr --namespace gc images pull --plain-http --snapshotter soci";
    let _ = stack.run(&format!("{pull} {image}")).ok();

    // It is the tag that kept it.
    let tags = format!(
        "rm -r {}/docker/registry/v2/repositories/app/_manifests/tags/soci-*",
        own.storage
    );
    let _ = run(&mut stack.command(["bash", "-c", &tags])).ok();
    assert!(collect(), "the index has no tag");
    let _ = verify().refused();
}
