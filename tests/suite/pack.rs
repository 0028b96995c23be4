//! `sociable pack`: every file can be read back through the index by the reference, and the bytes depend on nothing but the
//! input.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sociable_tests::layout::Layout;
use sociable_tests::rng::Rng;
use sociable_tests::{
    Run, archive, compress, reference, run, scaled, seed, skip, sociable, temp_dir, tree,
};

use crate::{none, s};

/// Small spans, and an index however small the layer.
const OPTIONS: [&str; 4] = ["--span-size", "65536", "--min-layer-size", "0"];

fn pack(dir: &Path, dest: &Path, extra: &[&str]) -> (Run, Layout) {
    let dest = Layout::open(dest);
    (
        run(sociable(["pack", &s(dir), &dest.arg()])
            .args(OPTIONS)
            .args(extra)),
        dest,
    )
}

fn random_tree(dir: &Path, shape: tree::Shape, rng: &mut Rng) -> std::path::PathBuf {
    let root = dir.join("tree");
    fs::create_dir(&root).expect("a directory");
    tree::grow(&root, shape, rng);
    root
}

/// All names of blobs, and index.json.
fn everything(layout: &Layout) -> (BTreeSet<String>, Option<Vec<u8>>) {
    let names = fs::read_dir(layout.dir.join("blobs/sha256")).expect("blobs");
    (
        names
            .map(|n| n.expect("blobs").file_name().to_string_lossy().into_owned())
            .collect(),
        layout.index_json(),
    )
}

#[test]
fn the_reference_reads_every_packed_file() {
    let Some(mut reference) = reference::start("pack::the_reference_reads") else {
        return;
    };
    let mut rng = Rng::new(seed("pack::the_reference_reads", 5));
    let (mut wrong, count) = (Vec::new(), scaled(12));
    for round in 0..count {
        let dir = temp_dir();
        let shape = tree::Shape {
            entries: 1 + rng.below(150),
            largest: 1 << (10 + rng.below(12)),
            plain: false,
        };
        let root = random_tree(dir.path(), shape, &mut rng);
        let (done, image) = pack(&root, &dir.path().join("image"), &[]);
        let _ = done.ok();
        let layers = image.indexed();
        assert_eq!(
            layers.len(),
            1,
            "round {round}: a packed directory is one layer"
        );
        let read = match reference.read(
            &image.blob_path(&layers[0].layer),
            &image.blob_path(&layers[0].ztoc),
        ) {
            Ok(read) => read,
            Err(e) => {
                wrong.push(format!("round {round}: the reference: {e}"));
                continue;
            }
        };
        let known = tree::files(&root);
        let mut missing: BTreeSet<u64> = known.values().map(|k| k.inode).collect();
        for file in read {
            match known.get(&file.path()) {
                Some(k) if k.sha256 == file.sha256 && k.size == file.size => {
                    missing.remove(&k.inode);
                }
                other => wrong.push(format!("round {round}: {file:?}, in the tree {other:?}")),
            }
        }
        if !missing.is_empty() {
            wrong.push(format!(
                "round {round}: {} files cannot be read",
                missing.len()
            ));
        }
    }
    none(&wrong, count);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let mut rng = Rng::new(seed("pack::the_same_bytes", 6));
    let dir = temp_dir();
    let root = random_tree(
        dir.path(),
        tree::Shape {
            entries: 200,
            largest: 4 << 20,
            plain: false,
        },
        &mut rng,
    );
    let mut seen = Vec::new();
    for (n, jobs) in ["1", "1", "2", "4"].iter().enumerate() {
        let (done, image) = pack(&root, &dir.path().join(n.to_string()), &["--jobs", jobs]);
        let _ = done.ok();
        seen.push(everything(&image));
    }
    assert!(
        seen.windows(2).all(|w| w[0] == w[1]),
        "packing four times, with 1, 1, 2 and 4 threads, gave different images"
    );
}

