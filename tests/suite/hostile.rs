//! Inputs meant to harm: every one is refused with exit code 1 and a message, in bounded time and memory, and leaves nothing
//! behind.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sociable_tests::archive::{self, Header, base256, entry, octal, pax};
use sociable_tests::compress::{Repeated, gzip};
use sociable_tests::layout::{Layout, image, media};
use sociable_tests::{Measured, Run, run, say, scale, scaled, sociable, temp_dir, vectors};

use crate::{measured, measured_with_input, none, s};

/// Layers that no reader may accept.
fn bad_layers() -> Vec<(&'static str, Vec<u8>)> {
    let header = |kind: u8, size: [u8; 12]| {
        Header {
            name: b"x",
            kind,
            size,
            link: b"",
        }
        .bytes()
        .to_vec()
    };
    let long = |kind: u8, size: u64| {
        [
            header(kind, octal(size)),
            vec![b'a'; usize::try_from(size).expect("small")],
            archive::END.to_vec(),
        ]
        .concat()
    };
    let after_pax = |key: &str, value: &str| {
        [pax(&[(key, value)]), entry(b'0', b"x", b"", b"content")].concat()
    };
    let mut bad_sum = entry(b'0', b"x", b"", b"content");
    bad_sum[148] ^= 1;
    let tars = vec![
        ("a file of 2^63 bytes", header(b'0', base256(1 << 63))),
        (
            "a file of 2^63 - 1 bytes",
            header(b'0', base256((1 << 63) - 1)),
        ),
        ("a file of 2^64 - 1 bytes", header(b'0', base256(u64::MAX))),
        ("a file of -1 bytes", header(b'0', [0xff; 12])),
        (
            "a file of no number of bytes",
            header(b'0', *b"9z9z9z9z9z9\0"),
        ),
        (
            "a PAX size of 2^63",
            after_pax("size", "9223372036854775808"),
        ),
        ("a PAX size below zero", after_pax("size", "-1")),
        ("a PAX size of no number", after_pax("size", "many")),
        (
            "a PAX record longer than its header",
            entry(b'x', b"pax", b"", b"99999999999 path=x\n"),
        ),
        (
            "a PAX record without a length",
            entry(b'x', b"pax", b"", b"path=x\n"),
        ),
        (
            "a PAX record of length 0",
            entry(b'x', b"pax", b"", b"0 path=x\n"),
        ),
        (
            "a PAX header of 1 GiB, cut off",
            header(b'x', octal(1 << 30)),
        ),
        ("a PAX header of 2^62 bytes", header(b'x', base256(1 << 62))),
        ("a long name of 4 MiB", long(b'L', 4 << 20)),
        ("a long link of 2^62 bytes", header(b'K', base256(1 << 62))),
        ("a wrong header checksum", bad_sum),
        (
            "a file cut off",
            entry(b'0', b"x", b"", &[7; 5000])[..3000].to_vec(),
        ),
        ("noise", sociable_tests::rng::Rng::new(1).noise(100_000)),
    ];
    let mut all: Vec<_> = tars
        .into_iter()
        .map(|(name, tar)| (name, gzip(&tar, 6)))
        .collect();
    let sound = gzip(
        &[entry(b'0', b"x", b"", &[1; 9999]), archive::END.to_vec()].concat(),
        6,
    );
    let changed = |at: usize, to: u8| {
        let mut bytes = sound.clone();
        bytes[at] = to;
        bytes
    };
    all.push(("a reserved deflate block", changed(10, 0x07)));
    all.push(("an unknown gzip method", changed(2, 9)));
    all.push((
        "a wrong CRC",
        changed(sound.len() - 8, sound[sound.len() - 8] ^ 1),
    ));
    all.push((
        "a wrong length",
        changed(sound.len() - 4, sound[sound.len() - 4] ^ 1),
    ));
    all.push((
        "a gzip header that never ends",
        [
            b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".to_vec(),
            vec![b'n'; 1 << 20],
        ]
        .concat(),
    ));
    all.push(("only a gzip header", sound[..10].to_vec()));
    all
}

#[test]
fn bad_layers_are_refused() {
    let dir = temp_dir();
    let (mut wrong, all) = (Vec::new(), bad_layers());
    for (name, bytes) in &all {
        let (layer, out) = (dir.path().join("layer"), dir.path().join("ztoc"));
        fs::write(&layer, bytes).expect("write a layer");
        let (done, took) = measured(
            &sociable(["ztoc", "build", "--output", &s(&out), &s(&layer)]),
            std::process::Stdio::null(),
            Duration::from_mins(1),
        );
        wrong.extend(done.not_a_refusal().map(|w| format!("{name}: {w}")));
        if took.max_rss > 64 << 20 {
            wrong.push(format!("{name}: took {} MiB", took.max_rss >> 20));
        }
        if out.exists() {
            wrong.push(format!("{name}: wrote a zTOC"));
            fs::remove_file(&out).expect("remove it");
        }
    }
    none(&wrong, all.len());
}

