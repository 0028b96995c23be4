//! A build that is stopped by Ctrl-C leaves no tag, and nothing that would disturb the next one.

use std::fs;

use sociable_tests::frontend::{BUILDERS, Builder, base};
use sociable_tests::rng::Rng;
use sociable_tests::run;
use sociable_tests::stack::{self, Stack};

use super::project::Project;

fn project(stack: &'static Stack, name: &str, size: usize, last: &str) -> Project {
    let noise = Rng::new(41).noise(size);
    let dockerfile = format!("FROM {}\nCOPY large /{name}\n{last}", base(stack));
    let files: &[(&str, &[u8])] = &[("large", &noise), ("Dockerfile", dockerfile.as_bytes())];
    Project::new(stack, name, files)
}

/// Starts a build that pushes an image, and sends SIGINT to docker as soon as it prints this line.
#[track_caller]
fn stop_at(project: &Project, builder: Builder, line: &str) {
    let repo = format!("REPO={}", project.repository);
    let mut build = project.sociable(builder, &["OUTPUT=image", &repo]);
    build.args(["--tag", &project.image("1"), "--push", "."]);
    let log = project.dir.join(format!("{}.log", builder.word()));
    // Docker and its arguments follow the word `env`.
    let words = build.get_args().skip_while(|word| *word != "env");
    let script = format!(
        "set -m\n\"$@\" >{log} 2>&1 &\n\
        for ((i = 0; i < 600; i++)); do grep -q '{line}' {log} && break; sleep 0.05; done\n\
        grep '{line}' {log} >&2 || exit 99\nkill -INT $!\nwait $!",
        log = log.display()
    );
    let mut command = project.stack.command(["bash", "-c", &script, "stop"]);
    let stopped = run(command.args(words).current_dir(&project.dir));
    let log = fs::read_to_string(&log).unwrap_or_default();
    let code = stopped.code.unwrap_or_default();
    assert!(code != 0 && code != 99, "{stopped}\n{log}");
    assert!(log.contains("cancel"), "{log}");
    let list = format!("crane ls {}", project.repository);
    assert_eq!(project.stack.run(&list).text(), "");
}

#[test]
fn while_a_command_runs() {
    let Some(stack) = stack::start() else { return };
    for builder in BUILDERS {
        let name = format!("cancelled-command-{}", builder.word());
        let project = project(stack, &name, 2 << 20, "RUN echo be''gun && sleep 100\n");
        stop_at(&project, builder, " begun$");
    }
}

#[test]
fn while_a_layer_is_packed_and_pushed() {
    let Some(stack) = stack::start() else { return };
    for builder in BUILDERS {
        let name = format!("cancelled-layer-{}", builder.word());
        let project = project(stack, &name, 32 << 20, "");
        stop_at(&project, builder, "pack and index: .*COPY large");
        stop_at(&project, builder, "sociable] push");
        let _ = project.push_image(builder, "2", &[]);
        project.verify(&format!("docker://{}", project.image("2")), 1);
    }
}
