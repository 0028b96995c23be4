//! What asks about a Dockerfile and builds no image is answered as without Sociable.

use std::path::Path;
use std::process::Command;

use sociable_tests::frontend::{BUILDERS, base, buildx, context, sociable_buildx};
use sociable_tests::{Run, run, stack};

const CALLS: [&str; 7] = [
    "check",
    "check,format=json",
    "outline",
    "outline,format=json",
    "targets",
    "targets,format=json",
    "subrequests.describe",
];

/// One that gives warnings, and has arguments, secrets and stages to list.
const DOCKERFILE: &str = "\
ARG GLOBAL=1
FROM BASE as first
# WORD is said
ARG WORD=word
MAINTAINER somebody
RUN --mount=type=secret,id=password true
# second is the last stage
FROM first AS second
ARG MORE
CMD echo $NONE
";

#[test]
fn answers_are_the_same() {
    let Some(stack) = stack::start() else {
        return;
    };
    let dockerfile = DOCKERFILE.replace("BASE", base(stack));
    let right = context(
        stack,
        "calls",
        &[("Dockerfile", b"FROM scratch\nCOPY x /\n")],
    );
    let odd = context(stack, "calls-odd", &[("Dockerfile", dockerfile.as_bytes())]);
    let wrong = context(
        stack,
        "calls-wrong",
        &[("Dockerfile", b"FROM scratch AS one\nCOPY\n")],
    );
    for builder in BUILDERS {
        let same = |dir: &Path, arguments: &[&str]| -> Run {
            let ask = |mut build: Command| run(build.args(arguments).arg("."));
            let plain = ask(buildx(stack, builder, dir));
            let ours = ask(sociable_buildx(stack, builder, dir, &["OUTPUT=layout"]));
            assert_eq!(plain.text(), ours.text(), "{}\n{plain}", ours.command);
            assert_eq!(plain.code, ours.code, "{ours}");
            plain
        };
        for call in CALLS {
            let call = format!("--call={call}");
            let _ = same(&right, &[&call]).ok();
            same(&odd, &[&call, "--target", "first"]);
            same(&wrong, &[&call]);
        }
        let outline = same(&odd, &["--call=outline"]).ok().text();
        assert!(outline.contains("MORE"), "{outline}");
        assert!(!outline.contains("SOCI_"), "{outline}");
        let targets = same(&odd, &["--call=targets"]).ok().text();
        assert!(targets.contains("second is the last"), "{targets}");
        let check = same(&odd, &["--check"]);
        assert!(check.text().contains("MaintainerDeprecated"), "{check}");
        assert_eq!(check.code, Some(1), "warnings fail a check");
    }
}