#[test]
fn images_with_bad_layers_are_refused_and_leave_nothing() {
    let (mut wrong, all) = (Vec::new(), bad_layers());
    let good = gzip(
        &[entry(b'0', b"x", b"", &[1; 9999]), archive::END.to_vec()].concat(),
        6,
    );
    for (name, bytes) in &all {
        let dir = temp_dir();
        let source = image(
            &dir.path().join("source"),
            &[(media::GZIP, &good), (media::GZIP, bytes)],
        );
        wrong.extend(not_refused(&source, dir.path()).map(|w| format!("{name}: {w}")));
    }
    none(&wrong, all.len());
}

/// What is wrong with how `convert` refuses an image, into a layout and into an archive.
fn not_refused(source: &Layout, dir: &std::path::Path) -> Option<String> {
    let (layout, archive) = (Layout::open(dir.join("dest")), dir.join("dest.tar"));
    for dest in [layout.arg(), format!("oci-archive:{}", archive.display())] {
        let done = run(&mut sociable([
            "convert",
            &source.arg(),
            &dest,
            "--no-cache",
            "--min-layer-size",
            "0",
        ]));
        if let Some(wrong) = done.not_a_refusal() {
            return Some(wrong);
        }
    }
    let left = layout.index_json().is_some() || archive.exists();
    left.then(|| "refused, but left a destination behind".to_owned())
}

#[test]
fn truncated_layers_are_refused() {
    let dir = temp_dir();
    let layer = dir.path().join("layer");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for name in [
        "tree-pax.z6.tar.gz",
        "many-1200.z6.tar.gz",
        "text-300k.z6.tar.gz",
    ] {
        let bytes = fs::read(vectors().join("layers").join(name)).expect("the vector");
        let step = if scale() < 1.0 { 10_000 } else { 1_000 };
        for end in (1..bytes.len())
            .step_by(step)
            .chain(bytes.len() - 9..bytes.len())
        {
            count += 1;
            fs::write(&layer, &bytes[..end]).expect("write a layer");
            let done = run(&mut sociable(["ztoc", "build", &s(&layer)]));
            wrong.extend(
                done.not_a_refusal()
                    .map(|w| format!("{name}, {end} of {} bytes: {w}", bytes.len())),
            );
        }
    }
    none(&wrong, count);
}

#[test]
fn truncated_ztocs_are_refused() {
    let dir = temp_dir();
    let ztoc = dir.path().join("ztoc");
    let bytes = fs::read(vectors().join("layers/devices.z6.s65536.ztoc")).expect("the vector");
    let mut wrong = Vec::new();
    let ends: Vec<_> = (0..bytes.len()).step_by(1_000).collect();
    for end in &ends {
        fs::write(&ztoc, &bytes[..*end]).expect("write a zTOC");
        let done = run(&mut sociable(["ztoc", "info", &s(&ztoc)]));
        wrong.extend(done.not_a_refusal().map(|w| format!("{end} bytes: {w}")));
    }
    none(&wrong, ends.len());
}

#[test]
fn a_gzip_bomb_takes_little_memory() {
    // A thousandfold: 10 GB of zeros. It is a legal layer, so it may be indexed or refused, but not with gigabytes.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of MiB"
    )]
    let mib = (10_000.0 * scale().min(1.0)) as u64;
    let header = Header {
        name: b"zeros",
        kind: b'0',
        size: base256(mib << 20),
        link: b"",
    };
    let bomb = Repeated::new(&header.bytes(), &vec![0; 1 << 20], &archive::END);
    let command = sociable(["ztoc", "build", "-"]);
    let (done, took) = measured_with_input(&command, Duration::from_mins(10), move |out| {
        bomb.write(mib, out)
    });
    assert_eq!(done.not_a_verdict(), None);
    let ztoc = done.digest_and_size().map_or(0, |d| d.1);
    say(&format!(
        "hostile::gzip_bomb: {mib} MiB, exit {:?}, {:.1} s, peak {} MiB, zTOC {} MiB",
        done.code,
        took.wall,
        took.max_rss >> 20,
        ztoc >> 20
    ));
    assert!(
        took.max_rss <= (64 << 20) + ztoc,
        "peak memory {}, zTOC {ztoc}",
        took.max_rss
    );
}

