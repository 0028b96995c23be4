//! `cargo xtask bench`: see `benches/README.md`.

mod build;
mod effect;
mod policies;
mod registry;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::sh::{self, Found, mb};

/// The reference's own identifier: with it, both must write the same bytes.
const TOOL: &str = "AWS SOCI CLI v0.2";

/// Megabytes of tar in the layers of the image.
const LAYERS: [u64; 3] = [850, 335, 245];

struct Tools {
    sociable: PathBuf,
    reference: PathBuf,
    measure: PathBuf,
    place: PathBuf,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut rounds, mut markdown) = (3, false);
    let (mut registry, mut build, mut effect, mut policies) = (false, false, false, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => {
                rounds = args
                    .next()
                    .context("--rounds of what?")?
                    .parse()
                    .context("--rounds")?;
            }
            "--markdown" => markdown = true,
            "--registry" => registry = true,
            "--build" => build = true,
            "--effect" => effect = true,
            "--policies" => policies = true,
            other => bail!(
                "what is {other:?}? usage: cargo xtask bench [--registry | --build | --policies | --effect] [--rounds N] [--markdown]"
            ),
        }
    }
    ensure!(rounds > 0, "no rounds, no results");
    let place = sh::target().join("bench");
    fs::create_dir_all(&place)?;
    if effect {
        return effect::run(&place, rounds, markdown);
    }
    let reference = sh::reference()
        .context("the comparison needs the SOCI Go library: install Go and a C compiler")?;
    sh::run(&mut sh::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "sociable-tests",
        "--bin",
        "sociable-measure",
    ]))?;
    let tools = Tools {
        sociable: sh::sociable()?,
        reference,
        measure: sh::target().join("release/sociable-measure"),
        place,
    };

    let mut table = Table {
        markdown,
        rows: Vec::new(),
    };
    if registry {
        registry::run(&tools, rounds, &mut table)?;
        table.print(rounds);
        return Ok(());
    }
    if policies {
        policies::run(&tools, rounds, &mut table)?;
        table.print(rounds);
        return Ok(());
    }
    if build {
        build::run(&tools, rounds, &mut table)?;
        table.print(rounds);
        return Ok(());
    }
    for (name, layers) in [
        ("image", &LAYERS[..]),
        ("giant layer", &[LAYERS.iter().sum()]),
    ] {
        let image = tools.image(name, layers)?;
        let [theirs, ours] = tools.convert(&image, rounds)?;
        table.pair(&format!("convert, {name}"), "soci library", &theirs, &ours);
    }
    let (dir, files) = sh::real_directory(100_000_000, 1_000_000_000);
    let [theirs, ours] = tools.pack(&dir, rounds)?;
    let gzip = if sh::has("pigz") {
        "tar | pigz -6"
    } else {
        "tar | gzip -6"
    };
    table.pair(
        &format!("pack, {} in {} files", mb(sh::total(&files)), files.len()),
        gzip,
        &theirs,
        &ours,
    );
    table.print(rounds);
    Ok(())
}

/// What a command took; what was not measured is no number.
#[derive(Clone, Debug)]
struct Took {
    wall: f64,
    cpu: f64,
    rss: f64,
}

