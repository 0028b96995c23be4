//! One build for several repositories, with and without tags.

use sociable_tests::frontend::{BUILDERS, base};
use sociable_tests::rng::Rng;
use sociable_tests::{run, stack};

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
