//! `cargo xtask test`: all that must hold before a change is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::frontend::{self, Arch};
use crate::{deploy, fuzz, image, plugins, sh, stack};

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
    // Downloads, for the most part: while other things compile.
    let deploy_missing = deploy::missing();
    let prepared = thread::spawn(move || match deploy_missing {
        Some(_) => Ok(()),
        None => deploy::prepare(),
    });
    lints(&mut steps);
    let mut made = Made::default();
    let built = steps.step("build", || {
        let built = frontend::for_tests()?;
        let named = std::env::var_os("SOCIABLE_BIN").map(PathBuf::from);
        made.sociable = Some(named.unwrap_or_else(|| built.join("sociable")));
        made.statically = Some(built);
        Ok(())
    });
    if let Some(built) = &made.statically {
        steps.step("frontend by hand", || {
            frontend::explains_itself(&built.join("sociable-frontend"))
        });
    }
    made.plugins = plugins(&mut steps, &skips);
    if !fast {
        made.interpreted = interpreted_plugins(&mut steps, &skips);
    }
    go_programs(&mut steps, &mut made);
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
    if let Some(why) = deploy_missing {
        skip(&skips, &format!("deploy/tests: {why}"))?;
    } else {
        steps.step("deploy", || {
            prepared.join().expect("no panic")?;
            for why in deploy::check(made.sociable.as_deref())? {
                skip(&skips, &why)?;
            }
            Ok(())
        });
    }
    if built {
        steps.step("tests", || {
            tests(&made, without_stack.as_deref(), fast, &skips)
        });
    }
    if !fast {
        if let Some(why) = frontend::missing(Arch::Arm64) {
            let why = format!("the frontend for arm64: {why}");
            skip(&skips, &why)?;
        } else {
            steps.step("frontend for arm64", || frontend::check(Arch::Arm64));
        }
    }
    if !fuzz::possible() {
        let why = "fuzz smoke runs: libFuzzer needs a C++ compiler";
        skip(&skips, why)?;
    } else if !fast {
        steps.step("fuzz", || fuzz::all(8));
    }
    summary(&steps, &fs::read_to_string(&skips)?, fast)
}

/// What the tests run, as far as it could be made.
#[derive(Default)]
struct Made {
    sociable: Option<PathBuf>,
    /// The directory of the static frontend and of `sociable`.
    statically: Option<PathBuf>,
    plugins: Option<PathBuf>,
    interpreted: Option<PathBuf>,
    reference: Option<PathBuf>,
    registries: Option<PathBuf>,
    /// What is in the image of `sociable` beside it.
    image_parts: Option<PathBuf>,
}

/// Unit tests, and the suite: the finished program, against everything else.
fn tests(made: &Made, without_stack: Option<&str>, fast: bool, skips: &Path) -> Result<()> {
    let mut tests = frontend::of_all("test")?;
    // Much of a test's time it waits, for registries, builders and snapshotters.
    let threads = thread::available_parallelism().map_or(1, usize::from) + 2;
    tests
        .arg("--no-fail-fast")
        .env("SOCIABLE_SKIP_LOG", skips)
        .env("RUST_TEST_THREADS", threads.to_string());
    let paths = [
        ("SOCIABLE_BIN", &made.sociable),
        ("SOCIABLE_REFERENCE", &made.reference),
        ("SOCIABLE_STATIC", &made.statically),
        ("SOCIABLE_REGISTRIES", &made.registries),
        ("SOCIABLE_IMAGE_PARTS", &made.image_parts),
        ("SOCIABLE_PLUGINS", &made.plugins),
        ("SOCIABLE_PLUGINS_INTERPRETED", &made.interpreted),
    ];
    let paths = paths.iter();
    tests.envs(paths.filter_map(|(name, path)| Some((name, path.as_ref()?))));
    if let Some(why) = without_stack {
        tests.env("SOCIABLE_WITHOUT_STACK", why);
    }
    if fast {
        tests.env("SOCIABLE_TEST_SCALE", "0.1");
    }
    sh::run(&mut tests)
}

/// Says what is left out, now and in the summary.
fn skip(skips: &Path, why: &str) -> Result<()> {
    println!("SKIPPED: {why}");
    let before = fs::read_to_string(skips)?;
    fs::write(skips, format!("{before}{why}\n"))?;
    Ok(())
}

fn lints(steps: &mut Steps) {
    steps.step("fmt", || {
        sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))
    });
    steps.step("clippy", || {
        let mut clippy = frontend::of_all("clippy")?;
        sh::run(clippy.args(["--all-targets", "--", "-Dwarnings"]))
    });
    steps.step("doc", || {
        let mut doc = frontend::of_all("doc")?;
        sh::run(doc.arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}

/// The policies of `plugins/`, linted, tested and built, where rustc has what it needs for WebAssembly.
fn plugins(steps: &mut Steps, skips: &Path) -> Option<PathBuf> {
    if !plugins::possible() {
        let why = format!("policies that are components: {}", plugins::MISSING);
        skip(skips, &why).ok()?;
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

/// Those in JavaScript and Python, tested and built, where there are their tools.
fn interpreted_plugins(steps: &mut Steps, skips: &Path) -> Option<PathBuf> {
    if let Some(why) = plugins::interpreted_missing() {
        let why = format!("policies in JavaScript and Python: {why}");
        skip(skips, &why).ok()?;
        return None;
    }
    let mut built = None;
    steps.step("plugins in JavaScript and Python", || {
        built = Some(plugins::interpreted()?);
        Ok(())
    });
    built
}

/// The reference, the registries, and what is in the image of `sociable`, where there is Go to build them.
fn go_programs(steps: &mut Steps, made: &mut Made) {
    if !sh::has("go") {
        return;
    }
    steps.step("registries", || {
        made.registries = Some(sh::registries()?);
        Ok(())
    });
    steps.step("parts of the image", || {
        made.image_parts = Some(image::parts(Arch::host())?);
        Ok(())
    });
    steps.step("reference", || {
        made.reference = Some(sh::reference()?);
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
    for (package, program) in missing {
        if !sh::apt_install(&[package]) {
            println!(
                "SKIPPED: {package} could not be installed, so nothing is compressed by {program}"
            );
        }
    }
}
