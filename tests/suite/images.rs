//! Whole images: streams, v1 indexes, the cache, what is read through an index, and what `verify` finds.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sociable_tests::archive::{END, entry};
use sociable_tests::compress::gzip;
use sociable_tests::layout::{Layout, image, media};
use sociable_tests::rng::Rng;
use sociable_tests::{REFERENCE_TOOL, Run, reference, run, sociable, temp_dir};

use crate::{none, s};

const OPTIONS: [&str; 4] = ["--span-size", "65536", "--min-layer-size", "1000"];

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), END.to_vec()].concat()
}

/// An image of three layers: a large one, a small one that changes it, and a plain tar.
fn layered(dir: &Path) -> Layout {
    let mut rng = Rng::new(21);
    let text = rng.text(900_000);
    let base = tar(&[
        entry(b'5', b"app/", b"", b""),
        entry(b'0', b"app/big", b"", &text),
        entry(b'0', b"app/gone", b"", b"deleted above"),
        entry(b'5', b"app/cache/", b"", b""),
        entry(b'0', b"app/cache/old", b"", b"hidden above"),
        entry(b'0', b"etc/passwd", b"", b"root below"),
        entry(b'2', b"link", b"/app/big", b""),
        entry(b'1', b"hard", b"app/big", b""),
    ]);
    let change = tar(&[
        entry(b'0', b"app/.wh.gone", b"", b""),
        entry(b'0', b"app/cache/.wh..wh..opq", b"", b""),
        entry(b'0', b"app/cache/new", b"", b"new"),
        entry(b'0', b"etc/passwd", b"", b"root above"),
    ]);
    let plain = tar(&[entry(b'0', b"plain", b"", &rng.noise(200_000))]);
    image(
        dir,
        &[
            (media::GZIP, &gzip(&base, 6)),
            (media::GZIP, &gzip(&change, 6)),
            (media::TAR, &plain),
        ],
    )
}

fn convert(source: &str, destination: &str, extra: &[&str]) -> Command {
    let mut command = sociable(["convert", source, destination]);
    command.args(OPTIONS).args(extra);
    command
}

/// A streamed archive as buildx writes it: blobs first, then the documents that explain them.
fn buildx(layout: &Layout, to: &Path) {
    let mut names: Vec<_> = fs::read_dir(layout.dir.join("blobs/sha256"))
        .expect("blobs")
        .map(|blob| blob.expect("blobs").file_name().into_string().expect("hex"))
        .collect();
    names.sort();
    let mut archive = Vec::new();
    for name in names {
        let bytes = fs::read(layout.dir.join("blobs/sha256").join(&name)).expect("a blob");
        archive.extend(entry(
            b'0',
            format!("blobs/sha256/{name}").as_bytes(),
            b"",
            &bytes,
        ));
    }
    for name in ["index.json", "oci-layout"] {
        let bytes = fs::read(layout.dir.join(name)).expect("a document");
        archive.extend(entry(b'0', name.as_bytes(), b"", &bytes));
    }
    archive.extend(END);
    fs::write(to, archive).expect("write the archive");
}

fn with_input(mut command: Command, file: &Path) -> Run {
    run(command.stdin(fs::File::open(file).expect("the archive")))
}

