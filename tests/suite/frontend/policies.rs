//! Policies that are built in decide in a build, too.

use std::fs;

use serde_json::Value;
use sociable_tests::frontend::Builder;
use sociable_tests::layout::Layout;
use sociable_tests::rng::Rng;
use sociable_tests::{run, stack};

use super::project::Project;

#[test]
fn a_policy_decides_about_a_build() {
    let Some(stack) = stack::start() else {
        return;
    };
    let large = Rng::new(11).noise(3 << 20);
    let files: &[(&str, &[u8])] = &[
        ("large", &large),
        ("Dockerfile", b"FROM scratch\nCOPY large /large\n"),
    ];
    let project = Project::new(stack, "policies", files);
    // What the SOCI index records, and how many spans the layer has.
    let build = |options: &[&str]| -> (Option<String>, usize) {
        let archive = project.archive(Builder::Buildkitd, options, &[]);
        project.verify(&format!("oci-archive:{archive}"), 1);
        let dir = sociable_tests::temp_dir();
        let mut unpack = std::process::Command::new("tar");
        let _ = run(unpack.args(["-xf", &archive, "-C"]).arg(dir.path())).ok();
        let layout = Layout::open(dir.path());
        let blobs = fs::read_dir(dir.path().join("blobs/sha256")).expect("blobs");
        let documents: Vec<Value> = blobs
            .filter_map(|blob| serde_json::from_slice(&fs::read(blob.ok()?.path()).ok()?).ok())
            .collect();
        let records = documents.iter().filter_map(|document| {
            let record = &document["annotations"]["dev.sociable.policies"];
            record.as_str().map(str::to_owned)
        });
        let info = dir.path().join("ztoc");
        let ztoc = layout.blob(&layout.indexed()[0].ztoc).expect("a zTOC");
        fs::write(&info, ztoc).expect("a file");
        let file = info.to_str().expect("UTF-8");
        let info = run(&mut sociable_tests::sociable([
            "ztoc", "info", file, "--json",
        ]))
        .ok();
        let info: Value = serde_json::from_str(&info.text()).expect("JSON");
        let spans = info["spans"]["count"].as_u64().expect("a number of spans");
        let mut records = records;
        (records.next(), usize::try_from(spans).expect("few"))
    };
    let (record, spans) = build(&[]);
    assert_eq!(record, None);
    let small = "POLICY=adaptive={\"small\":65536,\"large\":65536}";
    let (record, more) = build(&[small]);
    assert!(
        record
            .expect("a record")
            .contains("\"policy\":\"adaptive\"")
    );
    assert!(
        more >= 40 && more > 2 * spans,
        "{more} spans, {spans} without"
    );
    // The same, named apart.
    let apart = [
        "POLICY=adaptive",
        "POLICY_PARAMS={\"small\":65536,\"large\":65536}",
    ];
    assert_eq!(build(&apart).1, more);
}
