//! `sociable convert` against the image vectors: the reference's documents, byte for byte, and its refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sociable_tests::layout::Layout;
use sociable_tests::{REFERENCE_TOOL, Run, run, skip, sociable, temp_dir, vectors};

use crate::none;

#[derive(Deserialize)]
struct Vector {
    name: String,
    args: Vec<String>,
    exit: i32,
    error: Option<String>,
    #[serde(default)]
    index_json: String,
    #[serde(default)]
    blobs: Vec<String>,
    #[serde(default)]
    documents: BTreeMap<String, String>,
}

fn all() -> Vec<Vector> {
    let expected = fs::read(vectors().join("images/expected.json")).expect("the vectors");
    serde_json::from_slice(&expected).expect("the vectors' expectations")
}

/// The vector's input as a layout of its own: all vectors share one directory of blobs.
fn input(v: &Vector, dir: &Path) -> Layout {
    let images = vectors().join("images");
    let shared = dir.join("shared");
    fs::create_dir_all(shared.join("blobs/sha256")).expect("a directory");
    for blob in fs::read_dir(images.join("blobs/sha256")).expect("the vectors' blobs") {
        let blob = blob.expect("the vectors' blobs");
        fs::copy(
            blob.path(),
            shared.join("blobs/sha256").join(blob.file_name()),
        )
        .expect("copy a blob");
    }
    fs::copy(
        images.join("inputs").join(&v.name).join("index.json"),
        shared.join("index.json"),
    )
    .expect("copy index.json");
    fs::write(
        shared.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .expect("write oci-layout");
    Layout::open(shared)
}

fn convert(v: &Vector, source: &Layout, dest: &Layout) -> Run {
    let args = [
        "convert",
        &source.arg(),
        &dest.arg(),
        "--no-cache",
        "--build-tool-identifier",
        REFERENCE_TOOL,
    ];
    run(sociable(args).args(&v.args))
}

fn expect(v: &Vector, done: &Run, dest: &Layout, fresh: bool) -> Result<(), String> {
    if v.exit != 0 {
        if fresh && dest.index_json().is_some() {
            return Err(format!("refused, but wrote an image: {done}"));
        }
        let why = v.error.as_deref().unwrap_or_default();
        if let Some(wrong) = done.not_a_refusal() {
            return Err(format!("the reference says {why:?}; {wrong}"));
        }
        // All of them are refused since nothing was left to index.
        if why.contains("no ztocs created") && done.stderr.contains("no layer was indexed") {
            return Ok(());
        }
        return Err(format!(
            "the reference says {why:?}, for another reason: {done}"
        ));
    }
    if done.code != Some(0) {
        return Err(done.to_string());
    }
    let index = dest.index_json().ok_or("no index.json")?;
    if index != v.index_json.as_bytes() {
        return Err(format!(
            "index.json is {}\n  want {}",
            String::from_utf8_lossy(&index),
            v.index_json
        ));
    }
    let wanted = reachable(v);
    assert!(
        wanted.len() >= 6,
        "{}: the image is larger than this",
        v.name
    );
    for digest in &wanted {
        let Some(found) = dest.blob(digest) else {
            let text = v.documents.get(digest).map_or("", String::as_str);
            return Err(format!("no blob {digest} {text}"));
        };
        if let Some(text) = v.documents.get(digest)
            && found != text.as_bytes()
        {
            return Err(format!("document {digest} differs")); // its digest held, so this is a fault of the vector
        }
    }
    Ok(())
}

/// Every blob that the reference's index.json leads to. The reference leaves others in its layout too: the input's own
/// documents, and versions of its own that it replaced before it was done.
fn reachable(v: &Vector) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![v.index_json.clone()];
    while let Some(text) = waiting.pop() {
        let document: Value = serde_json::from_str(&text).expect("a document of the vector");
        let lists = ["manifests", "layers"].map(|key| document[key].as_array());
        let listed = lists.into_iter().flatten().flatten();
        for descriptor in listed.chain(document.get("config")) {
            let digest = descriptor["digest"].as_str().expect("a digest");
            let hex = digest.strip_prefix("sha256:").expect("SHA-256");
            if found.insert(hex.to_owned()) {
                waiting.extend(v.documents.get(hex).cloned());
            }
        }
    }
    let has: BTreeSet<_> = v.blobs.iter().cloned().collect();
    assert!(found.is_subset(&has), "{}: the vector lacks blobs", v.name);
    found
}

/// Which platform is the default depends on the machine, and these were made on amd64.
fn here(v: &Vector) -> bool {
    let fine = cfg!(target_arch = "x86_64") || v.name != "multi-default-platform";
    if !fine {
        skip(&format!(
            "image vector {}: made where amd64 is the default",
            v.name
        ));
    }
    fine
}

#[test]
fn every_image_converts_to_the_references_documents() {
    let mut wrong = Vec::new();
    let all = all();
    assert_eq!(all.len(), 20);
    for v in all.iter().filter(|v| here(v)) {
        let dir = temp_dir();
        let dest = Layout::open(dir.path().join("dest"));
        let done = convert(v, &input(v, dir.path()), &dest);
        wrong.extend(
            expect(v, &done, &dest, true)
                .err()
                .map(|e| format!("{}: {e}", v.name)),
        );
    }
    none(&wrong, all.len());
}

#[test]
fn a_layout_may_be_converted_in_place() {
    let mut wrong = Vec::new();
    let all = all();
    for v in all.iter().filter(|v| here(v)) {
        let dir = temp_dir();
        let source = input(v, dir.path());
        let before = source.index_json();
        let done = convert(v, &source, &source);
        wrong.extend(
            expect(v, &done, &source, false)
                .err()
                .map(|e| format!("{}: {e}", v.name)),
        );
        if v.exit != 0 && source.index_json() != before {
            wrong.push(format!("{}: refused, but changed index.json", v.name));
        }
    }
    none(&wrong, all.len());
}

#[test]
fn what_convert_writes_verify_accepts() {
    let mut wrong = Vec::new();
    let all = all();
    for v in all.iter().filter(|v| v.exit == 0 && here(v)) {
        let dir = temp_dir();
        let dest = Layout::open(dir.path().join("dest"));
        let _ = convert(v, &input(v, dir.path()), &dest).ok();
        let verified = run(&mut sociable(["verify", &dest.arg(), "--json"]));
        if verified.code != Some(0)
            || serde_json::from_slice::<serde_json::Value>(&verified.stdout).is_err()
        {
            wrong.push(format!("{}: {verified}", v.name));
        }
    }
    none(&wrong, all.len());
}