#[test]
fn every_way_through_gives_the_same_image() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let direct = Layout::open(dir.path().join("direct"));
    let _ = run(&mut convert(&source.arg(), &direct.arg(), &["--no-cache"])).ok();
    let expected = direct.index_json();
    assert_eq!(direct.indexed().len(), 2, "a gzip layer and a plain one");
    let mut wrong = Vec::new();
    let mut check = |what: &str, layout: &Layout, done: &Run| {
        if done.code != Some(0) || layout.index_json() != expected {
            wrong.push(format!("{what}: {done}"));
        }
    };

    // An archive, and back.
    let file = dir.path().join("image.tar");
    let archive = format!("oci-archive:{}", s(&file));
    let _ = run(&mut convert(&source.arg(), &archive, &["--no-cache"])).ok();
    let back = Layout::open(dir.path().join("back"));
    let done = run(&mut convert(&archive, &back.arg(), &["--no-cache"]));
    check("an image that was converted before", &back, &done);

    // A stream in the order of buildx, and one in our own.
    let streamed = dir.path().join("stream.tar");
    buildx(&source, &streamed);
    let from = Layout::open(dir.path().join("from-stream"));
    let done = with_input(convert("-", &from.arg(), &["--no-cache"]), &streamed);
    check("from a stream", &from, &done);
    let through = with_input(convert("-", "-", &["--no-cache"]), &streamed).ok();
    assert!(!through.stderr.is_empty(), "the report goes to stderr");
    let ours = dir.path().join("ours.tar");
    fs::write(&ours, &through.stdout).expect("write the stream");
    let again = Layout::open(dir.path().join("again"));
    let done = with_input(convert("-", &again.arg(), &["--no-cache"]), &ours);
    check("from a stream of our own", &again, &done);

    // One layer at a time, and in place.
    let slow = Layout::open(dir.path().join("slow"));
    let done = run(&mut convert(
        &source.arg(),
        &slow.arg(),
        &["--no-cache", "--jobs", "1"],
    ));
    check("with one thread", &slow, &done);
    let place = source.copy(dir.path().join("place"));
    let done = run(&mut convert(&place.arg(), &place.arg(), &["--no-cache"]));
    check("in place", &place, &done);
    none(&wrong, 6);
}

#[test]
fn a_cut_stream_is_refused_and_leaves_no_image() {
    let dir = temp_dir();
    let streamed = dir.path().join("stream.tar");
    buildx(&layered(&dir.path().join("source")), &streamed);
    let bytes = fs::read(&streamed).expect("the archive");
    let mut wrong = Vec::new();
    let cuts: Vec<_> = (0..12).map(|n| bytes.len() * n / 12).collect();
    for cut in &cuts {
        let cut_off = dir.path().join("cut.tar");
        fs::write(&cut_off, &bytes[..*cut]).expect("write the archive");
        let dest = Layout::open(dir.path().join(format!("dest-{cut}")));
        let done = with_input(convert("-", &dest.arg(), &["--no-cache"]), &cut_off);
        wrong.extend(done.not_a_refusal().map(|w| format!("cut at {cut}: {w}")));
        if dest.index_json().is_some() {
            wrong.push(format!("cut at {cut}: there is an index.json"));
        }
    }
    none(&wrong, cuts.len());
}

#[test]
fn a_second_run_reads_no_layer() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let cache = s(&dir.path().join("cache"));
    let options = ["--cache-dir", &cache];
    let first = Layout::open(dir.path().join("first"));
    let _ = run(&mut convert(&source.arg(), &first.arg(), &options)).ok();
    // The destination has the layers, so that only the cache decides whether they are read. To read them would be noticed.
    let second = source.copy(dir.path().join("second"));
    for layer in first.indexed() {
        let path = second.blob_path(&layer.layer);
        let size = fs::metadata(&path).expect("a layer").len();
        fs::remove_file(&path).expect("remove the layer");
        let hollow = fs::File::create(&path).expect("a hollow layer");
        hollow.set_len(size).expect("a hollow layer");
    }
    let done = run(&mut convert(&second.arg(), &second.arg(), &options)).ok();
    assert_eq!(second.index_json(), first.index_json(), "{done}");
    // Told to, it reads them; other options are other zTOCs.
    let _ = run(convert(&second.arg(), &second.arg(), &options).arg("--force")).refused();
    let mut other = sociable(["convert", &second.arg(), &second.arg()]);
    let _ = run(other.args(options).args(["--min-layer-size", "1000"])).refused();

    let info = run(&mut sociable([
        "cache",
        "info",
        "--json",
        "--cache-dir",
        &cache,
    ]))
    .ok();
    let info: Value = serde_json::from_slice(&info.stdout).expect("JSON");
    assert_eq!(info["ztocs"], 2);
    let _ = run(&mut sociable(["cache", "clear", "--cache-dir", &cache])).ok();
    // Without the cache, the index that the image has serves as well; to another place the layer has to be read.
    let _ = run(&mut convert(&second.arg(), &second.arg(), &options)).ok();
    assert_eq!(second.index_json(), first.index_json());
    let _ = run(&mut sociable(["cache", "clear", "--cache-dir", &cache])).ok();
    let third = Layout::open(dir.path().join("third"));
    let _ = run(&mut convert(&second.arg(), &third.arg(), &options)).refused();
}

