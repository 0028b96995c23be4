//! One build for several repositories, with and without tags, at once and later.

use sociable_tests::frontend::{BUILDERS, Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::run;
use sociable_tests::stack::{self, Docker};

use super::project::Project;

#[test]
fn each_has_image_and_index() {
    let Some(stack) = stack::start() else { return };
    let noise = Rng::new(43).noise(2 << 20);
    let dockerfile = format!("FROM {}\nCOPY data /data\n", base(stack));
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "repositories", files);
    for builder in BUILDERS {
        let [one, two, three, four] = ["image-1", "image-2", "push-1", "push-2"]
            .map(|name| format!("{}/{name}-{}", project.repository, builder.word()));
        let options = ["OUTPUT=image", &format!("REPO={one},{two}")];
        let mut build = project.sociable(builder, &options);
        let tags = [format!("{one}:1"), format!("{two}:2")];
        build.args(["--tag", &tags[0], "--tag", &tags[1], "--push", "."]);
        let _ = run(&mut build).ok();

        let options = ["OUTPUT=push", &format!("REPO={three}:3,{four}")];
        let mut build = project.sociable(builder, &options);
        let _ = run(build.args(["--output", "type=cacheonly", "."])).ok();

        let pushed = [format!("{three}:3"), format!("{four}:latest")];
        for image in tags.iter().chain(&pushed) {
            project.verify(&format!("docker://{image}"), 1);
        }
        // The index has its own tag, and nothing else has one.
        let listed = stack.run(&format!("crane ls {one}")).ok().text();
        let mut listed: Vec<_> = listed.lines().collect();
        listed.sort_unstable();
        let ["1", index] = listed[..] else {
            panic!("{listed:?}");
        };
        assert!(index.starts_with("soci-"), "{index}");
    }
}

/// It lies in Docker's store, which keeps what it needs to find its index.
#[test]
fn an_image_can_be_pushed_later() {
    let Some(stack) = stack::start() else { return };
    let noise = Rng::new(44).noise(2 << 20);
    let dockerfile = format!("FROM {}\nCOPY data /data\n", base(stack));
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "repositories-later", files);
    let image = project.image("1");
    let options = ["OUTPUT=image", &format!("REPO={}", project.repository)];
    let mut build = project.sociable(Builder::Docker, &options);
    let _ = run(build.args(["--tag", &image, "."])).ok();
    let listed = stack.run(&format!("crane ls {}", project.repository)).ok();
    assert!(!listed.text().lines().any(|tag| tag == "1"), "{listed}");
    let _ = stack.docker(Docker::Eager, &format!("push {image}")).ok();
    project.verify(&format!("docker://{image}"), 1);
}
