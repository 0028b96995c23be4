//! One build for several repositories, with and without tags, at once and later.

use std::thread;

use sociable_tests::frontend::{BUILDERS, Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::run;
use sociable_tests::stack::{self, Docker};

use super::project::{Project, layers};

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

/// The builder knows layers of the same files already, compressed in another way: the image has those that its index is about.
#[test]
fn the_same_files_compressed_in_other_ways() {
    let Some(stack) = stack::start() else {
        return;
    };
    let mut rng = Rng::new(31);
    let data = [rng.noise(1 << 20), rng.text(2 << 20)].concat();
    let files: &[(&str, &[u8])] = &[
        ("data", &data),
        ("Dockerfile", b"FROM scratch\nCOPY data /\n"),
    ];
    let project = &Project::new(stack, "other-ways", files);
    let build = |builder: Builder, level: usize, round: &str| {
        let tag = format!("{}-{round}-{level}", builder.word());
        let level = format!("COMPRESSION_LEVEL={level}");
        let _ = project.push_image(builder, &tag, &[&level]);
        project.verify(&format!("docker://{}", project.image(&tag)), 1);
        let manifest = project.manifest(&tag);
        layers(&manifest)[0].to_owned()
    };
    for builder in BUILDERS {
        let after: Vec<_> = [1, 9, 1, 5]
            .map(|level| build(builder, level, "after"))
            .into();
        assert_eq!(after[0], after[2], "{after:?}");
        assert_ne!(after[0], after[1], "{after:?}");
        let at_once: Vec<_> = thread::scope(|scope| {
            let started = [2, 4, 6, 8].map(|level| {
                let build = &build;
                scope.spawn(move || build(builder, level, "at-once"))
            });
            started.map(|one| one.join().expect("built")).into()
        });
        assert!(!at_once.contains(&after[0]), "{at_once:?}");
    }
}
