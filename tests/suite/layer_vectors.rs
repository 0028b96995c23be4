//! `sociable ztoc build` against the 160 layer vectors: the reference's digests, sizes and refusals.

use std::path::Path;

use serde::Deserialize;
use sociable_tests::{REFERENCE_TOOL, Run, run, sociable, temp_dir, vectors};

use crate::{none, s};

#[derive(Deserialize)]
struct Vector {
    name: String,
    tar: String,
    span_size: u64,
    layer: String,
    ztoc_digest: Option<String>,
    ztoc_size: Option<u64>,
    error: Option<String>,
}

fn all() -> Vec<Vector> {
    let manifest = std::fs::read(vectors().join("layers/manifest.json")).expect("the vectors");
    let all: Vec<Vector> = serde_json::from_slice(&manifest).expect("the vectors' manifest");
    assert_eq!(all.len(), 160);
    all
}

fn build(v: &Vector, out: &Path, extra: &[&str]) -> Run {
    let layer = vectors().join("layers").join(&v.layer);
    let span = v.span_size.to_string();
    let args = [
        "ztoc",
        "build",
        "--span-size",
        &span,
        "--build-tool-identifier",
        REFERENCE_TOOL,
        "--output",
        &s(out),
        &s(&layer),
    ];
    run(sociable(args).args(extra))
}

/// The reference builds an index of a PAX sparse file, and then cannot read the file back.
fn unreadable(v: &Vector) -> bool {
    v.tar == "sparse-posix"
}

fn check(v: &Vector, out: &Path) -> Result<(), String> {
    let extra: &[&str] = if unreadable(v) {
        &["--allow-unreadable"]
    } else {
        &[]
    };
    let done = build(v, out, extra);
    let (Some(digest), Some(size)) = (&v.ztoc_digest, v.ztoc_size) else {
        let why = v.error.as_deref().unwrap_or_default();
        return match done.not_a_refusal() {
            None if out.exists() => Err(format!("refused, but wrote a zTOC: {done}")),
            // All of them are refused for a type of entry: "…; unsupported input tar entry 'g'".
            None => match why.rsplit("; ").next() {
                Some(reason) if done.stderr.contains(reason) && done.stderr.contains("at byte") => {
                    Ok(())
                }
                _ => Err(format!(
                    "the reference says {why:?}, for another reason: {done}"
                )),
            },
            Some(wrong) => Err(format!("the reference says {why:?}; {wrong}")),
        };
    };
    if done.code != Some(0) {
        return Err(done.to_string());
    }
    let bytes = std::fs::read(out).map_err(|e| format!("no zTOC ({e}): {done}"))?;
    let expected = vectors().join("layers").join(format!("{}.ztoc", v.name));
    if let Ok(expected) = std::fs::read(expected)
        && expected != bytes
    {
        let at = expected
            .iter()
            .zip(&bytes)
            .take_while(|(a, b)| a == b)
            .count();
        return Err(format!(
            "differs from the reference's zTOC at byte {at}; {} bytes, not {}",
            bytes.len(),
            expected.len()
        ));
    }
    if done.digest_and_size() != Some((digest.clone(), size)) {
        return Err(format!("want {digest} {size}: {done}"));
    }
    let stored = sociable_tests::sha256(&bytes);
    if stored == *digest {
        Ok(())
    } else {
        Err(format!("printed {digest}, wrote {stored}"))
    }
}

#[test]
fn every_layer_gives_the_references_ztoc() {
    let dir = temp_dir();
    let all = all();
    let check = |v: &Vector| {
        check(v, &dir.path().join(&v.name))
            .err()
            .map(|e| format!("{}: {e}", v.name))
    };
    none(&all.iter().filter_map(check).collect::<Vec<_>>(), all.len());
}

#[test]
fn what_the_reference_cannot_read_back_is_refused() {
    let dir = temp_dir();
    let sparse: Vec<_> = all().into_iter().filter(unreadable).collect();
    assert_eq!(sparse.len(), 2);
    for v in sparse {
        let out = dir.path().join("ztoc");
        let done = build(&v, &out, &[]).refused();
        assert!(!out.exists(), "{}: refused, but wrote a zTOC", v.name);
        assert!(
            done.stderr.contains("--allow-unreadable"),
            "{}: the message should name the way out: {done}",
            v.name
        );
    }
}

#[test]
fn the_diff_id_is_the_tars_digest() {
    let layers = vectors().join("layers");
    for name in [
        "text-300k.z6.tar.gz",
        "mixed-800k.members4.tar.gz",
        "tree-pax.tar.tar",
    ] {
        let layer = layers.join(name);
        let mut tar = Vec::new();
        let file = std::fs::File::open(&layer).expect("the layer");
        if name.ends_with("gz") {
            let mut inflated = flate2::read::MultiGzDecoder::new(file);
            std::io::Read::read_to_end(&mut inflated, &mut tar).expect("the tar");
        } else {
            tar = std::fs::read(&layer).expect("the tar");
        }
        let done = run(&mut sociable(["ztoc", "build", "--diff-id", &s(&layer)])).ok();
        let expected = format!("diff ID {}", sociable_tests::sha256(&tar));
        assert_eq!(done.text().lines().next(), Some(&expected[..]), "{name}");
    }
}

#[test]
fn a_layer_may_come_through_a_pipe() {
    let all = all();
    let v = all
        .iter()
        .find(|v| v.name == "mixed-800k.z6.s65536")
        .expect("the vector");
    let layer = std::fs::File::open(vectors().join("layers").join(&v.layer)).expect("the layer");
    let args = [
        "ztoc",
        "build",
        "--span-size",
        "65536",
        "--build-tool-identifier",
        REFERENCE_TOOL,
        "-",
    ];
    let done = run(sociable(args).stdin(layer)).ok();
    assert_eq!(
        done.digest_and_size(),
        v.ztoc_digest.clone().zip(v.ztoc_size),
        "{done}"
    );
}