#[test]
fn indexing_a_packed_layer_finds_the_packed_ztoc() {
    let mut rng = Rng::new(seed("pack::indexing_a_packed_layer", 7));
    for round in 0..scaled(6) {
        let dir = temp_dir();
        let root = random_tree(
            dir.path(),
            tree::Shape {
                largest: 2 << 20,
                ..Default::default()
            },
            &mut rng,
        );
        let (done, image) = pack(&root, &dir.path().join("image"), &[]);
        let _ = done.ok();
        for layer in image.indexed() {
            let built = run(&mut sociable([
                "ztoc",
                "build",
                "--span-size",
                &layer.span_size,
                &s(&image.blob_path(&layer.layer)),
            ]))
            .ok();
            let built = built.digest_and_size().expect("a digest").0;
            assert_eq!(
                built, layer.ztoc,
                "round {round}: the zTOC made while packing is not the layer's own"
            );
        }
    }
}

#[test]
fn packing_costs_no_more_bytes_than_one_gzip_stream() {
    if !archive::gnu_tar() {
        return skip("pack::packing_costs: it needs GNU tar");
    }
    let mut rng = Rng::new(seed("pack::packing_costs", 8));
    let dir = temp_dir();
    let root = dir.path().join("tree");
    fs::create_dir(&root).expect("a directory");
    for n in 0..40 {
        fs::write(root.join(n.to_string()), rng.text(1 << 20)).expect("write a file");
    }
    let dest = Layout::open(dir.path().join("image"));
    let _ = run(&mut sociable(["pack", &s(&root), &dest.arg()])).ok();
    let packed: u64 = dest
        .indexed()
        .iter()
        .map(|l| dest.blob_path(&l.layer).metadata().expect("a layer").len())
        .sum();
    assert!(packed > 0, "no layer was indexed");
    let tar = dir.path().join("tar");
    archive::tar("pax", &root, &tar);
    let single = compress::gzip(&fs::read(tar).expect("a tar"), 6).len() as u64;
    assert!(
        packed * 100 <= single * 101,
        "packed {packed} bytes, one stream {single}: more than 1 % larger"
    );
}

#[test]
fn a_packed_image_answers_ls_and_cat() {
    let mut rng = Rng::new(seed("pack::ls_and_cat", 9));
    let dir = temp_dir();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("a/b")).expect("a directory");
    let content = rng.text(3 << 20);
    fs::write(root.join("a/b/big"), &content).expect("write a file");
    fs::write(root.join("a/empty"), "").expect("write a file");
    let (done, image) = pack(&root, &dir.path().join("image"), &[]);
    let _ = done.ok();
    let listed = run(&mut sociable(["ls", &image.arg(), "/a/b"])).ok();
    assert!(listed.text().contains("big"), "{listed}");
    assert_eq!(
        run(&mut sociable(["cat", &image.arg(), "/a/b/big"]))
            .ok()
            .stdout,
        content
    );
    let costed = run(&mut sociable(["cat", "-v", &image.arg(), "/a/b/big"])).ok();
    assert!(
        costed.stdout == content && !costed.stderr.is_empty(),
        "cat -v prints what it cost to stderr: {}",
        costed.stderr
    );
    assert_eq!(
        run(&mut sociable(["cat", &image.arg(), "/a/empty"]))
            .ok()
            .stdout,
        b""
    );
    let _ = run(&mut sociable(["cat", &image.arg(), "/a/none"])).refused();
    let _ = run(&mut sociable(["verify", &image.arg()])).ok();
    let inspected = run(&mut sociable(["inspect", &image.arg(), "--json"])).ok();
    serde_json::from_slice::<serde_json::Value>(&inspected.stdout)
        .expect("inspect --json prints JSON");
    assert_eq!(
        run(&mut sociable(["--no-such-option"])).code,
        Some(2),
        "usage errors exit with 2"
    );
}
