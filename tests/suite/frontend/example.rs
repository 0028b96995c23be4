//! The example frontend of `crates/buildkit`: that others can write frontends with it.

use std::fs;

use sociable_tests::frontend::{self, BUILDERS, buildx, context};
use sociable_tests::{run, stack};

#[test]
fn a_frontend_of_fifty_lines_builds() {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = frontend::example(stack);
    let build_file =
        format!("# syntax={image}\n/etc/greeting = Hello, $NAME!\n\n/data/copy* = /file\n");
    let files: &[(&str, &[u8])] = &[
        ("Dockerfile", build_file.as_bytes()),
        ("file", b"content\n"),
    ];
    let dir = context(stack, "example", files);
    for builder in BUILDERS {
        let out = dir.join(format!("out-{}", builder.word()));
        let mut build = buildx(stack, builder, &dir);
        let output = format!("type=local,dest={}", out.display());
        let _ = run(build.args(["--build-arg", "NAME=world", "--output", &output, "."])).ok();
        let read = |name: &str| fs::read_to_string(out.join(name)).expect("a file of the result");
        assert_eq!(read("etc/greeting"), "Hello, world!\n");
        assert_eq!(read("data/copy"), "content\n");
    }

    // Its errors reach the user.
    fs::write(dir.join("Dockerfile"), format!("# syntax={image}\nwhat?\n")).expect("written");
    for builder in BUILDERS {
        let failed = run(buildx(stack, builder, &dir).arg("."));
        assert_ne!(failed.code, Some(0), "{failed}");
        let message = "Dockerfile:2: expected PATH = TEXT";
        assert!(failed.stderr.contains(message), "{failed}");
    }
}
