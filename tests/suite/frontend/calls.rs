//! What asks about a Dockerfile and builds no image is answered as without Sociable.

use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::Value;
use sociable_tests::frontend::{BUILDERS, Builder, base, buildx, context, sociable_buildx};
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
    let on = |builder: Builder| {
        let same = |dir: &Path, arguments: &[&str]| -> Run {
            let ask = |mut build: Command| run(build.args(arguments).arg("."));
            let plain = ask(buildx(stack, builder, dir));
            let ours = ask(sociable_buildx(stack, builder, dir, &["OUTPUT=layout"]));
            assert_eq!(said(&plain), said(&ours), "{}\n{plain}", ours.command);
            assert_eq!(plain.code, ours.code, "{ours}");
            plain
        };
        for call in CALLS {
            let call = format!("--call={call}");
            let _ = same(&right, &[&call]).ok();
            same(&odd, &[&call, "--target", "first"]);
        }
        same(&wrong, &["--call=check"]);
        let outline = same(&odd, &["--call=outline"]).ok().text();
        assert!(outline.contains("MORE"), "{outline}");
        assert!(!outline.contains("SOCI_"), "{outline}");
        let targets = same(&odd, &["--call=targets"]).ok().text();
        assert!(targets.contains("is the last stage"), "{targets}");
        let check = same(&odd, &["--check"]);
        assert!(check.text().contains("MaintainerDeprecated"), "{check}");
        assert_eq!(check.code, Some(1), "warnings fail a check");
    };
    thread::scope(|scope| {
        for builder in BUILDERS {
            let on = &on;
            scope.spawn(move || on(builder));
        }
    });
}

/// What was answered, without what names the session.
fn said(run: &Run) -> String {
    let text = run.text();
    let Ok(mut json) = serde_json::from_str::<Value>(&text) else {
        return text;
    };
    for source in json["sources"].as_array_mut().into_iter().flatten() {
        if let Some(source) = source.as_object_mut() {
            source.remove("definition");
        }
    }
    json.to_string()
}
