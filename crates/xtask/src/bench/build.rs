//! `cargo xtask bench --build`: a build with an index against a build without, and against today's two stages.
//!
//! Everything runs on the stack that tests use, on the BuildKit of today. Before each build its cache is emptied, so that the context
//! is sent, files are copied and layers are made every time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::registry::{HOST, Stack, wall};
use super::{Table, Tools};
use crate::frontend::{self, Arch, With};
use crate::sh;

/// The layers, and a small file on top that changes.
const DOCKERFILE: &str =
    "FROM scratch\nCOPY a /\nCOPY b /\nCOPY c /\nCOPY small /small\nCMD [\"/small\"]\n";

/// A context of the files of the image that the other measurements convert; kept for the next time.
fn context(tools: &Tools) -> Result<PathBuf> {
    let context = tools.place.join("build-context");
    if context.join("Dockerfile").is_file() {
        return Ok(context);
    }
    super::remove(&context)?;
    let image = tools.image("image", &super::LAYERS)?;
    let blob = |descriptor: &Value| -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        Ok(image.join("blobs").join(digest.replace(':', "/")))
    };
    let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let index = read(&image.join("index.json"))?;
    let manifest = read(&blob(&index["manifests"][0])?)?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    for (layer, name) in layers.iter().zip(["a", "b", "c"]) {
        let dir = context.join(name);
        fs::create_dir_all(&dir)?;
        sh::run(
            sh::command("tar", ["-xzf"])
                .arg(blob(layer)?)
                .arg("-C")
                .arg(&dir),
        )?;
    }
    fs::write(context.join("small"), "0")?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    Ok(context)
}

pub(super) fn run(tools: &Tools, rounds: usize, table: &mut Table) -> Result<()> {
    let context = context(tools)?;
    frontend::build(Arch::host(), With::Nothing)?;
    let image = frontend::context()?;
    let _stack = Stack::up()?;
    let (context, image) = (context.display(), image.display());
    let buildx = "docker buildx build --builder rem --progress plain --provenance=false";
    Stack::time(&format!("{buildx} --tag {HOST}/sociable:1 --push {image}"))?;
    let sociable = format!(
        "{buildx} --build-arg BUILDKIT_SYNTAX={HOST}/sociable:1 --build-arg SOCI_PLAIN_HTTP={HOST}"
    );
    let empty = || Stack::time("docker buildx prune --builder rem --all --force >/dev/null");
    let [mut plain, mut layout, mut stages, mut pushed, mut again] = [const { Vec::new() }; 5];
    for round in 1..=rounds {
        empty()?;
        plain.push(wall(Stack::time(&format!(
            "{buildx} --output type=oci,dest=/tmp/plain.tar {context}"
        ))?));
        empty()?;
        layout.push(wall(Stack::time(&format!(
            "{sociable} --build-arg SOCI_OUTPUT=layout --output type=tar,dest=/tmp/layout.tar {context}"
        ))?));
        Stack::time("rm /tmp/plain.tar /tmp/layout.tar")?;

        empty()?;
        let app = format!("{HOST}/stages{round}:1");
        stages.push(wall(Stack::time(&format!(
            "{buildx} --tag {app} --push {context}
             ctr images pull --plain-http {app} >/dev/null
             soci create {app} >/dev/null
             soci push --plain-http {app} >/dev/null"
        ))?));
        Stack::time(&format!(
            "ctr images rm --sync {app}; rm -rf /var/lib/soci-snapshotter-grpc/content /var/lib/soci-snapshotter-grpc/artifacts.db"
        ))?;
        empty()?;
        let app = format!("{HOST}/pushed{round}");
        let push = format!(
            "{sociable} --build-arg SOCI_OUTPUT=image --build-arg SOCI_REPO={app} --tag {app}:1 --push {context}"
        );
        pushed.push(wall(Stack::time(&push)?));
        fs::write(
            tools.place.join("build-context/small"),
            format!("{round} {}", std::process::id()),
        )?;
        let (took, log) = Stack::time_and_log(&push)?;
        again.push(wall(took));
        let packed = done_again(&log);
        ensure!(packed == 1, "{packed} layers were packed again:\n{log}");
        println!(
            "build, round {round}: without index {:.2} s, with {:.2} s; today {:.2} s, sociable {:.2} s, one file changed {:.2} s",
            plain[round - 1].wall,
            layout[round - 1].wall,
            stages[round - 1].wall,
            pushed[round - 1].wall,
            again[round - 1].wall,
        );
    }
    let today = "build and push, ctr pull, soci create, soci push";
    table.pair(
        "build into a file",
        "buildx -o type=oci, no index",
        &plain,
        &layout,
    );
    table.pair("build and push", today, &stages, &pushed);
    table.pair("one small file changed", today, &stages, &again);
    Ok(())
}

/// How many layers a build has packed, by its log: those that are not marked as cached.
fn done_again(log: &str) -> usize {
    let step = |line: &str| line.split(' ').next().map(str::to_owned);
    let named = log
        .lines()
        .filter(|line| line.contains("[sociable] pack and index"));
    let mut steps: Vec<_> = named.filter_map(step).collect();
    steps.sort();
    steps.dedup();
    let cached = |step: &String| log.lines().any(|line| line == format!("{step} CACHED"));
    steps.iter().filter(|step| !cached(step)).count()
}