impl Tools {
    /// Runs a command, measured: what it took and what it printed last.
    fn measure(&self, command: &Command) -> Result<(Took, String)> {
        let report = self.place.join("report.json");
        let mut measured = Command::new(&self.measure);
        measured
            .arg(&report)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null());
        let printed = sh::read(&mut measured)?;
        let report: Value = serde_json::from_slice(&fs::read(&report)?)?;
        let number = |key: &str| {
            report[key]
                .as_f64()
                .with_context(|| format!("no {key} measured"))
        };
        let took = Took {
            wall: number("wall")?,
            cpu: number("user")? + number("system")?,
            rss: number("max_rss")? / 1e6,
        };
        Ok((
            took,
            String::from_utf8_lossy(&printed)
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned(),
        ))
    }

    /// An image of so many megabytes of tar a layer, of this machine's own files; kept for the next time.
    fn image(&self, name: &str, layers: &[u64]) -> Result<PathBuf> {
        let image = self.place.join(name.replace(' ', "-") + "-image");
        if image.join("index.json").is_file() {
            return Ok(image);
        }
        let goroot = sh::read(&mut sh::command("go", ["env", "GOROOT"]))?;
        let goroot = String::from_utf8_lossy(&goroot).trim().to_owned();
        let places = [
            sh::sysroot(),
            goroot.into(),
            "/usr/lib".into(),
            "/usr/share".into(),
        ];
        let mut files = places.iter().flat_map(|p| sh::files(p));
        create_layout(&image)?;
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for megabytes in layers {
            let chosen = take(&mut files, megabytes * 1_000_000);
            println!(
                "Making a layer of {} files, {} (once) …",
                chosen.len(),
                mb(sh::total(&chosen))
            );
            ensure!(
                !chosen.is_empty(),
                "this machine has too few files for the image"
            );
            let (descriptor, diff_id) = self.layer(&image, &chosen)?;
            descriptors.push(descriptor);
            diff_ids.push(diff_id);
        }
        finish_layout(&image, &descriptors, &diff_ids)?;
        Ok(image)
    }

    /// The same image with another last layer, a small one.
    fn on_the_same_base(&self, image: &Path) -> Result<PathBuf> {
        let other = copy(image, &self.place.join("other-image"))?;
        let blob = |descriptor: &Value| -> Result<Value> {
            let digest = descriptor["digest"].as_str().context("no digest")?;
            let file = digest.replacen(':', "/", 1);
            let bytes = fs::read(other.join("blobs").join(file))?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        let mut index: Value = serde_json::from_slice(&fs::read(other.join("index.json"))?)?;
        let mut manifest = blob(&index["manifests"][0])?;
        let mut config = blob(&manifest["config"])?;
        let program = Found {
            size: fs::metadata(&self.sociable)?.len(),
            path: self.sociable.clone(),
        };
        let (layer, diff_id) = self.layer(&other, &[program])?;
        let last = |list: &mut Value, new: Value| {
            let list = list.as_array_mut().context("no list")?;
            *list.last_mut().context("no layers")? = new;
            anyhow::Ok(())
        };
        last(&mut manifest["layers"], layer)?;
        last(&mut config["rootfs"]["diff_ids"], diff_id.into())?;
        let add = |document: &Value, old: &Value| {
            let media_type = old["mediaType"].as_str().context("no media type")?;
            add(&other, media_type, document.to_string().as_bytes())
        };
        manifest["config"] = add(&config, &manifest["config"])?;
        index["manifests"][0] = add(&manifest, &index["manifests"][0])?;
        fs::write(other.join("index.json"), index.to_string())?;
        Ok(other)
    }

    /// A layer of these files, in a layout. And its diff ID.
    fn layer(&self, image: &Path, files: &[Found]) -> Result<(Value, String)> {
        let (list, tar) = (self.place.join("list"), self.place.join("layer.tar"));
        let mut names = File::create(&list)?;
        for file in files {
            names.write_all(
                file.path
                    .strip_prefix("/")
                    .unwrap_or(&file.path)
                    .as_os_str()
                    .as_bytes(),
            )?;
            names.write_all(b"\0")?;
        }
        let mut command = sh::command(
            "tar",
            ["-C", "/", "--format=pax", "--null", "--no-recursion", "-T"],
        );
        sh::run(command.arg(&list).arg("-cf").arg(&tar))?;
        compress(&self.reference, &tar, image)
    }

    /// Both converters in turn, each round in place on a fresh copy. Their results must be the same bytes.
    fn convert(&self, image: &Path, rounds: usize) -> Result<[Vec<Took>; 2]> {
        let mut took = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            let mut written = Vec::new();
            for (n, who) in ["reference", "sociable"].into_iter().enumerate() {
                let copy = copy(image, &self.place.join("copy"))?;
                let mut command;
                if n == 0 {
                    command = Command::new(&self.reference);
                    command.args(["convert", "-tool", TOOL]).arg(&copy);
                } else {
                    command = Command::new(&self.sociable);
                    let layout = format!("oci:{}", copy.display());
                    command.args([
                        "convert",
                        &layout,
                        &layout,
                        "--no-cache",
                        "--build-tool-identifier",
                        TOOL,
                    ]);
                }
                let (t, _) = self.measure(&command)?;
                println!("{}, round {round}, {who}: {:.2} s", image.display(), t.wall);
                took[n].push(t);
                let index: Value = serde_json::from_slice(&fs::read(copy.join("index.json"))?)?;
                written.push(index["manifests"][0]["digest"].clone());
            }
            ensure!(
                written[0] == written[1],
                "the results differ: {} and {}",
                written[0],
                written[1]
            );
        }
        Ok(took)
    }

    /// Packing against tar and gzip, which make a layer but neither its digests nor its index.
    fn pack(&self, dir: &Path, rounds: usize) -> Result<[Vec<Took>; 2]> {
        let gzip = if sh::has("pigz") { "pigz" } else { "gzip" };
        let mut took = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            let mut plain = Command::new("sh");
            plain
                .args(["-c", &format!("tar -C \"$0\" -c . | {gzip} -6 >/dev/null")])
                .arg(dir);
            let packed = self.place.join("packed");
            remove(&packed)?;
            let mut ours = Command::new(&self.sociable);
            ours.arg("pack")
                .arg(dir)
                .arg(format!("oci:{}", packed.display()));
            for (n, command) in [plain, ours].iter().enumerate() {
                let (t, _) = self.measure(command)?;
                println!(
                    "pack, round {round}, {}: {:.2} s",
                    [gzip, "sociable"][n],
                    t.wall
                );
                took[n].push(t);
            }
        }
        Ok(took)
    }
}

