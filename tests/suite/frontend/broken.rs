//! A build that fails says why in the same words as without Sociable.

use std::process::Command;
use std::thread;

use sociable_tests::frontend::{BUILDERS, Builder, base, buildx, context, sociable_buildx};
use sociable_tests::{run, stack};

/// Dockerfiles, and what the error is about. `BASE` is an image with a shell.
const WRONG: [(&str, &str); 13] = [
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
    (
        "# check=error=true\nFROM BASE as one\n",
        "lint violation found",
    ),
    ("RUN true\n", "no build stage"),
    ("", "the Dockerfile cannot be empty"),
];

#[test]
fn errors_are_the_same() {
    for (number, (dockerfile, about)) in WRONG.into_iter().enumerate() {
        same(&format!("failures-{number}"), dockerfile, 1, about);
    }
}

/// One: several come in any order.
#[test]
fn a_warning_is_the_same() {
    let dockerfile = "FROM BASE\nMAINTAINER somebody\n";
    same("warning", dockerfile, 0, "1 warning found");
}

/// A build ends with this exit code and says this, and all else that it says at the end is the same without Sociable and with it.
fn same(name: &str, dockerfile: &str, code: i32, about: &str) {
    let Some(stack) = stack::start() else {
        return;
    };
    let dockerfile = dockerfile.replace("BASE", base(stack));
    let files: &[(&str, &[u8])] = &[("Dockerfile", dockerfile.as_bytes())];
    let dir = &context(stack, name, files);
    let on = |builder: Builder| {
        let said = |mut build: Command| {
            let out = dir.join(format!("{}.tar", builder.word()));
            let output = format!("type=tar,dest={}", out.display());
            let done = run(build.args(["--output", &output, "."]));
            assert_eq!(done.code, Some(code), "{done}");
            lasting(&done.stderr)
        };
        let plain = said(buildx(stack, builder, dir));
        assert!(plain.contains(about), "{about}: {plain}");
        let options = ["OUTPUT=layout", "MIN_LAYER_SIZE=0"];
        let ours = said(sociable_buildx(stack, builder, dir, &options));
        assert_eq!(plain, ours, "on {builder:?}, of {dockerfile}");
    };
    thread::scope(|scope| {
        for builder in BUILDERS {
            let on = &on;
            scope.spawn(move || on(builder));
        }
    });
}

/// What was said, without progress and without what is other each time: seconds since a step began, names of a session's files, and which of its two calls Docker's client saw fail first.
fn lasting(stderr: &str) -> String {
    let stderr = stderr.replace("failed to run Build function", "failed to solve");
    let changes = |word: &&str| {
        let seconds = word.contains('.') && word.parse::<f64>().is_ok();
        seconds || word.contains("::")
    };
    let lines = stderr.lines();
    // Docker's client says this where a frontend that failed hangs up.
    let noise = |line: &&str| line.contains(" http2: server");
    let lines = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let lines = lines.filter(|line| !noise(line));
    let lines = lines.map(|line| {
        let words = line.split(' ').filter(|word| !changes(word));
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}
