//! `deploy/github`, `deploy/gitlab` and `deploy/shell`: their steps, run for real.

use std::collections::BTreeMap;
use std::fs;

use serde_yaml_ng::Value;
use sociable_tests::pipeline::{BUILDER, Machine};
use sociable_tests::stack::{self, Stack};
use sociable_tests::{Run, ecr};

use super::steps::{texts, yaml};
use super::{deploy, text};

/// How GitHub runs a step of `shell: bash`.
const BASH: [&str; 6] = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"];

/// A machine with the files of a system, a Dockerfile of one large layer, a builder, and a login.
fn machine(stack: &'static Stack, name: &str, files: &str) -> Machine {
    let machine = Machine::new(stack, name, &deploy(files));
    machine.large(name.len() as u64, "ARG NOTE\nLABEL note=$NOTE\n");
    fs::create_dir_all(machine.dir.join("tmp")).expect("a directory");
    let script = format!(
        "docker buildx create --name ci-{name} --use {BUILDER} >/dev/null 2>&1 || docker buildx use ci-{name}\n\
         printf %s \"$PASSWORD\" | docker login --username {} --password-stdin {}",
        ecr::USER,
        machine.registry
    );
    let _ = machine
        .run(&["sh", "-ec"], &script, &[("PASSWORD", &machine.password)])
        .ok();
    machine
}