#[test]
fn v1_indexes_stand_beside_the_image() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let dest = Layout::open(dir.path().join("dest"));
    let mut create = sociable(["create", &source.arg(), &dest.arg(), "--no-cache", "--json"]);
    let done = run(create.args(OPTIONS)).ok();
    let report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let index: Value =
        serde_json::from_slice(&dest.index_json().expect("index.json")).expect("JSON");
    let entries = index["manifests"].as_array().expect("a list");
    assert_eq!(entries.len(), 2, "{index}");
    let (image, soci) = (&entries[0], &entries[1]);
    let original: Value =
        serde_json::from_slice(&source.index_json().expect("index.json")).expect("JSON");
    assert_eq!(image["digest"], original["manifests"][0]["digest"]);
    assert_eq!(
        soci["artifactType"],
        "application/vnd.amazon.soci.index.v1+json"
    );
    assert_eq!(
        soci["digest"],
        report["platforms"][0]["soci_index"]["digest"]
    );
    let document = dest.json(soci["digest"].as_str().expect("a digest"));
    assert_eq!(document["subject"]["digest"], image["digest"]);
    assert_eq!(document["layers"].as_array().expect("layers").len(), 2);

    let _ = run(&mut sociable(["verify", &dest.arg()])).ok();
    let cat = run(&mut sociable(["cat", &dest.arg(), "/etc/passwd"])).ok();
    assert_eq!(cat.stdout, b"root above");
    // A v2 index can be made of the result, and the v1 index is no image.
    let both = Layout::open(dir.path().join("both"));
    let _ = run(&mut convert(&dest.arg(), &both.arg(), &["--no-cache"])).ok();
    let _ = run(&mut sociable(["verify", &both.arg()])).ok();
}

/// What is named stays what it is, though there is only one image in it, or only one there.
#[test]
fn an_index_of_one_image_stays_one() {
    let dir = temp_dir();
    let layout = layered(&dir.path().join("in"));
    let listed = |layout: &Layout| -> Vec<Value> {
        let index = layout.index_json().expect("index.json");
        let mut index: Value = serde_json::from_slice(&index).expect("JSON");
        serde_json::from_value(index["manifests"].take()).expect("a list")
    };
    let tag = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    let only = listed(&layout).remove(0);
    let absent = json!({"mediaType": media::MANIFEST, "size": 2, "digest": sociable_tests::sha256(b"{}"),
        "platform": {"architecture": "arm64", "os": "linux"}});
    for (name, manifests) in [
        ("one", vec![only.clone()]),
        ("one of two", vec![only.clone(), absent]),
    ] {
        let list = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests});
        let mut list = layout.add(media::INDEX, list.to_string().as_bytes());
        list["annotations"] = json!({"org.opencontainers.image.ref.name": "app"});
        layout.set_index(std::slice::from_ref(&list));
        let inspected = run(&mut sociable(["inspect", "--json", &layout.arg()])).ok();
        let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
        assert_eq!(inspected["target"]["digest"], list["digest"], "{name}");

        let beside = layout.copy(dir.path().join(format!("{name}, beside")));
        let mut create = sociable(["create", &beside.arg(), &beside.arg()]);
        let _ = run(create.args(OPTIONS)).ok();
        let entries = listed(&beside);
        let kept = if name == "one" { &list } else { &only };
        assert_eq!(entries.len(), 2, "{name}: {entries:?}");
        assert_eq!(entries[0]["digest"], kept["digest"], "{name}");
        assert_eq!(tag(&entries[0]), "app", "{name}");

        let place = layout.copy(dir.path().join(format!("{name}, in place")));
        let _ = run(&mut convert(&place.arg(), &place.arg(), &[])).ok();
        let entries = listed(&place);
        let tagged: Vec<_> = entries.iter().filter(|entry| tag(entry) == "app").collect();
        assert_eq!(tagged.len(), 1, "{name}: {entries:?}");
        assert_ne!(tagged[0]["digest"], list["digest"], "{name}");
    }
}

