//! `cargo xtask bench --registry`: from a registry to the same registry, on the stack that tests use.
//!
//! The other sides are today's way (`ctr images pull`, `soci create`, `soci push`, as the pipelines that people copy do it) and
//! `crane cp`, which only moves bytes and is the floor.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{Table, Took, Tools};
use crate::sh;

const NAME: &str = "bench";
const PORT: &str = "5077";
const TLS_PORT: &str = "5078";

/// The stack's registry.
pub(super) const HOST: &str = "127.0.0.1:5077";

/// The stack, up for as long as this lives.
pub(super) struct Stack;

impl Stack {
    fn script(args: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(sh::root().join("tests/stack/stack.sh"))
            .args(args)
            .env("STACK", NAME)
            .env("REGPORT", PORT)
            .env("TLSPORT", TLS_PORT)
            .env("STACK_BINDS", sh::root());
        command
    }

    pub(super) fn up() -> Result<Self> {
        sh::run(&mut Self::script(&["down"]))?;
        sh::run(&mut Self::script(&["up"]))?;
        Ok(Self)
    }

    /// Runs a script inside, timed.
    pub(super) fn time(script: &str) -> Result<f64> {
        Self::time_and_log(script).map(|(seconds, _)| seconds)
    }

    /// The same, with what it wrote to standard error.
    pub(super) fn time_and_log(script: &str) -> Result<(f64, String)> {
        let start = Instant::now();
        let output = Self::script(&["exec", "bash", "-euc", script])
            .stdin(Stdio::null())
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "{script}: {}\n{log}",
            output.status
        );
        Ok((start.elapsed().as_secs_f64(), log))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) = sh::run(&mut Self::script(&["down"])) {
            eprintln!("the stack did not stop: {error:#}");
        }
    }
}

/// A second registry, with storage of its own; it ends with its standard input.
struct Elsewhere {
    process: Child,
    address: String,
}

impl Elsewhere {
    fn start(tools: &Tools) -> Result<Self> {
        let root = tools.place.join("elsewhere");
        super::remove(&root)?;
        std::fs::create_dir_all(&root)?;
        let mut process = Command::new(sh::registries()?)
            .arg("-root")
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("no standard output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

pub(super) fn wall(seconds: f64) -> Took {
    Took {
        wall: seconds,
        cpu: f64::NAN,
        rss: f64::NAN,
    }
}

/// Two images that differ in a small last layer, one after the other, with a cache that is empty before.
fn on_one_base(
    tools: &Tools,
    round: usize,
    convert: &dyn Fn(&str, &str) -> Command,
) -> Result<[Took; 2]> {
    let cache = tools.place.join("cache");
    super::remove(&cache)?;
    let took = |name: &str| {
        let mut convert = convert(name, &format!("{name}{round}"));
        Ok::<_, anyhow::Error>(tools.measure(convert.arg("--cache-dir").arg(&cache))?.0)
    };
    Ok([took("app")?, took("other")?])
}

pub(super) fn run(tools: &Tools, rounds: usize, table: &mut Table) -> Result<()> {
    let image = tools.image("image", &super::LAYERS)?;
    let _stack = Stack::up()?;
    let host = HOST;
    let registry = Elsewhere::start(tools)?;
    let elsewhere = &registry.address;
    let sociable = |args: &[&str]| {
        let mut command = Command::new(&tools.sociable);
        command
            .args(args)
            .args(["--plain-http", host, "--plain-http", elsewhere]);
        command
    };
    let reference = |name: &str| format!("docker://{host}/{name}:1");
    let other = tools.on_the_same_base(&image)?;
    for (layout, name) in [(image, "app"), (other, "other")] {
        let layout = format!("oci:{}", layout.display());
        sh::run(sociable(&["copy", &layout, &reference(name)]).stdout(Stdio::null()))?;
    }

    let (mut theirs, mut ours, mut again) = (vec![], vec![], vec![]);
    let (mut floor, mut moved) = (vec![], vec![]);
    let (mut first, mut second) = (vec![], vec![]);
    for round in 1..=rounds {
        // Into a repository of its own, so that every byte has to be moved and every layer to be read.
        let app = format!("{host}/theirs{round}");
        Stack::time(&format!("crane cp --insecure {host}/app:1 {app}:1"))?;
        theirs.push(wall(Stack::time(&format!(
            "ctr images pull --plain-http {app}:1 >/dev/null
             soci create {app}:1 >/dev/null
             soci push --plain-http {app}:1 >/dev/null"
        ))?));
        Stack::time(&format!(
            "ctr images rm --sync {app}:1; rm -rf /var/lib/soci-snapshotter-grpc/content /var/lib/soci-snapshotter-grpc/artifacts.db"
        ))?;

        let target = reference(&format!("ours{round}"));
        let convert = sociable(&[
            "convert",
            "--quiet",
            "--no-cache",
            &reference("app"),
            &target,
        ]);
        ours.push(tools.measure(&convert)?.0);
        again.push(tools.measure(&convert)?.0);

        let [one, other] = on_one_base(tools, round, &|name, target| {
            sociable(&["convert", "--quiet", &reference(name), &reference(target)])
        })?;
        first.push(one);
        second.push(other);

        // Within a registry nobody moves layers.
        floor.push(wall(Stack::time(&format!(
            "crane cp --insecure {host}/app:1 {elsewhere}/floor{round}:1"
        ))?));
        let target = format!("docker://{elsewhere}/moved{round}:1");
        let convert = sociable(&[
            "convert",
            "--quiet",
            "--no-cache",
            &reference("app"),
            &target,
        ]);
        moved.push(tools.measure(&convert)?.0);
        println!(
            "registry, round {round}: today {:.2} s, sociable {:.2} s, again {:.2} s, another on the same base {:.2} s; \
             crane cp {:.2} s, sociable {:.2} s",
            theirs[round - 1].wall,
            ours[round - 1].wall,
            again[round - 1].wall,
            second[round - 1].wall,
            floor[round - 1].wall,
            moved[round - 1].wall,
        );
    }
    table.pair(
        "index an image in a registry",
        "ctr pull, soci create, soci push",
        &theirs,
        &ours,
    );
    table.pair(
        "the same image once more",
        "ctr pull, soci create, soci push",
        &theirs,
        &again,
    );
    table.pair(
        "another image on the same base",
        "sociable, the first image",
        &first,
        &second,
    );
    table.pair(
        "into another registry",
        "crane cp, no index",
        &floor,
        &moved,
    );
    Ok(())
}