/// `NAME=VALUE` lines that a step wrote.
fn lines(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// The image index, image and SOCI index that a tag leads to are there, and what the system was told is true.
#[track_caller]
fn is_there(machine: &Machine, image: &str, digest: &str, index: &str) {
    let shown = machine.stack.run(&format!(
        "crane digest {}",
        image.replace(&machine.registry, &machine.stack.registry())
    ));
    assert_eq!(shown.ok().text().trim(), digest);
    let repository = image.rsplit_once(':').expect("a tag").0;
    let soci = machine.manifest(&format!("{repository}@{index}"));
    let kind = &soci["config"]["mediaType"];
    assert_eq!(kind, "application/vnd.amazon.soci.index.v2+json", "{soci}");
}

/// A value of `env:` as GitHub evaluates it.
fn evaluated(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = text.to_owned();
    while let Some(at) = out.find("${{") {
        let end = at + out[at..].find("}}").expect("the end of an expression");
        let name = out[at + 3..end].trim().to_owned();
        let value = known
            .get(&name)
            .unwrap_or_else(|| panic!("an expression that is not known here: {name}"));
        out.replace_range(at..end + 2, value);
    }
    out
}

/// Runs the `run:` steps of a list in order, as GitHub does: what they export, the summary, and what they said.
fn github(
    machine: &Machine,
    steps: &Value,
    known: &mut BTreeMap<String, String>,
) -> Result<(String, Vec<Run>), Run> {
    let place = |name: &str| machine.dir.join("tmp").join(name);
    let mut path = String::new();
    let mut runs = Vec::new();
    fs::write(place("summary"), "").expect("a file");
    for step in steps.as_sequence().expect("steps") {
        let Some(script) = step["run"].as_str() else {
            continue;
        };
        for file in ["output", "path"] {
            fs::write(place(file), "").expect("a file");
        }
        let mut variables: Vec<(String, String)> = Vec::new();
        for (name, value) in step["env"].as_mapping().into_iter().flatten() {
            let value = evaluated(value.as_str().expect("a text"), known);
            variables.push((name.as_str().expect("a name").to_owned(), value));
        }
        for (name, file) in [
            ("RUNNER_TEMP", ""),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_PATH", "path"),
            ("GITHUB_STEP_SUMMARY", "summary"),
        ] {
            variables.push((name.to_owned(), place(file).display().to_string()));
        }
        variables.push((
            "GITHUB_ACTION_PATH".to_owned(),
            machine.dir.display().to_string(),
        ));
        let variables: Vec<_> = variables.iter().map(|(n, v)| (&**n, &**v)).collect();
        let done = machine.run(&BASH, &format!("PATH={path}$PATH\n{script}"), &variables);
        machine.says_no_secret(&done);
        if done.code != Some(0) {
            return Err(done);
        }
        runs.push(done);
        let read = |file| fs::read_to_string(place(file)).expect("a file");
        for line in read("path").lines() {
            path = format!("{line}:{path}");
        }
        if let Some(id) = step["id"].as_str() {
            for (name, value) in lines(&read("output")) {
                known.insert(format!("steps.{id}.outputs.{name}"), value);
            }
        }
    }
    Ok((
        fs::read_to_string(place("summary")).expect("a summary"),
        runs,
    ))
}

/// The inputs of an action or a workflow, as they are without anything given.
fn defaults(inputs: &Value, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let all = inputs.as_mapping().expect("inputs");
    let mut known: BTreeMap<String, String> = all
        .iter()
        .map(|(name, input)| {
            let default = input["default"].as_str().unwrap_or_default();
            (
                format!("inputs.{}", name.as_str().expect("a name")),
                default.to_owned(),
            )
        })
        .collect();
    for (name, value) in given {
        let name = format!("inputs.{name}");
        assert!(known.contains_key(&name), "no input {name}");
        known.insert(name, (*value).to_owned());
    }
    known
}

#[test]
fn the_action_builds_pushes_and_reports() {
    let Some(stack) = stack::start() else { return };
    let machine = machine(stack, "github-action", "github");
    let action = yaml("github/action.yml");
    let image = format!("{}/github-action:1", machine.registry);
    let own = sociable_tests::pipeline::image(stack);
    let mut known = defaults(
        &action["inputs"],
        &[
            ("push", "true"),
            ("tags", &image),
            ("build-args", "NOTE=a note, with a comma\n"),
            ("secrets", "token=not-to-be-seen\n"),
            ("provenance", "false"),
            ("span-size", "1MiB"),
            ("verify", "true"),
            ("sociable-image", own),
        ],
    );
    let steps = &action["runs"]["steps"];
    let (summary, runs) =
        github(&machine, steps, &mut known).unwrap_or_else(|failed| panic!("{failed}"));
    for run in &runs {
        let said = format!("{}{}", run.text(), run.stderr);
        assert!(!said.contains("not-to-be-seen"), "{said}");
    }
    let output = |name: &str| {
        let value = action["outputs"][name]["value"]
            .as_str()
            .expect("an output");
        evaluated(value, &known)
    };
    is_there(
        &machine,
        &image,
        &output("digest"),
        &output("soci-index-digest"),
    );
    assert!(
        output("metadata").contains("containerimage.digest"),
        "{known:?}"
    );
    for part in ["SOCI index v2", "12.6 MB", "| layer |"] {
        assert!(summary.contains(part), "{summary}");
    }
    let config = stack
        .run(&format!(
            "crane config {}/github-action:1",
            stack.registry()
        ))
        .ok();
    assert!(config.text().contains("a note, with a comma"), "{config}");

    // What is wrong is said, and the step fails.
    let mut wrong = defaults(
        &action["inputs"],
        &[("push", "perhaps"), ("sociable-image", own)],
    );
    let failed = github(&machine, steps, &mut wrong).expect_err("push is true or false");
    assert!(failed.text().contains("::error::push"), "{failed}");
}

#[test]
fn the_workflow_for_images_that_are_there() {
    let Some(stack) = stack::start() else { return };
    let machine = machine(stack, "github-index", "github");
    let image = format!("{}/github-index", machine.registry);
    let build = format!("docker buildx build --provenance=false --tag {image}:1 --push .");
    let _ = machine.run(&["sh", "-ec"], &build, &[]).ok();
    fs::write(
        machine.dir.join("images.txt"),
        format!("{image}:1\n{image}:2\n"),
    )
    .expect("a list");
    let workflow = yaml("github/index.yml");
    let mut known = BTreeMap::from([
        ("inputs.list".to_owned(), String::new()),
        ("inputs.tag-suffix".to_owned(), String::new()),
    ]);
    // The image's name stands in the script, as every user reads it there.
    let mut steps = workflow["jobs"]["index"]["steps"].clone();
    for step in steps.as_sequence_mut().expect("steps") {
        if let Some(script) = step.get_mut("run") {
            let here = script.as_str().expect("a script");
            let own = sociable_tests::pipeline::image(stack);
            *script = here.replace("ghcr.io/sociable/sociable:0.1.0", own).into();
        }
    }
    let failed = github(&machine, &steps, &mut known).expect_err("one of two images is not there");
    assert_eq!(failed.code, Some(1), "{failed}");
    let summary = fs::read_to_string(machine.dir.join("tmp/summary")).expect("a summary");
    for part in ["| converted | sha256:", "| failed |"] {
        assert!(summary.contains(part), "{summary}");
    }
    machine.indexed(&format!("{image}:1-soci"));
}

/// The script of a GitLab component's job, with inputs.
fn gitlab(file: &str, given: &[(&str, &str)]) -> String {
    let text = text(file);
    let (head, _) = text.split_once("\n---\n").expect("inputs, and jobs");
    let head = super::steps::parse(head, file);
    let known = defaults(&head["spec"]["inputs"], given);
    let jobs = yaml(file);
    let (_, job) = jobs
        .as_mapping()
        .and_then(|jobs| jobs.iter().next())
        .expect("a job");
    let mut script = texts(&job["script"]).join("\n");
    for (name, value) in &known {
        script = script.replace(&format!("$[[ {name} ]]"), value);
    }
    assert!(!script.contains("$[["), "{script}");
    script
}

#[test]
fn the_gitlab_components() {
    let Some(stack) = stack::start() else { return };
    let machine = machine(stack, "gitlab", "gitlab");
    let image = format!("{}/gitlab", machine.registry);
    let variables = [
        ("CI_REGISTRY", &*machine.registry),
        ("CI_REGISTRY_USER", ecr::USER),
        ("CI_REGISTRY_PASSWORD", &machine.password),
        ("CI_REGISTRY_IMAGE", &image),
        ("CI_COMMIT_SHA", "0123abc"),
        ("CI_COMMIT_REF_SLUG", "main"),
    ];
    let own = sociable_tests::pipeline::image(stack);
    let script = gitlab(
        "gitlab/templates/build.yml",
        &[
            ("sociable-image", own),
            (
                "flags",
                "--provenance=false --tag \"$CI_REGISTRY_IMAGE:main\"",
            ),
            ("verify", "true"),
        ],
    );
    // The builder of this machine is another one; a component's input is a boolean, which is not in quotes.
    let script: Vec<_> = script
        .lines()
        .filter(|line| {
            !line.starts_with("docker context create") && !line.starts_with("docker buildx create")
        })
        .collect();
    let built = machine
        .run(&["sh", "-euc"], &script.join("\n"), &variables)
        .ok();
    machine.says_no_secret(&built);
    let report = fs::read_to_string(machine.dir.join("image.env")).expect("the report");
    let report = lines(&report);
    is_there(
        &machine,
        &format!("{image}:0123abc"),
        &report["IMAGE_DIGEST"],
        &report["SOCI_INDEX_DIGEST"],
    );

    // An image that was built otherwise, by a job without docker, in the image of `sociable`.
    let plain = format!(
        "docker buildx build --provenance=false --label other=1 --tag {image}:plain --push ."
    );
    let _ = machine.run(&["sh", "-ec"], &plain, &[]).ok();
    let script = gitlab(
        "gitlab/templates/index.yml",
        &[("images", "$CI_REGISTRY_IMAGE:plain")],
    );
    let docker = format!(
        "docker run --rm --network host --entrypoint sh {} --env SOCIABLE_PLAIN_HTTP $SOCIABLE_IMAGE -euc \"$SCRIPT\"",
        variables.map(|(name, _)| format!("--env {name}")).join(" ")
    );
    let variables = [&variables[..], &[("SCRIPT", &*script)]].concat();
    let indexed = machine.run(&["bash", "-ec"], &docker, &variables).ok();
    machine.says_no_secret(&indexed);
    machine.indexed(&format!("{image}:plain-soci"));
}

#[test]
fn the_shell_recipe() {
    let Some(stack) = stack::start() else { return };
    let machine = machine(stack, "shell-recipe", "shell");
    let image = format!("{}/shell-recipe:1", machine.registry);
    let builder = ("BUILDX_BUILDER", "ci-shell-recipe");
    let script = format!("./build.sh {image} --provenance=false .");
    let built = machine
        .run(
            &["sh", "-ec"],
            &script,
            &[builder, ("SOCIABLE_VERIFY", "true")],
        )
        .ok();
    machine.says_no_secret(&built);
    let report = lines(&built.text());
    assert_eq!(report.len(), 2, "{built}");
    is_there(
        &machine,
        &image,
        &report["IMAGE_DIGEST"],
        &report["SOCI_INDEX_DIGEST"],
    );

    for (arguments, code, part) in [
        ("-h", 0, "Usage: build.sh"),
        ("only-an-image", 2, ""),
        ("", 2, ""),
    ] {
        let done = machine.run(
            &["sh", "-c"],
            &format!("./build.sh {arguments}"),
            &[builder],
        );
        assert_eq!(done.code, Some(code), "{done}");
        assert!(done.text().contains(part), "{done}");
    }
    // A build that fails has docker's exit code, and reports nothing.
    fs::write(
        machine.dir.join("Dockerfile"),
        "FROM scratch\nCOPY nothing /\n",
    )
    .expect("a file");
    let failed = machine.run(&["sh", "-c"], &script, &[builder]);
    assert!(
        failed.code != Some(0) && failed.text().is_empty(),
        "{failed}"
    );
}