/// A layer of so many thousand empty files, through a pipe.
fn thousands_of_files(count: u64) -> (Run, Measured) {
    let thousand: Vec<u8> = (0..1000)
        .flat_map(|n| entry(b'0', format!("d/{n:04}").as_bytes(), b"", b""))
        .collect();
    let layer = Repeated::new(&entry(b'5', b"d/", b"", b""), &thousand, &archive::END);
    let command = sociable(["ztoc", "build", "-"]);
    let out = measured_with_input(&command, Duration::from_mins(5), move |out| {
        layer.write(count, out)
    });
    say(&format!(
        "hostile: {count} thousand entries, exit {:?}, {:.1} s, peak {} MiB, zTOC {} MiB",
        out.0.code,
        out.1.wall,
        out.1.max_rss >> 20,
        out.0.digest_and_size().map_or(0, |d| d.1) >> 20
    ));
    out
}

#[test]
fn two_million_entries_are_indexed() {
    let (done, took) = thousands_of_files(scaled(2_000_000) as u64 / 1000);
    let ztoc = done.ok().digest_and_size().expect("a digest").1;
    assert!(took.wall < 120.0, "took {:.1} s", took.wall);
    assert!(
        took.max_rss <= (64 << 20) + 4 * ztoc.max(100 << 20),
        "peak memory {}, zTOC {ztoc}",
        took.max_rss
    );
}

#[test]
fn ten_million_entries_are_refused() {
    let (done, took) = thousands_of_files(10_000);
    let done = done.refused();
    assert!(
        done.stderr.contains("more than 2500000 tar entries"),
        "{done}"
    );
    assert!(took.wall < 120.0, "took {:.1} s", took.wall);
    assert!(took.max_rss <= 1200 << 20, "peak memory {}", took.max_rss);
}

#[test]
fn link_cycles_end() {
    let tar = [
        entry(b'2', b"a", b"b", b""),
        entry(b'2', b"b", b"a", b""),
        entry(b'2', b"self", b"self", b""),
        entry(b'2', b"up", b"../../../../..", b""),
        entry(b'2', b"deep", b"deep/deep/deep", b""),
        entry(b'5', b"./", b"", b""),
        archive::END.to_vec(),
    ];
    let dir = temp_dir();
    let source = image(
        &dir.path().join("source"),
        &[(media::GZIP, &gzip(&tar.concat(), 6))],
    );
    let dest = Layout::open(dir.path().join("dest"));
    let _ = run(&mut sociable([
        "convert",
        &source.arg(),
        &dest.arg(),
        "--no-cache",
        "--min-layer-size",
        "0",
    ]))
    .ok();
    let _ = run(&mut sociable(["ls", &dest.arg()])).ok();
    let paths = [
        "/a", "/b", "/self", "/self/x", "/deep", "/up", "/up/a", "/../a",
    ];
    none(
        &paths
            .iter()
            .filter_map(|p| run(&mut sociable(["cat", &dest.arg(), p])).not_a_refusal())
            .collect::<Vec<_>>(),
        paths.len(),
    );
}

#[test]
fn hard_links_to_nowhere_get_a_verdict() {
    let cases: [(&str, Vec<u8>); 4] = [
        (
            "to each other",
            [entry(b'1', b"a", b"b", b""), entry(b'1', b"b", b"a", b"")].concat(),
        ),
        ("to itself", entry(b'1', b"a", b"a", b"")),
        ("to what is not there", entry(b'1', b"a", b"gone", b"")),
        (
            "out of the root",
            entry(b'1', b"a", b"../../etc/passwd", b""),
        ),
    ];
    let dir = temp_dir();
    let mut wrong = Vec::new();
    for (name, tar) in &cases {
        let source = image(
            &dir.path().join(name),
            &[(media::GZIP, &gzip(&[&tar[..], &archive::END].concat(), 6))],
        );
        let dest = Layout::open(dir.path().join(format!("{name}, converted")));
        let done = run(&mut sociable([
            "convert",
            &source.arg(),
            &dest.arg(),
            "--no-cache",
            "--min-layer-size",
            "0",
        ]));
        wrong.extend(done.not_a_verdict().map(|w| format!("{name}: {w}")));
        if done.code == Some(0) {
            wrong.extend(
                run(&mut sociable(["cat", &dest.arg(), "/a"]))
                    .not_a_refusal()
                    .map(|w| format!("{name}: {w}")),
            );
        }
    }
    none(&wrong, cases.len());
}

