//! `cargo xtask bench --policies`: what it costs to ask a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{LAYERS, Table, Took, Tools, copy};
use crate::{plugins, sh};

/// A policy that does what is done without one, asked as often as it wants to be.
struct Guest {
    name: &'static str,
    component: PathBuf,
    parameters: &'static str,
}

/// Its spans begin with directories: with these parameters never, but it is asked at every entry.
const NEVER: &str = "least=1099511627776";

pub(super) fn run(tools: &Tools, rounds: usize, table: &mut Table) -> Result<()> {
    let guests = guests(tools)?;
    let mut calls = sh::cargo(&["bench", "--quiet", "--package", "sociable-policy-wasm"]);
    calls.args(["--bench", "calls", "--"]);
    sh::run(calls.args(guests.iter().map(|guest| &guest.component)))?;

    let image = tools.image("image", &LAYERS)?;
    let mut took: Vec<Vec<Took>> = vec![Vec::new(); guests.len() + 1];
    // The first round compiles what is not in the cache, and does not count.
    for round in 0..=rounds {
        let mut made = Vec::new();
        for (number, took) in took.iter_mut().enumerate() {
            let guest = number.checked_sub(1).and_then(|number| guests.get(number));
            let (t, digest) = tools.convert_with(&image, guest)?;
            let name = guest.map_or("no policy", |guest| guest.name);
            println!("round {round}, {name}: {:.2} s, CPU {:.2} s", t.wall, t.cpu);
            made.push(digest);
            if round > 0 {
                took.push(t);
            }
        }
        ensure!(
            made.iter().all(|digest| *digest == made[0]),
            "the policies do not do what is done without one: {made:?}"
        );
    }
    let (without, with) = took.split_first().context("nothing was measured")?;
    for (guest, took) in guests.iter().zip(with) {
        let what = format!("convert, {}", guest.name);
        table.pair(&what, "no policy", without, took);
    }
    Ok(())
}

/// In Rust: asked as rarely as the default; and those that `sociable policy new` begins with, in each language.
fn guests(tools: &Tools) -> Result<Vec<Guest>> {
    let rust = plugins::build()?;
    let mut guests = vec![Guest {
        name: "Rust, asked once a span",
        component: rust.join("sociable_misbehaving.wasm"),
        parameters: "do=behave",
    }];
    for (language, name) in [("rust", "Rust"), ("js", "JavaScript"), ("python", "Python")] {
        let component = tools.begun(language).with_context(|| {
            format!("the policy in {name} cannot be built: see docs/policies.md for what it takes")
        })?;
        guests.push(Guest {
            name,
            component,
            parameters: NEVER,
        });
    }
    Ok(guests)
}

impl Tools {
    /// The component that a new policy is, built as its README says.
    fn begun(&self, language: &str) -> Result<PathBuf> {
        let place = self.place.join("policies");
        fs::create_dir_all(&place)?;
        let name = format!("begun-{language}");
        let project = place.join(&name);
        let component = place.join(format!("{name}.wasm"));
        if component.is_file() {
            return Ok(component);
        }
        super::remove(&project)?;
        let mut new = Command::new(&self.sociable);
        new.args(["policy", "new", &name, "--lang", language, "--sdk"]);
        new.arg(sh::root().join("crates/policy-sdk"));
        sh::run(new.current_dir(&place))?;
        let command = match language {
            "rust" => "cargo build --quiet --release --target wasm32-unknown-unknown",
            "js" => "npm install --silent && npm run --silent build",
            _ => {
                "python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt && \
                  .venv/bin/componentize-py --quiet -d wit -w policy componentize --stub-wasi -p src -o begun-python.wasm app"
            }
        };
        let mut shell = sh::command("sh", ["-ec", command]);
        shell.current_dir(&project).env_remove("CARGO_TARGET_DIR");
        sh::run(&mut shell)?;
        let built = match language {
            "rust" => "target/wasm32-unknown-unknown/release/begun_rust.wasm".to_owned(),
            _ => format!("{name}.wasm"),
        };
        fs::copy(project.join(built), &component)?;
        Ok(component)
    }

    /// Converts a fresh copy; the manifest's digest says whether the results are the same.
    fn convert_with(&self, image: &Path, guest: Option<&Guest>) -> Result<(Took, Value)> {
        let copy = copy(image, &self.place.join("copy"))?;
        let layout = format!("oci:{}", copy.display());
        let mut command = Command::new(&self.sociable);
        command.args(["convert", &layout, &layout, "--no-cache"]);
        if let Some(guest) = guest {
            let (component, parameters) = (guest.component.display(), guest.parameters);
            command.arg("--policy");
            command.arg(format!("span={component}={parameters}"));
        } else {
            command.args(["--policy", "size"]);
        }
        let (took, _) = self.measure(&command)?;
        let index: Value = serde_json::from_slice(&fs::read(copy.join("index.json"))?)?;
        Ok((took, ztocs(&copy, &index)?))
    }
}

/// The zTOCs of all SOCI indexes of a layout: the indexes themselves name the policy.
fn ztocs(layout: &Path, index: &Value) -> Result<Value> {
    let blob = |digest: &Value| -> Result<Value> {
        let digest = digest.as_str().context("no digest")?.replacen(':', "/", 1);
        let bytes = fs::read(layout.join("blobs").join(digest))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let mut found = Vec::new();
    let mut open = vec![index.clone()];
    while let Some(document) = open.pop() {
        for entry in document["manifests"].as_array().into_iter().flatten() {
            open.push(blob(&entry["digest"])?);
        }
        let layers = document["layers"].as_array().into_iter().flatten();
        found.extend(
            layers
                .filter(|layer| {
                    layer["mediaType"]
                        .as_str()
                        .is_some_and(|kind| kind.contains("octet-stream"))
                })
                .map(|layer| layer["digest"].clone()),
        );
    }
    ensure!(!found.is_empty(), "no zTOC in {}", layout.display());
    found.sort_by_key(ToString::to_string);
    Ok(found.into())
}
