//! Docker's archives: what real tools wrote (`vectors/docker`), what an old Docker would write, and what nobody should.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use sociable_tests::archive::{DIALECTS, END, entry, gnu_tar, tar};
use sociable_tests::compress::gzip;
use sociable_tests::layout::Layout;
use sociable_tests::rng::Rng;
use sociable_tests::tree::{Shape, grow};
use sociable_tests::{Run, run, seed, sha256, skip, sociable, temp_dir, vectors};

use crate::s;

const ALL: [&str; 4] = ["--min-layer-size", "0", "--span-size", "65536"];

fn convert(source: &str, destination: &Layout, extra: &[&str]) -> Run {
    let mut command = sociable(["convert", source, &destination.arg()]);
    run(command.args(ALL).args(extra))
}

/// As [`convert`], of a stream.
fn convert_stream(archive: &Path, destination: &Layout) -> Run {
    let file = fs::File::open(archive).expect("an archive");
    let mut command = sociable(["convert", "-", &destination.arg()]);
    run(command.args(ALL).stdin(Stdio::from(file)))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut out)
        .expect("gzip");
    out
}

/// A vector, decompressed.
fn vector(name: &str, dir: &Path) -> PathBuf {
    let packed = vectors().join("docker").join(format!("{name}.tar.gz"));
    let path = dir.join(format!("{name}.tar"));
    fs::write(&path, gunzip(&fs::read(packed).expect("a vector"))).expect("write an archive");
    path
}

fn archive_arg(path: &Path) -> String {
    format!("docker-archive:{}", path.display())
}

/// The digest of the one image in a layout.
fn image_digest(layout: &Layout) -> String {
    let index: Value =
        serde_json::from_slice(&layout.index_json().expect("an image")).expect("JSON");
    let entries = index["manifests"].as_array().expect("manifests");
    assert_eq!(entries.len(), 1);
    entries[0]["digest"].as_str().expect("a digest").to_owned()
}

/// Checks that the one image of a converted layout is whole: gzip layers whose tars are those that the config names, and
/// zTOCs that are what `ztoc build` makes of the layers. Returns config and tars.
#[track_caller]
fn whole(layout: &Layout) -> (Value, Vec<Vec<u8>>) {
    let _ = run(&mut sociable(["verify", &layout.arg()])).ok();
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let index = layout.json(&image_digest(layout));
    let mut entries = index["manifests"].as_array().expect("manifests").iter();
    let image = entries
        .find(|m| m["platform"]["os"] == "linux" && m["artifactType"].is_null())
        .expect("an image");
    let manifest = layout.json(&text(&image["digest"]));
    let config = layout.json(&text(&manifest["config"]["digest"]));
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diff IDs");
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(diff_ids.len(), layers.len());
    let mut tars = Vec::new();
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        assert!(text(&layer["mediaType"]).ends_with("gzip"), "{layer}");
        let blob = layout.blob(&text(&layer["digest"])).expect("a layer");
        assert_eq!(layer["size"], blob.len());
        let tar = gunzip(&blob);
        assert_eq!(*diff_id, sha256(&tar));
        tars.push(tar);
    }
    for indexed in layout.indexed() {
        let blob = layout.blob_path(&indexed.layer);
        let built = run(&mut sociable([
            "ztoc",
            "build",
            &s(&blob),
            "--span-size",
            &indexed.span_size,
        ]))
        .ok();
        assert_eq!(built.digest_and_size().expect("a zTOC").0, indexed.ztoc);
    }
    (config, tars)
}