#[test]
fn files_are_what_a_container_would_see() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let dest = Layout::open(dir.path().join("dest"));
    let _ = run(&mut convert(&source.arg(), &dest.arg(), &["--no-cache"])).ok();
    let image = dest.arg();
    let cat = |path: &str| run(&mut sociable(["cat", &image, path]));
    let big = cat("/app/big").ok().stdout;
    assert_eq!(big.len(), 900_000);
    for (path, content) in [
        ("/link", &big[..]),
        ("/hard", &big),
        ("app/../etc/passwd", b"root above"),
        ("/app/cache/new", b"new"),
    ] {
        assert_eq!(cat(path).ok().stdout, content, "{path}");
    }
    for (path, words) in [
        ("/app/gone", "no such file"),
        ("/app/cache/old", "no such file"),
        ("/app/bigg", "big"),
        ("/app", "is a directory"),
        ("/app/big/x", "not a directory"),
    ] {
        let refused = cat(path).refused();
        assert!(refused.stderr.contains(words), "{path}: {refused}");
    }
    let ls = run(&mut sociable(["ls", "-R", &image])).ok().text();
    let listed: Vec<_> = ls.lines().collect();
    assert_eq!(
        listed,
        [
            "app",
            "app/big",
            "app/cache",
            "app/cache/new",
            "etc",
            "etc/passwd",
            "hard",
            "link",
            "plain"
        ]
    );
    let long = run(&mut sociable(["ls", "-l", &image, "/link"]))
        .ok()
        .text();
    assert!(long.contains("link -> /app/big"), "{long}");
    let json = run(&mut sociable(["ls", "--json", &image, "/etc"]))
        .ok()
        .stdout;
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json[0]["path"], "/etc/passwd");
    assert_eq!(json[0]["size"], 10);
    assert_eq!(json[0]["layer"], 1);
}

#[test]
fn one_file_costs_its_spans() {
    let dir = temp_dir();
    let mut rng = Rng::new(22);
    let entries: Vec<_> = (0..64)
        .map(|n| {
            entry(
                b'0',
                format!("file-{n}").as_bytes(),
                b"",
                &rng.text(100_000),
            )
        })
        .collect();
    let source = image(
        &dir.path().join("source"),
        &[(media::GZIP, &gzip(&tar(&entries), 6))],
    );
    let dest = Layout::open(dir.path().join("dest"));
    let _ = run(&mut convert(&source.arg(), &dest.arg(), &["--no-cache"])).ok();
    // Damage behind the file's spans goes unnoticed, as they are not read; in them, nothing is given out.
    let layer = dest.blob_path(&dest.indexed()[0].layer);
    let mut bytes = fs::read(&layer).expect("the layer");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&layer, &bytes).expect("damage the layer");
    assert_eq!(
        run(&mut sociable(["cat", &dest.arg(), "file-3"]))
            .ok()
            .stdout
            .len(),
        100_000
    );
    let refused = run(&mut sociable(["cat", &dest.arg(), "file-60"])).refused();
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains("digest"),
        "{refused}"
    );
}

/// What is changed in a converted image.
type Lie = fn(&Layout);

fn soci_index(layout: &Layout) -> String {
    let top: Value =
        serde_json::from_slice(&layout.index_json().expect("index.json")).expect("JSON");
    let index = layout.json(top["manifests"][0]["digest"].as_str().expect("a digest"));
    let entries = index["manifests"].as_array().expect("a list");
    let soci = entries
        .iter()
        .find(|e| !e["artifactType"].is_null())
        .expect("a SOCI index");
    soci["digest"].as_str().expect("a digest").to_owned()
}

fn overwrite(layout: &Layout, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = layout.blob_path(digest);
    let mut bytes = fs::read(&path).expect("a blob");
    change(&mut bytes);
    fs::write(&path, bytes).expect("change a blob");
}

