//! Registries that take a blob with one `PUT` and nothing else, as those of some vendors.

use std::fs::File;

use sociable_tests::http::Request;
use sociable_tests::layout::Layout;
use sociable_tests::proxy::{Fault, Rule};
use sociable_tests::registry::Kind;
use sociable_tests::run;

use super::uploads::{LARGE, without_mounts};
use super::{Lab, at_once};
use crate::s;

#[test]
fn registries_that_take_no_patch() {
    let refusals = [
        Fault::NoPatch,
        Fault::status(415),
        // Not said at all: the session just is not there any more.
        Fault::status(404),
    ];
    at_once(refusals, |refusal| {
        let name = "registries_that_take_no_patch";
        let Some(lab) = Lab::with(name, Kind::Distribution, LARGE) else {
            return;
        };
        let expected = lab.undisturbed();
        for broken in [None, Some(Fault::CutRequest { after: 3_000_000 })] {
            without_mounts(&lab);
            let patch = Rule::on("PATCH", "/blobs/uploads/");
            lab.proxy.add(patch.does(refusal.clone()));
            let cut = broken.is_some();
            if let Some(broken) = broken {
                let large = |r: &Request| {
                    let length = r.headers.get("content-length");
                    length.is_some_and(|l| l.len() >= 7)
                };
                let put = Rule::on("PUT", "/blobs/uploads/").only(large);
                lab.proxy.add(put.first(1).does(broken));
            }
            lab.right(run(&mut lab.convert()), &expected);
            let log = lab.proxy.log();
            let puts = log.of("PUT", "/blobs/uploads/");
            let whole = puts.iter().filter(|e| e.up > LARGE as u64).count();
            assert_eq!(whole, 2, "{log}");
            assert_eq!(cut, puts.iter().any(|e| e.up == 3_000_000), "{log}");
            let said = matches!(refusal, Fault::NoPatch);
            // Both layers may have been on their way when it was found out.
            assert!(!said || log.count("PATCH", "") <= 2, "{log}");
        }
    });
}

/// What comes from a pipe cannot be read again, and of what is being packed nobody knows the size.
#[test]
fn streams_to_registries_that_take_no_patch() {
    let Some(lab) = Lab::with("streams_that_take_no_patch", Kind::Distribution, LARGE) else {
        return;
    };
    let expected = lab.undisturbed();
    lab.proxy
        .add(Rule::on("PATCH", "/blobs/uploads/").does(Fault::NoPatch));
    let archive = lab.dir.path().join("image.tar");
    let to_archive = format!("oci-archive:{}", s(&archive));
    let _ = run(&mut lab.command(&["copy", &lab.image.arg(), &to_archive])).ok();
    let mut convert = lab.command(&["convert", "-", &lab.dest()]);
    convert.args(["--no-cache", "--min-layer-size", "0"]);
    convert.stdin(File::open(&archive).expect("an archive"));
    let done = run(&mut convert);
    lab.right(done, &expected);

    let files = lab.dir.path().join("files");
    std::fs::create_dir(&files).expect("a directory");
    std::fs::write(files.join("large"), &lab.layers[0]).expect("a file");
    let pack = |dest: &str| run(&mut lab.command(&["pack", &s(&files), dest])).ok();
    let _ = pack(&lab.proxy.image("packed:1"));
    let layout = Layout::open(lab.dir.path().join("packed"));
    let _ = pack(&layout.arg());
    let index = layout.index_json().expect("index.json");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let packed = lab.result("packed", "1");
    assert_eq!(packed.as_deref(), index["manifests"][0]["digest"].as_str());
    let log = lab.proxy.log();
    let whole = log.of("PUT", "/packed/blobs/uploads/");
    assert!(whole.iter().any(|e| e.up > LARGE as u64), "{log}");
}
