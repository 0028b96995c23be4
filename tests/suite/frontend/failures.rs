//! A build that fails says why in the same words as without Sociable.

use std::path::Path;
use std::process::Command;

use sociable_tests::frontend::{BUILDERS, base, buildx, context, sociable_buildx};
use sociable_tests::{run, stack};

/// Dockerfiles, and what the error is about. `BASE` is an image with a shell.
const WRONG: [(&str, &str); 12] = [
    (
        "FROM BASE\nRUN echo before && false\nRUN true\n",
        "exit code: 1",
    ),
    (
        "FROM BASE\nRUN sh -c 'kill -9 $$'; exit $?\n",
        "exit code: 137",
    ),
    ("FROM BASE\nRUN [\"/nothing\"]\n", "/nothing"),
    ("FROM BASE\nCOPY missing /\n", "\"/missing\": not found"),
    (
        "FROM BASE AS one\nRUN echo >/x\nFROM scratch\nCOPY --link --from=one /y /\n",
        "\"/y\": not found",
    ),
    (
        "FROM BASE\nRUN true\nNONSENSE word\n",
        "unknown instruction: NONSENSE",
    ),
    (
        "FROM BASE\nCOPY one\n",
        "COPY requires at least two arguments",
    ),
    ("FROM BASE\nENV =\n", "ENV"),
    (
        "FROM BASE\nRUN --mount=type=secret,id=none,required=true true\n",
        "secret none: not found",
    ),
    ("FROM BASE-none\n", "not found"),
    ("RUN true\n", "no build stage"),
    ("", "the Dockerfile cannot be empty"),
];

#[test]
fn errors_are_the_same() {
    let Some(stack) = stack::start() else {
        return;
    };
    let base = base(stack);
    for (number, (dockerfile, about)) in WRONG.into_iter().enumerate() {
        let dockerfile = dockerfile.replace("BASE", base);
        let files: &[(&str, &[u8])] = &[("Dockerfile", dockerfile.as_bytes())];
        let dir = context(stack, &format!("failures-{number}"), files);
        for builder in BUILDERS {
            let plain = said(buildx(stack, builder, &dir), &dir);
            assert!(plain.contains("ERROR: failed to build"), "{plain}");
            assert!(plain.contains(about), "{about}: {plain}");
            let options = ["OUTPUT=layout", "MIN_LAYER_SIZE=0"];
            let ours = said(sociable_buildx(stack, builder, &dir, &options), &dir);
            assert_eq!(plain, ours, "on {builder:?}, of {dockerfile}");
        }
    }
}

/// What a build that fails says at the end, without progress, and without what is other each time.
fn said(mut build: Command, dir: &Path) -> String {
    let output = format!("type=tar,dest={}", dir.join("out.tar").display());
    let done = run(build.args(["--output", &output, "."]));
    assert_eq!(done.code, Some(1), "should fail: {done}");
    let lines = done.stderr.lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let lines = lines.map(|line| {
        let words = line.split(' ').filter(|word| !changes(word));
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Seconds since a step began, and the name of a session's files.
fn changes(word: &str) -> bool {
    let seconds = word.contains('.') && word.parse::<f64>().is_ok();
    seconds || word.contains("::")
}
