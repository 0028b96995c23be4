//! What is done is not done again, and what is done again comes out the same.

use std::fs;

use sociable_tests::daemons;
use sociable_tests::frontend::{BUILDERS, Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{Run, run};

use super::project::{Project, layers};
use super::steps::{done, steps};

/// A large layer, one that a command makes, and a small one.
fn project(stack: &'static Stack, name: &str) -> Project {
    let noise = Rng::new(name.len() as u64).noise(3 << 20);
    let dockerfile = format!(
        "FROM {}\nCOPY large /{name}/large\nRUN date >/date\nCOPY small /small\n",
        base(stack)
    );
    let files: &[(&str, &[u8])] = &[
        ("large", &noise),
        ("small", b"1"),
        ("Dockerfile", dockerfile.as_bytes()),
    ];
    Project::new(stack, name, files)
}

/// How many steps such a build has that can be cached: two layers of the base image, three of its own, each made and then packed.
const STEPS: usize = 2 + 2 * 3;

fn only_what_changed(builder: Builder) {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, &format!("cache-{}", builder.word()));
    let first = project.push_image(builder, "1", &[]);
    assert_eq!(steps(&first).len(), STEPS, "{first}");
    let second = project.push_image(builder, "2", &[]);
    assert_eq!(done(&second), [""; 0], "{second}");
    assert_eq!(project.manifest("1"), project.manifest("2"));
    fs::write(project.dir.join("small"), "2").expect("a file");
    let third = project.push_image(builder, "3", &[]);
    let small = "COPY small /small";
    let changed = [
        format!("[4/4] {small}"),
        format!("[sociable] pack and index: [4/4] {small}"),
    ];
    assert_eq!(done(&third), changed, "{third}");
    assert_eq!(steps(&third).len(), STEPS, "{third}");
    let (before, after) = (project.manifest("2"), project.manifest("3"));
    let (before, after) = (layers(&before), layers(&after));
    let same = before.len() - 1;
    assert_eq!(before[..same], after[..same]);
    assert_ne!(before[same], after[same]);
    project.verify(&format!("docker://{}", project.image("3")), 1);
}

#[test]
fn only_what_changed_is_packed_again_by_dockerd() {
    only_what_changed(Builder::Docker);
}

#[test]
fn only_what_changed_is_packed_again_by_buildkitd() {
    only_what_changed(Builder::Buildkitd);
}

/// The build's own steps are done again, and layers are of what they made this time.
#[test]
fn without_the_cache_layers_are_packed_again() {
    let Some(stack) = stack::start() else { return };
    let project = project(stack, "cache-without");
    let build = |builder, tag| {
        let options = ["OUTPUT=push", &format!("REPO={}", project.image(tag))];
        let mut build = project.sociable(builder, &options);
        run(build.args(["--no-cache", "--output", "type=cacheonly", "."])).ok()
    };
    for builder in BUILDERS {
        let _ = build(builder, "1");
        let second = build(builder, "2");
        let date = "RUN date >/date".to_owned();
        let names = done(&second);
        assert!(names.iter().any(|name| name.ends_with(&date)), "{names:?}");
        let date = |tag| {
            let export = format!("crane export {} - | tar -xO date", project.image(tag));
            run(&mut stack.command(["bash", "-c", &export])).ok().text()
        };
        assert_ne!(date("1"), date("2"));
    }
}

/// With a date for everything, everything that comes out is the same: layers on both builders, the whole image on each.
#[test]
fn a_build_can_be_repeated() {
    let Some(stack) = stack::start() else { return };
    let dockerfile = format!(
        "FROM {}\nCOPY large /large\nRUN mkdir -p /made/here && echo hello >/made/here/it && rm /bin/wc && ln -s it /made/here/link\n",
        base(stack)
    );
    let noise = Rng::new(5).noise(3 << 20);
    let files: &[(&str, &[u8])] = &[("large", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "cache-repeated", files);
    let mut of_builders = Vec::new();
    for builder in BUILDERS {
        let tags = ["1", "2"].map(|tag| {
            let repo = format!("REPO={}", project.repository);
            let mut build = project.sociable(builder, &["OUTPUT=image", &repo]);
            build.args(["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
            let _ = run(build.args(["--tag", &project.image(tag), "--push", "."])).ok();
            let image = project.manifest(tag);
            let index = project.soci_index(&image);
            (image, index)
        });
        assert_eq!(tags[0], tags[1]);
        let [(image, index), _] = tags;
        let layers = layers(&image).into_iter().map(str::to_owned);
        of_builders.push((layers.collect::<Vec<_>>(), index));
    }
    assert_eq!(of_builders[0], of_builders[1]);
}

/// Builds with one buildkitd, which exports its cache, then with another that has none of its own.
fn through_a_cache(stack: &'static Stack, other: &str, kind: &str, to: &str, from: &str) {
    let project = project(stack, &format!("cache-{kind}"));
    let place = match kind {
        "local" => project.dir.join("cache").display().to_string(),
        _ => project.image("cache"),
    };
    let build = |tag: &str, arguments: &[&str]| -> Run {
        let repo = format!("REPO={}", project.repository);
        let mut build = project.sociable(Builder::Buildkitd, &["OUTPUT=image", &repo]);
        build.args(["--tag", &project.image(tag), "--push"]);
        run(build.args(arguments).arg(".")).ok()
    };
    let _ = build("1", &["--cache-to", &format!("{to}{place}")]);
    // A command that is run again writes another date. Layers are packed again: an image's cache has only what led to the image.
    let _ = build(
        "2",
        &[
            "--builder",
            other,
            "--cache-from",
            &format!("{from}{place}"),
        ],
    );
    let (one, two) = (project.manifest("1"), project.manifest("2"));
    assert_eq!(layers(&one), layers(&two));
    assert_eq!(project.soci_index(&one), project.soci_index(&two));
    project.verify(&format!("docker://{}", project.image("2")), 1);
}

#[test]
fn caches_can_be_exported() {
    let Some(stack) = stack::start() else { return };
    let other = daemons::buildkitd(stack, "cache-other");
    through_a_cache(
        stack,
        &other,
        "registry",
        "type=registry,mode=max,ref=",
        "type=registry,ref=",
    );
    through_a_cache(
        stack,
        &other,
        "local",
        "type=local,mode=max,dest=",
        "type=local,src=",
    );
}
