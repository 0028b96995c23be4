//! `copy`: what comes along with an image.

use serde_json::{Value, json};
use sociable_tests::layout::{Layout, media};
use sociable_tests::{run, sociable, temp_dir};

/// An image index that lists an attestation and the image that it was not made of: what conversion makes of BuildKit's.
/// Returns the digests of what the attestation's subject leads to: manifest, config and layer.
fn converted(layout: &Layout) -> [String; 3] {
    let digest = |v: &Value| v["digest"].as_str().expect("a digest").to_owned();
    let layer = layout.add(media::GZIP, b"a layer that nothing reads");
    let subject = layout.add_manifest(std::slice::from_ref(&layer));
    let config = digest(&layout.json(&digest(&subject))["config"]);
    let new = layout.add_manifest(&[layout.add(media::GZIP, b"another layer")]);
    let statement = layout.add("application/vnd.in-toto+json", b"{}");
    let empty = layout.add(media::CONFIG, b"{}");
    let attestation = json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "config": empty, "layers": [statement],
        "subject": {"mediaType": media::MANIFEST, "digest": subject["digest"], "size": subject["size"]},
    });
    let mut attestation = layout.add(media::MANIFEST, attestation.to_string().as_bytes());
    attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    let index =
        json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [new, attestation]});
    layout.set_index(&[layout.add(media::INDEX, index.to_string().as_bytes())]);
    [digest(&subject), config, digest(&layer)]
}

#[test]
fn what_an_attestation_was_made_of() {
    let dir = temp_dir();
    let from = Layout::create(dir.path().join("from"));
    let subject = converted(&from);
    let copy = |name: &str| {
        let to = Layout::open(dir.path().join(name));
        let _ = run(&mut sociable(["copy", &from.arg(), &to.arg()])).ok();
        // The image is the only one that is listed.
        let listed = |layout: &Layout| -> Value {
            let index = layout.index_json().expect("index.json");
            serde_json::from_slice::<Value>(&index).expect("JSON")["manifests"].take()
        };
        assert_eq!(listed(&to), listed(&from));
        subject.clone().map(|digest| to.blob(&digest).is_some())
    };
    assert_eq!(copy("whole"), [true; 3]);
    // Where not all of it is there, it stays where it is; the image comes all the same. Both images have the config.
    std::fs::remove_file(from.blob_path(&subject[2])).expect("remove a layer");
    assert_eq!(copy("without-layer"), [false, true, false]);
    std::fs::remove_file(from.blob_path(&subject[0])).expect("remove a manifest");
    assert_eq!(copy("without-manifest"), [false, true, false]);
}
