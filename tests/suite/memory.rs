//! Memory does not grow with the layer.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sociable_tests::archive::{self, Header, base256};
use sociable_tests::compress::Repeated;
use sociable_tests::layout::{self, Layout};
use sociable_tests::rng::Rng;
use sociable_tests::{compress, registry, say, scale, scaled, sociable, temp_dir};

use crate::{measured, measured_with_input, s};

const CHUNK: u64 = 1 << 20;

/// A layer of one file of so many MiB, through a pipe. Returns what `ztoc build` printed and its peak memory.
fn build(mib: u64, chunk: &[u8], command: &Command) -> ((String, u64), u64) {
    let header = Header {
        name: b"huge",
        kind: b'0',
        size: base256(mib * CHUNK),
        link: b"",
    };
    let layer = Repeated::new(&header.bytes(), chunk, &archive::END);
    let (run, took) = measured_with_input(command, Duration::from_mins(30), move |out| {
        layer.write(mib, out)
    });
    let run = run.ok();
    (
        run.digest_and_size().expect("a digest and a size"),
        took.max_rss,
    )
}

#[test]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of MiB"
)]
fn a_10_gb_layer_takes_64_mib_and_its_ztoc() {
    let mib = ((10_000.0 * scale().min(1.0)) as u64).max(512);
    let mut rng = Rng::new(10);
    let mut chunk = rng.text(CHUNK as usize / 2);
    chunk.extend(rng.noise(CHUNK as usize / 8));
    chunk.resize(CHUNK as usize, 0);
    let ((_, size), peak) = build(mib, &chunk, &sociable(["ztoc", "build", "-"]));
    say(&format!(
        "memory: {mib} MiB of layer, {} MiB of zTOC, peak {} MiB",
        size >> 20,
        peak >> 20
    ));
    assert!(peak <= (64 << 20) + size, "peak memory {peak}, zTOC {size}");
}

/// Bytes of all zTOCs of an image.
fn ztocs(image: &Layout) -> u64 {
    let sizes = image.indexed().into_iter().map(|layer| {
        let path = image.blob_path(&layer.ztoc);
        path.metadata().expect("a zTOC").len()
    });
    sizes.sum()
}

#[test]
fn packing_takes_64_mib_and_its_ztoc() {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let mut rng = Rng::new(11);
    let text = rng.text(1 << 20);
    let noise = rng.noise(1 << 20);
    for n in 0..scaled(300) {
        let content = [&text[..], &noise, &text].concat();
        fs::write(tree.join(n.to_string()), content).expect("write a file");
    }
    for jobs in ["2", "32"] {
        let image = Layout::open(dir.path().join(jobs));
        let command = sociable([
            "pack",
            &s(&tree),
            &image.arg(),
            "--no-cache",
            "--jobs",
            jobs,
        ]);
        let (run, took) = measured(&command, Stdio::null(), Duration::from_mins(10));
        let _ = run.ok();
        let (peak, ztocs) = (took.max_rss, ztocs(&image));
        say(&format!(
            "memory: packing with {jobs} threads, {} MiB of zTOC, peak {} MiB",
            ztocs >> 20,
            peak >> 20
        ));
        assert!(
            peak <= (64 << 20) + ztocs,
            "{jobs} threads: peak memory {peak}, zTOC {ztocs}"
        );
    }
}

#[test]
fn many_layers_at_once_take_64_mib_and_their_ztocs() {
    let dir = temp_dir();
    let mut rng = Rng::new(12);
    let layers: Vec<Vec<u8>> = (0..12u8)
        .map(|n| {
            let file = archive::entry(b'0', &[b'a' + n], b"", &rng.text(12 << 20));
            compress::gzip(&[&file[..], &archive::END].concat(), 1)
        })
        .collect();
    let layers: Vec<_> = layers
        .iter()
        .map(|l| (layout::media::GZIP, &l[..]))
        .collect();
    let source = layout::image(&dir.path().join("source"), &layers);
    let image = Layout::open(dir.path().join("dest"));
    let mut command = sociable(["convert", &source.arg(), &image.arg(), "--no-cache"]);
    command.args(["--min-layer-size", "0", "--jobs", "32"]);
    let (run, took) = measured(&command, Stdio::null(), Duration::from_mins(5));
    let _ = run.ok();
    let (peak, ztocs) = (took.max_rss, ztocs(&image));
    say(&format!(
        "memory: 12 layers at once, {} MiB of zTOCs, peak {} MiB",
        ztocs >> 20,
        peak >> 20
    ));
    assert!(
        peak <= (64 << 20) + ztocs,
        "peak memory {peak}, zTOCs {ztocs}"
    );
}