/// Puts another zTOC in the place of the first layer's, with every digest above it set right: what a liar would do.
fn replace_ztoc(layout: &Layout, ztoc: &[u8]) {
    let old = layout.indexed()[0].ztoc.clone();
    let new = layout.add("application/octet-stream", ztoc);
    let mut replace = vec![(old, new)];
    let top = layout.index_json().expect("index.json");
    let top: Value = serde_json::from_slice(&top).expect("JSON");
    let list = top["manifests"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let soci = soci_index(layout);
    let image = layout.json(&list)["manifests"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    for document in [soci, image, list] {
        let mut text =
            String::from_utf8(layout.blob(&document).expect("a document")).expect("UTF-8");
        for (old, new) in &replace {
            let size = fs::metadata(layout.blob_path(old)).expect("a blob").len();
            let new_digest = new["digest"].as_str().expect("a digest");
            text = text.replace(
                &format!("\"{old}\",\"size\":{size}"),
                &format!("\"{new_digest}\",\"size\":{}", new["size"]),
            );
            text = text.replace(old, new_digest);
        }
        let new = layout.add("", text.as_bytes());
        replace.push((document, new));
    }
    let (_, list) = replace.pop().expect("the image index");
    let mut list = list;
    list["mediaType"] = media::INDEX.into();
    layout.set_index(&[list]);
}

#[test]
fn verify_finds_what_does_not_hold() {
    let lies: [(&str, &str, Lie); 6] = [
        ("a layer's byte", "damaged", |l| {
            overwrite(l, &l.indexed()[0].layer, |b| b[70_000] ^= 1);
        }),
        ("a zTOC's byte", "", |l| {
            overwrite(l, &l.indexed()[0].ztoc, |b| {
                *b.last_mut().expect("a byte") ^= 1;
            });
        }),
        ("a missing zTOC", "no blob", |l| {
            fs::remove_file(l.blob_path(&l.indexed()[0].ztoc)).expect("remove the zTOC");
        }),
        ("a window", "resume", |l| {
            let mut bytes = l.blob(&l.indexed()[0].ztoc).expect("the zTOC");
            // The second window is in the middle of the checkpoints, which are most of the bytes.
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            replace_ztoc(l, &bytes);
        }),
        ("another layer's zTOC", "", |l| {
            let other = l.blob(&l.indexed()[1].ztoc).expect("the zTOC");
            replace_ztoc(l, &other);
        }),
        ("a SOCI index that is not listed", "not listed", |l| {
            let top: Value =
                serde_json::from_slice(&l.index_json().expect("index.json")).expect("JSON");
            let list = top["manifests"][0]["digest"].as_str().expect("a digest");
            let mut image = l.json(list)["manifests"][0].clone();
            image["annotations"] = Value::Null;
            l.set_index(&[image]);
        }),
    ];
    let mut wrong = Vec::new();
    for (what, words, lie) in &lies {
        let dir = temp_dir();
        let source = layered(&dir.path().join("source"));
        let _ = run(&mut convert(&source.arg(), &source.arg(), &["--no-cache"])).ok();
        let _ = run(&mut sociable(["verify", &source.arg()])).ok();
        // Blobs of the layout may be shared with others: they are changed in place only in this copy.
        lie(&source);
        let found = run(&mut sociable(["verify", &source.arg()]));
        wrong.extend(found.not_a_refusal().map(|w| format!("{what}: {w}")));
        if !found.text().contains(words) && !found.stderr.contains(words) {
            wrong.push(format!("{what}: should say {words:?}: {found}"));
        }
        let json = run(&mut sociable(["verify", &source.arg(), "--json"]));
        if json.code != Some(1) {
            wrong.push(format!("{what}: {json}"));
        }
    }
    none(&wrong, lies.len());
    let dir = temp_dir();
    let plain = layered(&dir.path().join("plain"));
    let refused = run(&mut sociable(["verify", &plain.arg()])).refused();
    assert!(refused.stderr.contains("sociable convert"), "{refused}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let mut child = sociable(["cat", &source.arg(), "/app/big"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run sociable");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("wait");
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn help_completions_and_man_pages_are_there() {
    let dir = temp_dir();
    let man = dir.path().join("man");
    let _ = run(&mut sociable(["man", &s(&man)])).ok();
    let page = fs::read_to_string(man.join("sociable-convert.1")).expect("a man page");
    assert!(page.contains("span\\-size"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let done = run(&mut sociable(["completions", shell])).ok();
        assert!(done.text().contains("convert"), "{done}");
    }
    for command in [
        "convert", "create", "copy", "pull", "push", "rm", "pack", "inspect", "verify", "ls",
        "cat", "ztoc", "cache",
    ] {
        let done = run(&mut sociable([command, "--help"])).ok();
        assert!(done.text().contains("Usage:"), "{done}");
    }
    for bad in [
        &["convert", "oci:x"][..],
        &["convert", "x", "oci:y"],
        &["convert", "oci:x", "oci:y", "--span-size", "-1"],
        &["convert", "oci:x", "oci:y", "--platform", "linux/*"],
        &["inspect", "docker://A"],
    ] {
        let done = run(&mut sociable(bad.iter().copied()));
        assert_eq!(done.code, Some(2), "{done}");
    }
    let mut nothing = sociable(["inspect", "oci:/no/such/layout"]);
    let refused = run(&mut nothing).refused();
    assert!(refused.stderr.contains("/no/such/layout"), "{refused}");
    // Names that a terminal would obey are shown, not sent.
    let source = image(
        &dir.path().join("source"),
        &[(
            media::GZIP,
            &gzip(&tar(&[entry(b'0', b"\x1b[31mred\n", b"", b"")]), 6),
        )],
    );
    let listed = run(&mut sociable(["ls", &source.arg()])).ok();
    assert_eq!(listed.text(), "\\u{1b}[31mred\\n\n");
    std::io::stdout().flush().expect("flush");
}

#[test]
fn a_tag_stays_when_its_image_is_converted_in_place() {
    let dir = temp_dir();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("f"), Rng::new(23).text(300_000)).expect("write a file");
    let layout = Layout::open(dir.path().join("layout"));
    let tagged = format!("{}:v1", layout.arg());
    let _ = run(&mut sociable(["pack", &s(&tree), &tagged, "--no-cache"])).ok();
    let _ = run(&mut convert(&layout.arg(), &layout.arg(), &["--no-cache"])).ok();
    let index: Value =
        serde_json::from_slice(&layout.index_json().expect("index.json")).expect("JSON");
    let entries = index["manifests"].as_array().expect("a list");
    assert_eq!(entries.len(), 1, "{index}");
    assert_eq!(
        entries[0]["annotations"]["org.opencontainers.image.ref.name"],
        "v1"
    );
    // Another tag is another image, beside it.
    let other = format!("{}:v2", layout.arg());
    let mut another = sociable([
        "convert",
        &tagged,
        &other,
        "--no-cache",
        "--span-size",
        "32768",
    ]);
    let _ = run(another.args(["--min-layer-size", "0"])).ok();
    let _ = run(&mut sociable(["verify", &other])).ok();
    let refused = run(&mut sociable(["verify", &layout.arg()])).refused();
    assert!(refused.stderr.contains("v1, v2"), "{refused}");
}

#[test]
fn a_directory_is_not_packed_into_itself() {
    let dir = temp_dir();
    fs::write(dir.path().join("f"), "content").expect("write a file");
    for place in [
        "oci:out",
        "oci-archive:out/archive",
        "oci:.",
        "oci-archive:archive",
    ] {
        let (transport, name) = place.split_once(':').expect("a transport");
        let inside = format!("{transport}:{}", s(&dir.path().join(name)));
        let _ = fs::create_dir(dir.path().join("out"));
        let refused = run(&mut sociable(["pack", &s(dir.path()), &inside])).refused();
        let hint = if name.starts_with("out") {
            "--exclude '/out'"
        } else {
            "elsewhere"
        };
        assert!(refused.stderr.contains(hint), "{place}: {refused}");
        let mut excluded = sociable(["pack", &s(dir.path()), &inside, "--exclude", "/out"]);
        if name.starts_with("out") {
            let _ = run(&mut excluded).ok();
            let listed = run(&mut sociable(["ls", &inside])).ok();
            assert_eq!(listed.text(), "f\n");
        } else {
            let _ = run(&mut excluded).refused();
        }
        fs::remove_dir_all(dir.path().join("out")).expect("remove it");
    }
}

#[test]
fn a_cut_off_blob_at_the_destination_is_written_again() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let dest = Layout::open(dir.path().join("dest"));
    let cache = s(&dir.path().join("cache"));
    let options = ["--cache-dir", &cache];
    let _ = run(&mut convert(&source.arg(), &dest.arg(), &options)).ok();
    for layer in dest.indexed() {
        fs::write(dest.blob_path(&layer.layer), b"").expect("cut the layer off");
    }
    let _ = run(&mut convert(&source.arg(), &dest.arg(), &options)).ok();
    let _ = run(&mut sociable(["verify", &dest.arg()])).ok();
}

#[test]
fn a_missing_layer_is_a_problem_and_not_the_end() {
    let dir = temp_dir();
    let source = layered(&dir.path().join("source"));
    let _ = run(&mut convert(&source.arg(), &source.arg(), &["--no-cache"])).ok();
    fs::remove_file(source.blob_path(&source.indexed()[0].layer)).expect("remove the layer");
    let found = run(&mut sociable(["verify", &source.arg(), "--json"])).stdout;
    let found: Value = serde_json::from_slice(&found).expect("JSON");
    assert_eq!(
        found["problems"].as_array().expect("a list").len(),
        1,
        "{found}"
    );
    assert_eq!(found["ztocs"], 1, "the other layer is checked");
}

#[test]
fn names_of_any_bytes_can_be_read() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = temp_dir();
    let name = b"\xff\n\x1b";
    let layer = gzip(&tar(&[entry(b'0', name, b"", b"content")]), 6);
    let source = image(&dir.path().join("source"), &[(media::GZIP, &layer)]);
    let listed = run(&mut sociable(["ls", "-0", &source.arg()])).ok();
    assert_eq!(listed.stdout, [&name[..], b"\0"].concat());
    let mut cat = sociable(["cat", &source.arg()]);
    let done = run(cat.arg(std::ffi::OsStr::from_bytes(name))).ok();
    assert_eq!(done.stdout, b"content");
}

/// A manifest of one layer, for an architecture that only its config states.
fn manifest_for(layout: &Layout, architecture: &str, layer: &Value) -> Value {
    let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
    let config = layout.add(media::CONFIG, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer]});
    layout.add(media::MANIFEST, manifest.to_string().as_bytes())
}

