//! `deploy/kubernetes`: the containers that its manifests start, started by docker with the same arguments, user and limits.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use sociable_tests::frontend::{Builder, buildx};
use sociable_tests::pipeline::Machine;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{Run, ecr, run};

use super::deploy;
use super::steps::{texts, yaml};

/// A machine, and images in three repositories.
fn machine(stack: &'static Stack, name: &str) -> Machine {
    let machine = Machine::new(stack, name, &deploy("kubernetes"));
    for repository in ["a", "b", "c/d"] {
        machine.large(11, &format!("LABEL of={repository}\n"));
        for tag in ["1", "2"] {
            let image = format!("{}/{name}/{repository}:{tag}", stack.registry());
            let mut build = buildx(stack, Builder::Buildkitd, &machine.dir);
            let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
        }
    }
    // The secret, as it is mounted.
    let script = "mkdir -p credentials && printf '{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}' \"$HOST\" \
        \"$(printf %s \"$USER:$PASSWORD\" | base64 -w0)\" >credentials/config.json && chmod -R a+rX credentials";
    let variables = [
        ("HOST", &*machine.registry),
        ("USER", ecr::USER),
        ("PASSWORD", &machine.password),
    ];
    let _ = machine.run(&["bash", "-ec"], script, &variables).ok();
    machine
}

/// Runs a container of `sociable` as restricted as the manifests have it.
fn pod(
    machine: &Machine,
    environment: &BTreeMap<String, String>,
    entry: &str,
    arguments: &[String],
) -> Run {
    let mut words = vec![
        "docker run --rm --network host --user 65532:65532 --read-only --cap-drop ALL".to_owned(),
        "--security-opt no-new-privileges --tmpfs /tmp:mode=1777 --memory 512m --cpus 2".to_owned(),
        format!(
            "--volume {}/credentials:/credentials:ro",
            machine.dir.display()
        ),
        format!("--volume {}/results:/results", machine.dir.display()),
        "--env SOCIABLE_PLAIN_HTTP".to_owned(),
    ];
    let mut variables = Vec::new();
    for (name, value) in environment {
        words.push(format!("--env {name}"));
        variables.push((&**name, &**value));
    }
    words.push(entry.to_owned());
    words.push("$SOCIABLE_IMAGE \"$@\"".to_owned());
    let script = format!("set -- {}\n{}", shell(arguments), words.join(" "));
    machine.run(&["bash", "-ec"], &script, &variables)
}

/// Words as a shell reads them.
fn shell(words: &[String]) -> String {
    let quoted = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// The result lines of a run, as `IMAGE RESULT`.
fn results(done: &Run) -> Vec<String> {
    let text = done.text();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .map(|line| {
            format!(
                "{} {}",
                line["destination"].as_str().expect("a name"),
                line["result"].as_str().expect("a result")
            )
        })
        .collect()
}

#[test]
fn pods_share_a_registry() {
    let Some(stack) = stack::start() else { return };
    let name = "kubernetes";
    let machine = machine(stack, name);
    let job = yaml("kubernetes/job.yaml");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let arguments = texts(&container["args"]);
    let completions = job["spec"]["completions"].as_u64().expect("a number");

    let settings = yaml("kubernetes/settings.yaml");
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in settings["data"].as_mapping().expect("settings") {
        let text = |value: &serde_yaml_ng::Value| value.as_str().expect("a text").to_owned();
        environment.insert(text(name), text(value));
    }
    for variable in container["env"].as_sequence().expect("variables") {
        let text = |key: &str| variable[key].as_str().expect("a text").to_owned();
        environment.insert(text("name"), text("value"));
    }
    let pattern = format!("docker://{}/{name}/*", machine.registry);
    assert!(
        environment
            .insert("REPOSITORY".to_owned(), pattern)
            .is_some()
    );

    let mut run_all = || {
        let mut all = Vec::new();
        for index in 0..completions {
            environment.insert("JOB_COMPLETION_INDEX".to_owned(), index.to_string());
            // Kubernetes puts variables into arguments.
            let expanded = arguments.iter().map(|argument| {
                environment
                    .iter()
                    .fold(argument.clone(), |text, (name, value)| {
                        text.replace(&format!("$({name})"), value)
                    })
            });
            let expanded: Vec<_> = expanded.collect();
            let done = pod(&machine, &environment, "", &expanded).ok();
            machine.says_no_secret(&done);
            all.extend(results(&done));
        }
        all.sort();
        all
    };
    let expected = |result: &str| -> Vec<String> {
        let images = ["a:1", "a:2", "b:1", "b:2", "c/d:1", "c/d:2"];
        images
            .map(|image| format!("docker://{}/{name}/{image}-soci {result}", machine.registry))
            .to_vec()
    };
    assert_eq!(run_all(), expected("converted"));
    assert_eq!(run_all(), expected("unchanged"));
    machine.indexed(&format!("{}/{name}/c/d:2-soci", machine.registry));
}

#[test]
fn the_tekton_task() {
    let Some(stack) = stack::start() else { return };
    let name = "tekton";
    let machine = machine(stack, name);
    let task = yaml("kubernetes/tekton-task.yaml");
    let step = &task["spec"]["steps"][0];
    let results = machine.dir.join("results");
    fs::create_dir_all(&results).expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&results, open).expect("a directory for everybody");
    let image = format!("{}/{name}/a:1", machine.registry);
    let mut environment = BTreeMap::new();
    for variable in step["env"].as_sequence().expect("variables") {
        let text = |key: &str| variable[key].as_str().expect("a text").to_owned();
        // What Tekton puts in.
        let value = text("value")
            .replace("$(params.image)", &image)
            .replace("$(params.suffix)", "-soci")
            .replace("$(params.soci-version)", "1,2")
            .replace("$(workspaces.dockerconfig.path)", "/credentials")
            .replace("$(results.image.path)", "/results/image")
            .replace("$(results.image-digest.path)", "/results/digest")
            .replace("$(results.soci-index-digest.path)", "/results/index");
        assert!(!value.contains("$("), "{value}");
        environment.insert(text("name"), value);
    }
    let script = step["script"].as_str().expect("a script").to_owned();
    let done = pod(
        &machine,
        &environment,
        "--entrypoint sh",
        &["-c".to_owned(), script],
    )
    .ok();
    machine.says_no_secret(&done);
    let read = |file: &str| fs::read_to_string(results.join(file)).expect("a result");
    assert_eq!(read("image"), format!("{image}-soci@{}", read("digest")));
    assert_eq!(
        read("index").lines().count(),
        2,
        "one of each generation: {done}"
    );
    for index in read("index").lines() {
        let manifest = machine.manifest(&format!("{}/{name}/a@{index}", machine.registry));
        assert!(manifest.to_string().contains("soci"), "{manifest}");
    }
}