fn take(files: &mut impl Iterator<Item = Found>, bytes: u64) -> Vec<Found> {
    let mut sum = 0;
    let mut chosen = Vec::new();
    while sum < bytes
        && let Some(file) = files.next()
    {
        sum += 512 + file.size.next_multiple_of(512);
        chosen.push(file);
    }
    chosen
}

/// An image layout that has no image yet.
fn create_layout(image: &Path) -> Result<()> {
    fs::create_dir_all(image.join("blobs/sha256"))?;
    let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
    Ok(fs::write(image.join("oci-layout"), marker)?)
}

/// The image of the layers in a layout.
fn finish_layout(image: &Path, layers: &[Value], diff_ids: &[String]) -> Result<()> {
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = add(
        image,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    )?;
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let body =
        json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": layers});
    let manifest = add(image, manifest, body.to_string().as_bytes())?;
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]});
    Ok(fs::write(image.join("index.json"), index.to_string())?)
}

/// Turns a tar into a layer as container tools write it: Go's gzip at its default level, in one member. And its diff ID.
fn compress(reference: &Path, tar: &Path, image: &Path) -> Result<(Value, String)> {
    let gz = tar.with_extension("tar.gz");
    let mut gzip = Command::new(reference);
    sh::run(gzip.args(["gzip", "-level", "6"]).arg(tar).arg(&gz))?;
    let (diff_id, _) = hash(tar)?;
    fs::remove_file(tar)?;
    let (hex, size) = hash(&gz)?;
    fs::rename(&gz, image.join("blobs/sha256").join(&hex))?;
    let descriptor = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": format!("sha256:{hex}"), "size": size});
    Ok((descriptor, format!("sha256:{diff_id}")))
}

fn add(image: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let hex = hex::encode(Sha256::digest(bytes));
    fs::write(image.join("blobs/sha256").join(&hex), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()}))
}

/// SHA-256 and size of a file.
fn hash(file: &Path) -> Result<(String, u64)> {
    let mut hash = Sha256::new();
    let size = std::io::copy(&mut File::open(file)?, &mut hash)?;
    Ok((hex::encode(hash.finalize()), size))
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
    } else {
        Ok(())
    }
}

/// A copy of a layout whose blobs are hard links: neither converter changes a blob.
fn copy(image: &Path, to: &Path) -> Result<PathBuf> {
    remove(to)?;
    fs::create_dir_all(to.join("blobs/sha256"))?;
    for blob in fs::read_dir(image.join("blobs/sha256"))? {
        let blob = blob?;
        fs::hard_link(blob.path(), to.join("blobs/sha256").join(blob.file_name()))?;
    }
    for file in ["oci-layout", "index.json"] {
        fs::copy(image.join(file), to.join(file))?;
    }
    Ok(to.to_owned())
}

fn measured(value: f64, show: impl Fn(f64) -> String) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else {
        show(value)
    }
}

struct Table {
    markdown: bool,
    rows: Vec<[String; 6]>,
}

impl Table {
    fn pair(&mut self, what: &str, name: &str, theirs: &[Took], ours: &[Took]) {
        let mid = |took: &[Took], of: fn(&Took) -> f64| {
            let mut all: Vec<_> = took.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let wall = mid(theirs, |t| t.wall);
        for (who, took) in [(name, theirs), ("sociable", ours)] {
            let own = mid(took, |t| t.wall);
            self.rows.push([
                what.to_owned(),
                who.to_owned(),
                format!("{own:.2} s"),
                measured(mid(took, |t| t.cpu), |cpu| format!("{cpu:.2} s")),
                measured(mid(took, |t| t.rss), |rss| format!("{rss:.0} MB")),
                format!("{:.1}×", wall / own),
            ]);
        }
    }

    fn print(&self, rounds: usize) {
        let head = ["task", "by", "wall", "CPU", "peak memory", "speed"].map(str::to_owned);
        println!("\nMedians of {rounds} rounds, in turn, files in the page cache:\n");
        print_rows(&head, &self.rows, self.markdown);
    }
}

/// A table, for a terminal or for Markdown.
fn print_rows<const N: usize>(head: &[String; N], rows: &[[String; N]], markdown: bool) {
    let width = |column: usize| {
        let cells = rows.iter().chain([head]).map(|row| &row[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!("{cell:<w$}"))
            .collect();
        if markdown {
            format!("| {} |", cells.join(" | "))
        } else {
            cells.join("  ")
        }
    };
    println!("{}", line(head));
    if markdown {
        println!("|{}", "---|".repeat(N));
    }
    for row in rows {
        println!("{}", line(row));
    }
}