#[test]
fn what_real_tools_wrote() {
    let dir = temp_dir();
    for (name, reference) in [
        ("docker-graph", ":app"),
        ("docker-graph", ":example.com/team/app:1"),
        ("docker-containerd", ""),
        ("docker-containerd", ":example.com/team/app:1"),
        ("skopeo", ""),
        ("crane", ":@0"),
    ] {
        let source = archive_arg(&vector(name, dir.path())) + reference;
        let converted = Layout::open(dir.path().join("converted"));
        let made = convert(&source, &converted, &[]).ok();
        let plain = matches!(name, "docker-graph" | "skopeo");
        assert_eq!(made.stderr.contains("compressed anew"), plain, "{made}");
        let (config, tars) = whole(&converted);
        assert_eq!(config["config"]["Env"][1], "A=b", "{name}");
        assert_eq!(tars.len(), 3);
        // Two of the three layers are the same, unless a store made them on its own.
        let distinct = converted.indexed().len();
        assert!(distinct == 3, "{name}: {distinct} zTOCs");
        for image in [&source, &converted.arg()] {
            let file = run(&mut sociable(["cat", image, "/app/link"])).ok();
            assert_eq!(file.text(), "config = 1\n", "{name}");
            let list = run(&mut sociable(["ls", image, "/etc"])).ok();
            assert_eq!(list.text(), "hello\n", "{name}");
        }
        let _ = run(&mut sociable(["inspect", &source])).ok();
        fs::remove_dir_all(&converted.dir).expect("remove a layout");
    }
}

#[test]
fn the_same_image_however_it_arrives() {
    let dir = temp_dir();
    let layout = |name: &str| Layout::open(dir.path().join(name));
    let (graph, skopeo) = (
        vector("docker-graph", dir.path()),
        vector("skopeo", dir.path()),
    );
    let _ = convert(&(archive_arg(&graph) + ":app"), &layout("graph"), &[]).ok();
    let _ = convert(&archive_arg(&skopeo), &layout("skopeo"), &["--jobs", "7"]).ok();
    let _ = convert_stream(&skopeo, &layout("stream")).ok();
    let expected = image_digest(&layout("graph"));
    assert_eq!(image_digest(&layout("skopeo")), expected);
    assert_eq!(image_digest(&layout("stream")), expected);
    // Compressed layers are read as they are, and no temporary file is needed for their digests.
    let crane = vector("crane", dir.path());
    let _ = convert(&archive_arg(&crane), &layout("crane"), &[]).ok();
    let _ = convert_stream(&crane, &layout("crane-stream")).ok();
    assert_eq!(
        image_digest(&layout("crane")),
        image_digest(&layout("crane-stream"))
    );
    // An image layout on a pipe says itself what its layers are: plain tars stay as they are.
    let one = vector("docker-containerd", dir.path());
    let _ = convert(&archive_arg(&one), &layout("file"), &[]).ok();
    let _ = convert_stream(&one, &layout("layout-stream")).ok();
    assert_eq!(
        image_digest(&layout("file")),
        image_digest(&layout("layout-stream"))
    );
}

/// What Docker wrote until version 24: an archive by hand.
struct Old {
    entries: Vec<Vec<u8>>,
    layers: Vec<String>,
    diff_ids: Vec<String>,
}

impl Old {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            layers: Vec::new(),
            diff_ids: Vec::new(),
        }
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.entries
            .push(entry(b'0', name.as_bytes(), b"", content));
    }

    /// A layer; one that is there already becomes a link, as Docker does it.
    fn layer(&mut self, tar: &[u8]) {
        let digest = sha256(tar);
        let id = sha256(format!("{} {digest}", self.layers.len()).as_bytes());
        let (id, name) = (id[7..].to_owned(), format!("{}/layer.tar", &id[7..]));
        self.entries
            .push(entry(b'5', format!("{id}/").as_bytes(), b"", b""));
        self.file(&format!("{id}/VERSION"), b"1.0");
        self.file(&format!("{id}/json"), b"{}");
        match self.diff_ids.iter().position(|d| *d == digest) {
            Some(same) => {
                let target = format!("../{}", self.layers[same]);
                self.entries
                    .push(entry(b'2', name.as_bytes(), target.as_bytes(), b""));
            }
            None => self.file(&name, tar),
        }
        self.layers.push(name);
        self.diff_ids.push(digest);
    }

    fn write(mut self, path: &Path) {
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids}})
        .to_string();
        let name = format!("{}.json", &sha256(config.as_bytes())[7..]);
        self.file(&name, config.as_bytes());
        let manifest = json!([{"Config": name, "RepoTags": ["old:1"], "Layers": self.layers}]);
        self.file("manifest.json", manifest.to_string().as_bytes());
        self.file("repositories", br#"{"old":{"1":"x"}}"#);
        self.entries.push(END.to_vec());
        fs::write(path, self.entries.concat()).expect("write an archive");
    }
}

