//! Images read whole, and what two of them differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::layout::{Layout, media};
use crate::sha256;
use crate::tar::{self, Entry};

/// An image, with everything in it.
#[derive(Debug)]
pub struct Image {
    /// Its manifest.
    pub manifest: Value,
    /// Its config.
    pub config: Value,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A layer.
#[derive(Debug)]
pub struct Layer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What is in it, in order.
    pub entries: Vec<Entry>,
}

impl Image {
    /// All images that can be reached from a layout's index.json, without SOCI indexes and attestations.
    ///
    /// # Panics
    /// Where one is not sound: a blob is missing or other than its digest, a layer is other than its config says.
    pub fn all(layout: &Layout) -> Vec<Self> {
        let index = layout.index_json().expect("index.json");
        let mut found = Vec::new();
        walk(
            layout,
            serde_json::from_slice(&index).expect("index.json"),
            &mut found,
        );
        found
    }

    /// The only one.
    ///
    /// # Panics
    /// Where there is none, or another one; and as [`Image::all`].
    #[track_caller]
    pub fn only(layout: &Layout) -> Self {
        let mut all = Self::all(layout);
        assert_eq!(all.len(), 1, "images in {}", layout.dir.display());
        all.remove(0)
    }

    fn read(layout: &Layout, manifest: Value) -> Self {
        let digest = |v: &Value| v["digest"].as_str().expect("a digest").to_owned();
        let config = layout.json(&digest(&manifest["config"]));
        // BuildKit writes `null` where there are none.
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let layers = list(&manifest["layers"]);
        let diff_ids = list(&config["rootfs"]["diff_ids"]);
        assert_eq!(layers.len(), diff_ids.len(), "layers and diff IDs");
        let layers = layers.iter().zip(&diff_ids).map(|(layer, diff_id)| {
            let media_type = layer["mediaType"].as_str().expect("a media type");
            let blob = layout.blob(&digest(layer)).expect("a layer");
            assert_eq!(layer["size"], blob.len(), "a layer's size");
            let bytes = if media_type.ends_with("gzip") {
                let mut bytes = Vec::new();
                let read = MultiGzDecoder::new(&blob[..]).read_to_end(&mut bytes);
                read.expect("a gzip");
                bytes
            } else {
                assert!(media_type.ends_with("tar"), "{media_type}");
                blob
            };
            assert_eq!(*diff_id, sha256(&bytes), "a layer's diff ID");
            Layer {
                digest: digest(layer),
                media_type: media_type.to_owned(),
                entries: tar::entries(&bytes),
            }
        });
        Self {
            layers: layers.collect(),
            config,
            manifest,
        }
    }

    /// When it and its layers were made, as its config says.
    pub fn times(&self) -> Vec<&Value> {
        let history = self.config["history"].as_array().into_iter().flatten();
        let times = history.map(|entry| &entry["created"]);
        times.chain([&self.config["created"]]).collect()
    }

    /// What is other in `other`, but for times at which something was made, for digests, and for a SOCI index.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let (one, two) = (timeless(&self.config), timeless(&other.config));
        if one != two {
            found.push(format!("config:\n  {one}\n  {two}"));
        }
        let (one, two) = (plain(&self.manifest), plain(&other.manifest));
        if one != two {
            found.push(format!("manifest:\n  {one}\n  {two}"));
        }
        let (one, two) = (self.layers.len(), other.layers.len());
        if one != two {
            found.push(format!("layers: {one} and {two}"));
        }
        for (number, (one, two)) in self.layers.iter().zip(&other.layers).enumerate() {
            if one.media_type != two.media_type {
                found.push(format!(
                    "layer {number}: {} and {}",
                    one.media_type, two.media_type
                ));
            }
            let all = compare(&one.entries, &two.entries);
            let few = all.iter().take(10);
            found.extend(few.map(|difference| format!("layer {number}: {difference}")));
            if all.len() > 10 {
                found.push(format!("layer {number}: {} differences in all", all.len()));
            }
        }
        found
    }
}

fn walk(layout: &Layout, document: Value, found: &mut Vec<Image>) {
    if let Some(children) = document["manifests"].as_array() {
        for child in children {
            let child = child["digest"].as_str().expect("a digest");
            walk(layout, layout.json(child), found);
        }
        return;
    }
    let first = document["layers"][0]["mediaType"].as_str();
    let attestation = first.is_some_and(|kind| kind.contains("in-toto"));
    let config = document["config"]["mediaType"].as_str();
    let image = [media::CONFIG, media::DOCKER_CONFIG].map(Some);
    if image.contains(&config) && !attestation {
        found.push(Image::read(layout, document));
    }
}

/// A config without the times in it, each of which has to be there, and without diff IDs.
fn timeless(config: &Value) -> Value {
    let mut config = config.clone();
    let blank = |time: &mut Value| {
        if time.as_str().is_some_and(|time| time.starts_with("20")) {
            *time = "a time".into();
        }
    };
    blank(&mut config["created"]);
    for entry in config["history"].as_array_mut().into_iter().flatten() {
        blank(&mut entry["created"]);
    }
    config["rootfs"]["diff_ids"] = Value::Null;
    config
}

