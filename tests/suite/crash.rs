//! SIGKILL at any moment: a destination is as it was before, or complete.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sociable_tests::layout::{self, Layout, media};
use sociable_tests::rng::Rng;
use sociable_tests::run::{kill_group, start_group};
use sociable_tests::{archive, compress, run, say, scaled, seed, sociable, temp_dir};

use crate::{none, s};

/// Runs a command and kills it after a random part of the time it took when left alone. True if it was killed in time.
fn kill(command: &mut Command, whole: Duration, rng: &mut Rng) -> bool {
    let micros = u64::try_from(whole.as_micros()).expect("a short time") * 11 / 10;
    let mut child = start_group(
        command.stdout(Stdio::null()).stderr(Stdio::null()),
        "sociable",
    );
    thread::sleep(Duration::from_micros(rng.number() % micros.max(1)));
    let killed = child.try_wait().expect("wait for a child").is_none();
    if killed {
        kill_group(&mut child);
    }
    killed
}

fn time(command: &mut Command) -> Duration {
    let start = Instant::now();
    let _ = run(command).ok();
    start.elapsed()
}

fn source(dir: &Path, rng: &mut Rng) -> Layout {
    let layer = |rng: &mut Rng| {
        let mut tar = Vec::new();
        for n in 0..24 {
            tar.extend(archive::entry(
                b'0',
                format!("file-{n}").as_bytes(),
                b"",
                &rng.content(700_000),
            ));
        }
        tar.extend(archive::END);
        compress::gzip(&tar, 1)
    };
    let layers = [layer(rng), layer(rng), layer(rng)];
    layout::image(dir, &layers.each_ref().map(|l| (media::GZIP, &l[..])))
}

const OPTIONS: [&str; 5] = [
    "--no-cache",
    "--span-size",
    "262144",
    "--min-layer-size",
    "0",
];

#[test]
fn convert_into_a_layout() {
    let mut rng = Rng::new(seed("crash::convert_into_a_layout", 11));
    let dir = temp_dir();
    let source = source(&dir.path().join("source"), &mut rng);
    let convert = |to: &Layout| {
        let mut command = sociable(["convert", &source.arg(), &to.arg()]);
        command.args(OPTIONS);
        command
    };
    let whole = Layout::open(dir.path().join("whole"));
    let duration = time(&mut convert(&whole));
    let (mut wrong, mut killed, count) = (Vec::new(), 0, scaled(20).max(5));
    for round in 0..count {
        let dest = Layout::open(dir.path().join(format!("dest-{round}")));
        killed += usize::from(kill(&mut convert(&dest), duration, &mut rng));
        match dest.index_json() {
            None => {}
            index if index == whole.index_json() => {
                wrong.extend(
                    complete(&dest).map(|e| format!("round {round}: index.json is there, but {e}")),
                );
            }
            index => wrong.push(format!(
                "round {round}: index.json has {} bytes, not those of the whole",
                index.map_or(0, |i| i.len())
            )),
        }
        // Whatever was left behind does not disturb the next try.
        let again = run(&mut convert(&dest));
        if again.code != Some(0)
            || dest.index_json() != whole.index_json()
            || complete(&dest).is_some()
        {
            wrong.push(format!(
                "round {round}: trying again after the kill: {again}"
            ));
        }
    }
    say(&format!(
        "crash::convert_into_a_layout: {killed} of {count} killed before their end"
    ));
    assert!(killed > 0, "nothing was killed in time");
    none(&wrong, count);
}

#[test]
fn convert_in_place() {
    let mut rng = Rng::new(seed("crash::convert_in_place", 12));
    let dir = temp_dir();
    let source = source(&dir.path().join("source"), &mut rng);
    let convert = |l: &Layout| {
        let mut command = sociable(["convert", &l.arg(), &l.arg()]);
        command.args(OPTIONS);
        command
    };
    let whole = source.copy(dir.path().join("whole"));
    let duration = time(&mut convert(&whole));
    let (mut wrong, mut killed, count) = (Vec::new(), 0, scaled(10).max(5));
    for round in 0..count {
        let copy = source.copy(dir.path().join(format!("copy-{round}")));
        killed += usize::from(kill(&mut convert(&copy), duration, &mut rng));
        let index = copy.index_json();
        if index != source.index_json() && index != whole.index_json() {
            wrong.push(format!(
                "round {round}: index.json is neither the old one nor the new one"
            ));
        }
        wrong.extend(complete(&copy).map(|e| format!("round {round}: {e}")));
    }
    assert!(killed > 0, "nothing was killed in time");
    none(&wrong, count);
}

#[test]
fn pack_into_an_archive() {
    let mut rng = Rng::new(seed("crash::pack_into_an_archive", 13));
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    for n in 0..30 {
        fs::write(tree.join(n.to_string()), rng.content(700_000)).expect("write a file");
    }
    let file = dir.path().join("image.tar");
    let dest = format!("oci-archive:{}", s(&file));
    let pack = || sociable(["pack", &s(&tree), &dest]);
    let duration = time(&mut pack());
    let whole = fs::read(&file).expect("the archive");
    let (mut wrong, mut killed, count) = (Vec::new(), 0, scaled(10).max(5));
    for round in 0..count {
        // Once from nothing, once over an older file.
        let old: Option<&[u8]> = (round % 2 == 1).then_some(b"an older file");
        match old {
            Some(old) => fs::write(&file, old).expect("write the older file"),
            None => drop(fs::remove_file(&file)),
        }
        killed += usize::from(kill(&mut pack(), duration, &mut rng));
        let found = fs::read(&file).ok();
        if found.as_deref() != old && found.as_ref() != Some(&whole) {
            wrong.push(format!(
                "round {round}: the archive has {} bytes, of {}",
                found.map_or(0, |f| f.len()),
                whole.len()
            ));
        }
    }
    assert!(killed > 0, "nothing was killed in time");
    none(&wrong, count);
}

/// What is missing of all that index.json leads to. Blobs' bytes are checked against their names.
fn complete(layout: &Layout) -> Option<String> {
    fn walk(layout: &Layout, document: &serde_json::Value) -> Option<String> {
        let lists = ["manifests", "layers"]
            .iter()
            .filter_map(|k| document[*k].as_array());
        let mut children: Vec<_> = lists.flatten().collect();
        if document["config"].is_object() {
            children.push(&document["config"]);
        }
        children.into_iter().find_map(|child| {
            let digest = child["digest"].as_str().unwrap_or_default();
            let Ok(bytes) = fs::read(layout.blob_path(digest)) else {
                return Some(format!("no blob {digest}"));
            };
            if sociable_tests::sha256(&bytes) != digest || child["size"] != bytes.len() {
                return Some(format!("blob {digest} has {} other bytes", bytes.len()));
            }
            let manifest = child["mediaType"]
                .as_str()
                .is_some_and(|m| m.contains("index.v1+json") || m.contains("manifest"));
            manifest
                .then(|| {
                    serde_json::from_slice(&bytes)
                        .map_or(Some("no JSON".to_owned()), |d| walk(layout, &d))
                })
                .flatten()
        })
    }
    let index = layout.index_json()?;
    match serde_json::from_slice(&index) {
        Ok(document) => walk(layout, &document),
        Err(e) => Some(format!("index.json: {e}")),
    }
}