#[test]
fn layers_of_every_dialect_stay_as_they_are() {
    if !gnu_tar() {
        skip("docker: layers of every dialect (no GNU tar)");
        return;
    }
    let mut rng = Rng::new(seed("docker", 6));
    let dir = temp_dir();
    let mut old = Old::new();
    let mut layers = Vec::new();
    for dialect in DIALECTS {
        let (tree, file) = (dir.path().join(dialect), dir.path().join("layer.tar"));
        fs::create_dir(&tree).expect("a directory");
        let plain = matches!(dialect, "ustar" | "v7" | "oldgnu");
        let shape = Shape {
            plain,
            ..Shape::default()
        };
        grow(&tree, shape, &mut rng);
        tar(dialect, &tree, &file);
        let mut layer = fs::read(&file).expect("a tar");
        // Whatever follows the end of an archive belongs to the layer as well.
        let (more, noise) = (rng.below(3), rng.noise(70_000));
        layer.extend_from_slice(&noise[..more * 35_000]);
        layers.push(layer);
    }
    layers.push(layers[1].clone());
    for layer in &layers {
        old.layer(layer);
    }
    let archive = dir.path().join("old.tar");
    old.write(&archive);
    let layout = |name: &str| Layout::open(dir.path().join(name));
    let _ = convert(&archive_arg(&archive), &layout("file"), &["--jobs", "1"]).ok();
    let _ = convert_stream(&archive, &layout("stream")).ok();
    for name in ["file", "stream"] {
        let (_, tars) = whole(&layout(name));
        assert!(tars == layers, "{name}: byte for byte");
    }
    assert_eq!(
        image_digest(&layout("file")),
        image_digest(&layout("stream"))
    );
}

#[test]
fn a_base_image_is_packed_too() {
    let dir = temp_dir();
    let base = archive_arg(&vector("docker-graph", dir.path())) + ":app";
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("new"), "on top").expect("write a file");
    let layout = Layout::open(dir.path().join("packed"));
    let mut command = sociable(["pack", &s(&tree), &layout.arg(), "--base", &base]);
    let _ = run(command.args(ALL)).ok();
    let (config, tars) = whole(&layout);
    assert_eq!(config["config"]["Env"][1], "A=b");
    assert_eq!((tars.len(), layout.indexed().len()), (4, 4));
    let cat = |path: &str| run(&mut sociable(["cat", &layout.arg(), path])).ok().text();
    assert_eq!(
        (cat("/new"), cat("/app/conf")),
        ("on top".to_owned(), "config = 1\n".to_owned())
    );
}

#[test]
fn v1_indexes_too() {
    let dir = temp_dir();
    let source = archive_arg(&vector("skopeo", dir.path()));
    let layout = Layout::open(dir.path().join("v1"));
    let _ = run(sociable(["create", &source, &layout.arg()]).args(ALL)).ok();
    let _ = run(&mut sociable(["verify", &layout.arg()])).ok();
    assert_eq!(layout.indexed().len(), 3);
}