#[test]
fn images_that_lie_are_refused_and_leave_nothing() {
    type Lie = fn(&Layout, Value);
    let lies: [(&str, Lie); 15] = [
        ("a blob's bytes changed", |l, _| {
            let layer = l.indexed_source();
            let mut bytes = fs::read(l.blob_path(&layer)).expect("the layer");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(l.blob_path(&layer), bytes).expect("change the layer");
        }),
        ("a blob cut off", |l, _| {
            let layer = l.indexed_source();
            let bytes = fs::read(l.blob_path(&layer)).expect("the layer");
            fs::write(l.blob_path(&layer), &bytes[..bytes.len() - 1]).expect("cut the layer");
        }),
        ("a blob missing", |l, _| {
            fs::remove_file(l.blob_path(&l.indexed_source())).expect("remove the layer");
        }),
        ("a blob that is a directory", |l, _| {
            let path = l.blob_path(&l.indexed_source());
            fs::remove_file(&path)
                .and_then(|()| fs::create_dir(&path))
                .expect("replace the layer");
        }),
        ("a wrong manifest size", |l, mut m| {
            m["size"] = json!(m["size"].as_u64().expect("a size") + 1);
            l.set_index(&[m]);
        }),
        ("a manifest of 2^63 bytes", |l, mut m| {
            m["size"] = json!(1_u64 << 63);
            l.set_index(&[m]);
        }),
        ("a manifest of -1 bytes", |l, mut m| {
            m["size"] = json!(-1);
            l.set_index(&[m]);
        }),
        ("a digest that is a path", |l, mut m| {
            m["digest"] = json!("sha256:../../oci-layout");
            l.set_index(&[m]);
        }),
        ("a digest of another algorithm's path", |l, mut m| {
            m["digest"] = json!("../../..:etc");
            l.set_index(&[m]);
        }),
        ("a short digest", |l, mut m| {
            m["digest"] = json!("sha256:00");
            l.set_index(&[m]);
        }),
        ("an upper-case digest", |l, mut m| {
            m["digest"] = json!(
                m["digest"]
                    .as_str()
                    .expect("a digest")
                    .to_uppercase()
                    .replace("SHA256", "sha256")
            );
            l.set_index(&[m]);
        }),
        ("JSON a hundred thousand deep", |l, _| {
            fs::write(l.dir.join("index.json"), "[".repeat(100_000)).expect("write index.json");
        }),
        ("no JSON", |l, _| {
            fs::write(l.dir.join("index.json"), [0xff; 100]).expect("write index.json");
        }),
        ("no manifests", |l, _| l.set_index(&[])),
        ("a manifest that is a layer", |l, mut m| {
            let layer = l.indexed_source();
            m["size"] = json!(fs::metadata(l.blob_path(&layer)).expect("the layer").len());
            m["digest"] = json!(layer);
            l.set_index(&[m]);
        }),
    ];
    let layer = gzip(
        &[
            entry(b'0', b"x", b"", &vec![1; 99_999]),
            archive::END.to_vec(),
        ]
        .concat(),
        6,
    );
    let mut wrong = Vec::new();
    for (name, lie) in &lies {
        let dir = temp_dir();
        let source = image(&dir.path().join("source"), &[(media::GZIP, &layer)]);
        let index: Value =
            serde_json::from_slice(&source.index_json().expect("index.json")).expect("index.json");
        lie(&source, index["manifests"][0].clone());
        wrong.extend(not_refused(&source, dir.path()).map(|w| format!("{name}: {w}")));
    }
    none(&wrong, lies.len());
}

#[test]
fn indexes_nested_too_deep_are_refused() {
    let dir = temp_dir();
    let source = Layout::create(dir.path().join("source"));
    let layer = source.add(
        media::GZIP,
        &gzip(
            &[entry(b'0', b"x", b"", b"x"), archive::END.to_vec()].concat(),
            6,
        ),
    );
    let mut descriptor = source.add_manifest(&[layer]);
    for _ in 0..10_000 {
        let index =
            json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [descriptor]});
        descriptor = source.add(media::INDEX, index.to_string().as_bytes());
    }
    source.set_index(&[descriptor]);
    assert_eq!(not_refused(&source, dir.path()), None);
}

trait Source {
    /// The digest of the only layer of the only image.
    fn indexed_source(&self) -> String;
}

impl Source for Layout {
    fn indexed_source(&self) -> String {
        let index: Value =
            serde_json::from_slice(&self.index_json().expect("index.json")).expect("index.json");
        let manifest = self.json(index["manifests"][0]["digest"].as_str().expect("a digest"));
        manifest["layers"][0]["digest"]
            .as_str()
            .expect("a digest")
            .to_owned()
    }
}
