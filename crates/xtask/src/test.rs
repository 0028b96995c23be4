//! `cargo xtask test`: all that must hold before a change is done.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::frontend::{self, Arch};
use crate::sh::Profile;
use crate::{fuzz, plugins, sh, stack};

/// Debian's names of the compressors that the suite compares, and the program each brings.
const TOOLS: [(&str, &str); 3] = [
    ("pigz", "pigz"),
    ("isal", "igzip"),
    ("libdeflate-tools", "libdeflate-gzip"),
];

struct Steps {
    done: Vec<(&'static str, f64, Result<(), String>)>,
}

impl Steps {
    /// Runs one step, timed; a failure does not stop those that do not need it.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        println!("── {name} …");
        let start = Instant::now();
        let outcome = work().map_err(|e| format!("{e:#}"));
        let seconds = start.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => println!("── {name} {seconds:.0} s"),
            Err(why) => println!("── {name} FAILED after {seconds:.0} s: {why}"),
        }
        let fine = outcome.is_ok();
        self.done.push((name, seconds, outcome));
        fine
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let fast = match args {
        [] => false,
        [flag] if flag == "--fast" => true,
        _ => bail!("usage: cargo xtask test [--fast]"),
    };
    let mut steps = Steps { done: Vec::new() };
    let skips = sh::target().join("skipped.txt");
    fs::create_dir_all(sh::target())?;
    fs::write(&skips, "")?;

    steps.step("compressors", || {
        install();
        Ok(())
    });
    lints(&mut steps);
    let mut sociable = None;
    steps.step("build", || {
        sociable = Some(sh::sociable(Profile::Quick)?);
        Ok(())
    });
    let mut frontend = None;
    steps.step("frontend", || {
        let built = frontend::build(Arch::host(), Profile::Quick)?;
        frontend::explains_itself(&built.binary)?;
        frontend = Some(built.directory);
        Ok(())
    });
    let plugins = plugins(&mut steps, &skips);
    let (reference, registries) = go_programs(&mut steps);
    let mut without_stack = None;
    if fast {
        without_stack = Some("--fast starts no container stack".to_owned());
    } else {
        let prepared = steps.step("stack", || {
            without_stack = stack::prepare()?;
            Ok(())
        });
        if !prepared {
            without_stack = Some("the container stack could not be prepared".to_owned());
        }
    }
    steps.step("unit tests", || {
        sh::run(&mut sh::cargo(&[
            "test",
            "--quiet",
            "--workspace",
            "--exclude",
            "sociable-tests",
        ]))
    });
    if let Some(sociable) = sociable {
        steps.step("suite", || {
            let mut suite = sh::cargo(&["test", "--quiet", "--package", "sociable-tests"]);
            suite
                .env("SOCIABLE_BIN", &sociable)
                .env("SOCIABLE_SKIP_LOG", &skips);
            if let Some(reference) = &reference {
                suite.env("SOCIABLE_REFERENCE", reference);
            }
            if let Some(why) = &without_stack {
                suite.env("SOCIABLE_WITHOUT_STACK", why);
            }
            if let Some(frontend) = &frontend {
                suite.env("SOCIABLE_STATIC", frontend);
            }
            if let Some(registries) = &registries {
                suite.env("SOCIABLE_REGISTRIES", registries);
            }
            if let Some(plugins) = &plugins {
                suite.env("SOCIABLE_PLUGINS", plugins);
            }
            if fast {
                suite.env("SOCIABLE_TEST_SCALE", "0.1");
            }
            sh::run(&mut suite)
        });
    }
    if !fast {
        if let Some(why) = frontend::missing(Arch::Arm64) {
            let why = format!("the frontend for arm64: {why}");
            println!("SKIPPED: {why}");
            fs::write(&skips, format!("{}{why}\n", fs::read_to_string(&skips)?))?;
        } else {
            steps.step("frontend for arm64", || {
                frontend::build(Arch::Arm64, Profile::Quick).map(|_| ())
            });
        }
    }
    if !fuzz::possible() {
        let why = "fuzz smoke runs: libFuzzer needs a C++ compiler";
        println!("SKIPPED: {why}");
        fs::write(&skips, format!("{}{why}\n", fs::read_to_string(&skips)?))?;
    } else if !fast {
        steps.step("fuzz", || fuzz::all(12));
    }
    summary(&steps, &fs::read_to_string(&skips)?, fast)
}

fn lints(steps: &mut Steps) {
    steps.step("fmt", || {
        sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))
    });
    steps.step("clippy", || {
        sh::run(&mut sh::cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-Dwarnings",
        ]))
    });
    steps.step("doc", || {
        let mut doc = sh::cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
        sh::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}

/// The policies of `plugins/`, linted, tested and built, where rustc has what it needs for WebAssembly.
fn plugins(steps: &mut Steps, skips: &std::path::Path) -> Option<PathBuf> {
    if !plugins::possible() {
        let why = format!("policies that are components: {}", plugins::MISSING);
        println!("SKIPPED: {why}");
        let before = fs::read_to_string(skips).unwrap_or_default();
        let _ = fs::write(skips, format!("{before}{why}\n"));
        return None;
    }
    let mut built = None;
    steps.step("plugins", || {
        plugins::check()?;
        built = Some(plugins::build()?);
        Ok(())
    });
    built
}

/// The reference and the registries, where there is Go to build them.
fn go_programs(steps: &mut Steps) -> (Option<PathBuf>, Option<PathBuf>) {
    let (mut reference, mut registries) = (None, None);
    if sh::has("go") {
        steps.step("registries", || {
            registries = Some(sh::registries()?);
            Ok(())
        });
        steps.step("reference", || {
            reference = Some(sh::reference()?);
            let unformatted = sh::read(&mut sh::command(
                "gofmt",
                ["-l", "tests/reference", "tests/registries"],
            ))?;
            ensure!(
                unformatted.is_empty(),
                "gofmt: {}",
                String::from_utf8_lossy(&unformatted)
            );
            Ok(())
        });
    }
    (reference, registries)
}

fn summary(steps: &Steps, skips: &str, fast: bool) -> Result<()> {
    println!(
        "\n── summary{}",
        if fast {
            " (fast: small counts, no fuzzing)"
        } else {
            ""
        }
    );
    for (name, seconds, outcome) in &steps.done {
        println!(
            "{:>6.0} s  {:<12} {}",
            seconds,
            name,
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
    }
    let mut skips: Vec<_> = skips.lines().collect();
    skips.sort_unstable();
    skips.dedup();
    for skipped in skips {
        println!("SKIPPED: {skipped}");
    }
    let failed = steps
        .done
        .iter()
        .filter(|s| s.2.is_err())
        .map(|s| s.0)
        .collect::<Vec<_>>();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("All is well.");
    Ok(())
}

/// Installs the compressors where that is possible without asking; the suite says which it had to do without.
fn install() {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(_, program)| !sh::has(program))
        .collect();
    let root = sh::read(&mut sh::command("id", ["-u"])).is_ok_and(|id| id == b"0\n");
    if missing.is_empty() || !root || !sh::has("apt-get") {
        return;
    }
    for (package, program) in missing {
        let apt = |args: &[&str]| {
            let mut apt = sh::command("apt-get", args);
            apt.env("DEBIAN_FRONTEND", "noninteractive")
                .output()
                .is_ok_and(|o| o.status.success())
        };
        let install = ["install", "--yes", "--no-install-recommends", package];
        let installed = apt(&install) || apt(&["update"]) && apt(&install);
        if !installed {
            println!(
                "SKIPPED: {package} could not be installed, so nothing is compressed by {program}"
            );
        }
    }
}