#[test]
fn a_layer_without_an_index_needs_no_valid_tar() {
    let dir = temp_dir();
    let mut rng = Rng::new(7);
    let good = [entry(b'0', b"good", b"", &rng.noise(100_000)), END.to_vec()].concat();
    // A type that no zTOC can hold.
    let odd = [entry(b'7', b"odd", b"", b"x"), END.to_vec()].concat();
    let mut old = Old::new();
    old.layer(&good);
    old.layer(&odd);
    let archive = dir.path().join("old.tar");
    old.write(&archive);
    for (name, stream) in [("file", false), ("stream", true)] {
        let layout = Layout::open(dir.path().join(name));
        let run_with = |minimum: &str| {
            let source = if stream {
                "-".to_owned()
            } else {
                archive_arg(&archive)
            };
            let mut command = sociable(["convert", &source, &layout.arg()]);
            command.args(["--min-layer-size", minimum]);
            if stream {
                command.stdin(fs::File::open(&archive).expect("an archive"));
            }
            run(&mut command)
        };
        let refused = run_with("0").refused();
        assert!(refused.stderr.contains("contiguous files"), "{refused}");
        assert!(layout.index_json().is_none(), "{name}");
        let _ = run_with("1000").ok();
        let (_, tars) = whole(&layout);
        assert!(tars == [good.clone(), odd.clone()]);
        assert_eq!(layout.indexed().len(), 1);
    }
}

#[test]
fn wrong_archives_are_refused_with_a_way_out() {
    let dir = temp_dir();
    let at = |name: &str| dir.path().join(name);
    let graph = vector("docker-graph", dir.path());
    let skopeo = vector("skopeo", dir.path());
    let bytes = fs::read(&skopeo).expect("an archive");
    fs::write(at("packed.tar.gz"), gzip(&bytes, 6)).expect("write");
    fs::write(at("cut.tar"), &bytes[..4000]).expect("write");
    // A byte of a layer's file.
    let text = bytes
        .windows(5)
        .position(|w| w == b"hello")
        .expect("a name");
    let mut damaged = bytes.clone();
    damaged[text] ^= 1;
    fs::write(at("damaged.tar"), damaged).expect("write");
    let layout = Layout::open(at("out"));
    for (source, words) in [
        (
            archive_arg(&graph),
            "it holds example.com/team/app:1, docker.io/library/app:latest",
        ),
        (
            archive_arg(&graph) + ":app:2",
            "has no image \"app:2\"; it holds",
        ),
        (
            archive_arg(&at("packed.tar.gz")),
            "gzip -dc FILE | sociable",
        ),
        (archive_arg(&at("cut.tar")), "truncated"),
        (archive_arg(&at("damaged.tar")), "is damaged"),
        (archive_arg(&at("nowhere.tar")), "No such file"),
        (archive_arg(dir.path()), "not a regular file"),
    ] {
        let refused = convert(&source, &layout, &[]).refused();
        assert!(refused.stderr.contains(words), "{source}: {refused}");
        assert!(layout.index_json().is_none(), "{source}");
    }
    for archive in [at("cut.tar"), at("damaged.tar")] {
        let _ = convert_stream(&archive, &layout).refused();
        assert!(layout.index_json().is_none());
    }
    let to = archive_arg(&at("new.tar"));
    let refused = run(sociable(["convert", &archive_arg(&skopeo), &to]).args(ALL)).refused();
    assert!(refused.stderr.contains("oci-archive:FILE"), "{refused}");
    assert!(!at("new.tar").exists());
}

#[test]
fn no_daemon() {
    let dir = temp_dir();
    let layout = Layout::open(dir.path().join("out"));
    for arguments in [
        ["convert", "docker-daemon:app", &layout.arg()],
        [
            "convert",
            &archive_arg(&vector("skopeo", dir.path())),
            "docker-daemon:app",
        ],
        ["ls", "docker-daemon:app", "/"],
    ] {
        let mut command = sociable(arguments);
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        let refused = run(&mut command).refused();
        assert!(
            refused.stderr.contains("no Docker daemon listens there"),
            "{refused}"
        );
        assert!(refused.stderr.contains("DOCKER_HOST"), "{refused}");
        assert!(!layout.dir.exists());
    }
}