/// A manifest without digests.
fn plain(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    manifest["config"] = manifest["config"]["mediaType"].take();
    manifest["layers"] = Value::Null;
    if let Some(annotations) = manifest["annotations"].as_object_mut() {
        annotations.remove("com.amazon.soci.index-digest");
        if annotations.is_empty() {
            manifest["annotations"] = Value::Null;
        }
    }
    manifest
}

fn compare(one: &[Entry], two: &[Entry]) -> Vec<String> {
    let names = |entries: &[Entry]| -> Vec<String> {
        let names = entries.iter();
        names.map(|e| e.name.escape_ascii().to_string()).collect()
    };
    let (first, second) = (names(one), names(two));
    let [only_first, only_second] = [(&first, &second), (&second, &first)].map(|(here, there)| {
        let there: BTreeSet<_> = there.iter().collect();
        let missing = here.iter().filter(|name| !there.contains(name));
        missing.cloned().collect::<Vec<_>>()
    });
    let mut found = Vec::new();
    found.extend(only_first.iter().map(|name| format!("lacks {name}")));
    found.extend(only_second.iter().map(|name| format!("{name} is too much")));
    if found.is_empty() && first != second {
        let at = first.iter().zip(&second).position(|(one, two)| one != two);
        let at = at.unwrap_or_default();
        found.push(format!(
            "in another order: {:?} and {:?}",
            &first[at..first.len().min(at + 4)],
            &second[at..second.len().min(at + 4)]
        ));
    }
    let there: BTreeMap<_, _> = two.iter().map(|two| (&two.name, two)).collect();
    for one in one {
        if let Some(two) = there.get(&one.name).filter(|two| **two != one) {
            let name = one.name.escape_ascii();
            found.push(format!("{name}: {} and {}", say(one), say(two)));
        }
    }
    found
}

fn say(entry: &Entry) -> String {
    let content = match entry.content.len() {
        0..=40 => entry.content.escape_ascii().to_string(),
        _ => sha256(&entry.content),
    };
    let records = entry.records.iter();
    let records: Vec<_> = records
        .map(|(key, value)| format!("{key}={}", value.escape_ascii()))
        .collect();
    format!(
        "{} {:o} {}:{} {} {} -> {} {:?} {} bytes {content} {records:?}",
        char::from(entry.kind),
        entry.mode,
        entry.uid,
        entry.gid,
        entry.names,
        entry.mtime,
        entry.link.escape_ascii(),
        entry.device,
        entry.content.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{END, entry};

    fn image(dir: &std::path::Path, entries: &[Vec<u8>], config: &Value) -> Image {
        let tar = [entries.concat(), END.to_vec()].concat();
        let layout = Layout::create(dir);
        let layer = layout.add(media::GZIP, &crate::compress::gzip(&tar, 6));
        let mut config = config.clone();
        config["rootfs"]["diff_ids"] = vec![Value::from(sha256(&tar))].into();
        let config = layout.add(media::CONFIG, config.to_string().as_bytes());
        let manifest = serde_json::json!({"config": config, "layers": [layer]});
        layout.set_index(&[layout.add(media::MANIFEST, manifest.to_string().as_bytes())]);
        Image::only(&layout)
    }

    #[test]
    fn every_difference_is_seen() {
        let dir = crate::temp_dir();
        let number = std::cell::Cell::new(0);
        let make = |entries: &[Vec<u8>], config: &str| {
            number.set(number.get() + 1);
            let dir = dir.path().join(number.get().to_string());
            image(&dir, entries, &serde_json::from_str(config).unwrap())
        };
        let file = |name: &[u8], content: &[u8]| entry(b'0', name, b"", content);
        let (a, b) = (file(b"a", b"1"), file(b"b", b""));
        let early = r#"{"created": "2020-01-01T00:00:00Z"}"#;
        let one = make(&[a.clone(), b.clone()], early);
        let same = make(
            &[a.clone(), b.clone()],
            r#"{"created": "2021-01-01T00:00:00Z"}"#,
        );
        assert_eq!(one.differences(&same), [""; 0]);
        for (other, expected) in [
            (make(&[b.clone(), a.clone()], early), "in another order"),
            (make(std::slice::from_ref(&a), early), "lacks b"),
            (
                make(&[a.clone(), b.clone(), file(b"c", b"")], early),
                "c is too much",
            ),
            (make(&[file(b"a", b"2"), b.clone()], early), "a: 0 644"),
            (
                make(&[a.clone(), entry(b'5', b"b", b"", b"")], early),
                "b: 0 644",
            ),
            (make(&[a.clone(), b.clone()], "{}"), "config"),
        ] {
            let found = one.differences(&other);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