/// An old Docker's archive of one layer of so many MiB, through a pipe: the layer is packed as it passes.
#[test]
fn packing_a_tar_takes_64_mib_and_its_ztoc() {
    let mib = scaled(300) as u64;
    let mut rng = Rng::new(12);
    let mut chunk = rng.text(1 << 19);
    chunk.extend(rng.noise(1 << 19));
    let header = |name: &'static str, size: u64| Header {
        name: name.as_bytes(),
        kind: b'0',
        size: base256(size),
        link: b"",
    };
    let file = header("huge", mib * CHUNK);
    let mut tar = Sha256::new();
    tar.update(file.bytes());
    (0..mib).for_each(|_| tar.update(&chunk));
    tar.update(archive::END);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        hex::encode(tar.finalize())
    );
    let layer = header("id/layer.tar", mib * CHUNK + 512 + 1024);
    let before = [layer.bytes(), file.bytes()].concat();
    let manifest = br#"[{"Config":"config.json","Layers":["id/layer.tar"]}]"#;
    let after = [
        archive::END.to_vec(),
        archive::entry(b'0', b"config.json", b"", config.as_bytes()),
        archive::entry(b'0', b"manifest.json", b"", manifest),
        archive::END.to_vec(),
    ]
    .concat();
    let dir = temp_dir();
    for jobs in ["2", "32"] {
        let image = Layout::open(dir.path().join(jobs));
        let command = sociable(["convert", "-", &image.arg(), "--no-cache", "--jobs", jobs]);
        let (before, chunk, after) = (before.clone(), chunk.clone(), after.clone());
        let (run, took) = measured_with_input(&command, Duration::from_mins(10), move |out| {
            out.write_all(&before)?;
            (0..mib).try_for_each(|_| out.write_all(&chunk))?;
            out.write_all(&after)
        });
        let _ = run.ok();
        let (peak, ztocs) = (took.max_rss, ztocs(&image));
        say(&format!(
            "memory: {mib} MiB of tar packed by {jobs} jobs, {} KiB of zTOC, peak {} MiB",
            ztocs >> 10,
            peak >> 20
        ));
        assert!(ztocs > 0);
        assert!(
            peak <= (64 << 20) + ztocs,
            "peak memory {peak}, zTOC {ztocs}"
        );
    }
}

/// A blob of a layout, written as it comes.
fn add_streamed(
    layout: &Layout,
    media_type: &str,
    write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) -> serde_json::Value {
    struct Hashing<W> {
        out: W,
        hash: Sha256,
        size: u64,
    }
    impl<W: std::io::Write> std::io::Write for Hashing<W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let n = self.out.write(bytes)?;
            self.hash.update(&bytes[..n]);
            self.size += n as u64;
            Ok(n)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.out.flush()
        }
    }
    let new = layout.dir.join("new");
    let mut out = Hashing {
        out: fs::File::create(&new).expect("a file"),
        hash: Sha256::new(),
        size: 0,
    };
    write(&mut out).expect("write a blob");
    let digest = format!("sha256:{}", hex::encode(out.hash.finalize()));
    fs::rename(&new, layout.blob_path(&digest)).expect("name a blob");
    serde_json::json!({"mediaType": media_type, "digest": digest, "size": out.size})
}

/// An image of 10 GB, from one registry to another: read once, indexed and written as it comes.
#[test]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of MiB"
)]
fn a_10_gb_image_from_registry_to_registry_takes_64_mib_and_its_ztocs() {
    const LAYERS: u64 = 8;
    let name = "memory, from registry to registry";
    let (Some(from), Some(to)) = (
        registry::start(registry::Kind::Distribution, name),
        registry::start(registry::Kind::Distribution, name),
    ) else {
        return;
    };
    let mib = ((10_000.0 * scale().min(1.0)) as u64 / LAYERS).max(128);
    let mut rng = Rng::new(13);
    let mut chunk = rng.text(CHUNK as usize / 2);
    chunk.extend(rng.noise(CHUNK as usize / 8));
    chunk.resize(CHUNK as usize, 0);
    let dir = temp_dir();
    let source = Layout::create(dir.path().join("source"));
    let layers: Vec<_> = (0..LAYERS)
        .map(|n| {
            let header = Header {
                name: &[b'a' + n as u8],
                kind: b'0',
                size: base256(mib * CHUNK),
                link: b"",
            };
            let layer = Repeated::new(&header.bytes(), &chunk, &archive::END);
            add_streamed(&source, layout::media::GZIP, |mut out| {
                layer.write(mib, &mut out)
            })
        })
        .collect();
    source.set_index(&[source.add_manifest(&layers)]);
    let plain = [from.address(), to.address()].join(",");
    let image = from.image("in:1");
    let mut push = sociable(["copy", "--quiet", &source.arg(), &image]);
    let _ = sociable_tests::run::run_for(
        push.env("SOCIABLE_PLAIN_HTTP", &plain),
        Duration::from_mins(10),
    )
    .ok();
    fs::remove_dir_all(dir.path()).expect("make room");

    let mut convert = sociable([
        "convert",
        "--no-cache",
        "--jobs",
        "32",
        &image,
        &to.image("out:1"),
    ]);
    convert.env("SOCIABLE_PLAIN_HTTP", &plain).arg("--json");
    let (run, took) = measured(&convert, Stdio::null(), Duration::from_mins(30));
    let report: serde_json::Value = serde_json::from_str(&run.ok().text()).expect("JSON");
    let layers = report["platforms"][0]["layers"].as_array().expect("layers");
    let ztocs: u64 = layers
        .iter()
        .map(|layer| {
            layer["outcome"]["indexed"]["ztoc_size"]
                .as_u64()
                .expect("a zTOC")
        })
        .sum();
    say(&format!(
        "memory: {} MiB of layers from registry to registry, {} MiB of zTOCs, peak {} MiB",
        LAYERS * mib,
        ztocs >> 20,
        took.max_rss >> 20
    ));
    assert!(
        took.max_rss <= (64 << 20) + ztocs,
        "peak memory {}, zTOCs {ztocs}",
        took.max_rss
    );
}