fn index_of(layout: &Layout, manifests: &[Value], platform: &str) -> Value {
    let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests});
    let mut descriptor = layout.add(media::INDEX, index.to_string().as_bytes());
    descriptor["platform"] = json!({"architecture": platform, "os": "linux"});
    descriptor
}

#[test]
fn indexes_within_indexes_are_read_as_the_reference_reads_them() {
    let Some(mut reference) = reference::start("images::indexes_within_indexes") else {
        return;
    };
    let mut rng = Rng::new(24);
    let mut layer = |layout: &Layout| {
        let bytes = gzip(&tar(&[entry(b'0', b"f", b"", &rng.text(90_000))]), 6);
        layout.add(media::GZIP, &bytes)
    };
    let dir = temp_dir();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for case in ["unstated first", "unstated only", "partly there"] {
        let source = Layout::create(dir.path().join(case));
        let (arm, amd) = (layer(&source), layer(&source));
        let arm = manifest_for(&source, "arm64", &arm);
        let mut amd = manifest_for(&source, "amd64", &amd);
        let list = match case {
            "unstated first" => {
                amd["platform"] = json!({"architecture": "amd64", "os": "linux"});
                let inner = index_of(&source, &[arm.clone(), amd], "amd64");
                vec![inner, index_of(&source, &[arm], "arm64")]
            }
            "unstated only" => vec![
                index_of(&source, &[amd], "amd64"),
                index_of(&source, &[arm], "arm64"),
            ],
            _ => {
                let digest = arm["digest"].as_str().expect("a digest");
                fs::remove_file(source.blob_path(digest)).expect("remove a manifest");
                let inner = index_of(&source, &[arm], "arm64");
                amd["platform"] = json!({"architecture": "amd64", "os": "linux"});
                vec![amd, inner]
            }
        };
        let mut top = index_of(&source, &list, "");
        top.as_object_mut()
            .expect("a descriptor")
            .remove("platform");
        source.set_index(&[top]);
        let theirs = source.copy(dir.path().join(format!("{case}, theirs")));
        let options = json!({"span": 65_536, "min": 1000, "platforms": ["linux/amd64"]});
        let expected = reference.convert(&theirs.dir, options);
        let ours = Layout::open(dir.path().join(format!("{case}, ours")));
        let mut command = convert(&source.arg(), &ours.arg(), &["--no-cache"]);
        command.args([
            "--platform",
            "linux/amd64",
            "--build-tool-identifier",
            REFERENCE_TOOL,
        ]);
        let done = run(&mut command);
        count += 1;
        match expected {
            Ok(_) if done.code == Some(0) && ours.index_json() == theirs.index_json() => {}
            Err(_) if done.not_a_refusal().is_none() => {}
            verdict => wrong.push(format!("{case}: the reference: {verdict:?}; {done}")),
        }
    }
    none(&wrong, count);
}

/// `FROM scratch` for two platforms: one layer, so one SOCI index, listed once for each.
#[test]
fn platforms_may_share_their_layers() {
    let dir = temp_dir();
    let source = Layout::create(dir.path().join("source"));
    let bytes = gzip(
        &tar(&[entry(b'0', b"f", b"", &Rng::new(27).text(90_000))]),
        6,
    );
    let layer = source.add(media::GZIP, &bytes);
    let images = ["amd64", "arm64"].map(|architecture| {
        let mut image = manifest_for(&source, architecture, &layer);
        image["platform"] = json!({"architecture": architecture, "os": "linux"});
        image
    });
    let mut top = index_of(&source, &images, "");
    top["platform"] = Value::Null;
    source.set_index(&[top]);
    let theirs = source.copy(dir.path().join("theirs"));
    let ours = Layout::open(dir.path().join("ours"));
    let mut command = convert(
        &source.arg(),
        &ours.arg(),
        &["--all-platforms", "--no-cache"],
    );
    let _ = run(command.args(["--build-tool-identifier", REFERENCE_TOOL])).ok();
    let verified = run(&mut sociable(["verify", &ours.arg(), "--all-platforms"])).ok();
    assert_eq!(ours.indexed().len(), 2, "{verified}");
    if let Some(mut reference) = reference::start("images::platforms_may_share_their_layers") {
        let options = json!({"span": 65_536, "min": 1000, "all": true});
        reference.convert(&theirs.dir, options).expect("converts");
        assert_eq!(ours.index_json(), theirs.index_json());
    }
}

#[test]
fn the_cache_does_not_change_the_verdict() {
    let dir = temp_dir();
    let mut rng = Rng::new(25);
    let layer = gzip(&tar(&[entry(b'0', b"f", b"", &rng.text(90_000))]), 6);
    let cache = s(&dir.path().join("cache"));
    let options = ["--cache-dir", &cache];
    let right = image(&dir.path().join("right"), &[(media::GZIP, &layer)]);
    let dest = Layout::open(dir.path().join("dest"));
    let _ = run(&mut convert(&right.arg(), &dest.arg(), &options)).ok();
    let wrong = image(&dir.path().join("wrong"), &[(media::TAR, &layer)]);
    let _ = run(&mut convert(&wrong.arg(), &dest.arg(), &options)).refused();
    let stream = dir.path().join("stream.tar");
    buildx(&wrong, &stream);
    let _ = with_input(convert("-", &dest.arg(), &options), &stream).refused();
}

#[test]
fn a_wrong_size_is_refused_every_way() {
    let dir = temp_dir();
    let mut rng = Rng::new(26);
    let source = Layout::create(dir.path().join("source"));
    let large = gzip(&tar(&[entry(b'0', b"f", b"", &rng.text(90_000))]), 6);
    let small = gzip(&tar(&[entry(b'0', b"g", b"", b"small")]), 6);
    for (liar, truth) in [(&large, &small), (&small, &large)] {
        let mut lie = source.add(media::GZIP, liar);
        lie["size"] = json!(liar.len() + 1);
        let truth = source.add(media::GZIP, truth);
        source.set_index(&[source.add_manifest(&[lie, truth])]);
        let stream = dir.path().join("stream.tar");
        buildx(&source, &stream);
        let dest = Layout::open(dir.path().join("dest"));
        let archive = format!("oci-archive:{}", s(&dir.path().join("dest.tar")));
        for destination in [dest.arg(), archive, source.arg()] {
            let mut direct = convert(&source.arg(), &destination, &["--no-cache"]);
            let refused = run(&mut direct).refused();
            let _ = with_input(convert("-", &destination, &["--no-cache"]), &stream).refused();
            assert!(dest.index_json().is_none(), "{refused}");
        }
    }
}
