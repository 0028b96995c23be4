//! Images in a real containerd: converted there, kept by its garbage collector, and run.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sociable_tests::layout::{self, Layout, media};
use sociable_tests::rng::Rng;
use sociable_tests::run::{kill_group, start_group};
use sociable_tests::stack::Stack;
use sociable_tests::{archive, compress, run, say, scaled, seed, sociable, stack, temp_dir};

const IMAGE: &str = "example.com/app:1";
const OPTIONS: [&str; 3] = ["--no-cache", "--min-layer-size", "0"];

/// A namespace of a test's own; it goes with it.
struct Namespace {
    name: String,
    stack: &'static Stack,
}

impl Namespace {
    /// None, and a loud line, where there is no containerd.
    fn new(test: &str) -> Option<Self> {
        Some(Self {
            name: format!("{}-{}", test.replace('_', "-"), std::process::id()),
            stack: stack::start()?,
        })
    }

    /// Another one of the same containerd.
    fn beside(&self, name: &str) -> Self {
        Self {
            name: format!("{}-{name}", self.name),
            stack: self.stack,
        }
    }

    fn ctr(&self, words: &[&str]) -> Command {
        let mut command = self.stack.command(["ctr", "-n", &self.name]);
        command.args(words);
        command
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        run(&mut self.ctr(words)).ok().text()
    }

    fn sociable(&self, words: &[&str]) -> Command {
        let mut command = sociable(words);
        command
            .env("CONTAINERD_ADDRESS", self.stack.containerd_socket())
            .env("CONTAINERD_NAMESPACE", &self.name);
        command
    }

    /// A layout as an image, by containerd's own import.
    fn import(&self, layout: &Layout) {
        let mut tar = Vec::new();
        let mut add = |path: &Path| {
            let name = path.strip_prefix(&layout.dir).expect("inside");
            let bytes = std::fs::read(path).expect("read a layout");
            let name = name.to_str().expect("a name").as_bytes();
            tar.extend(archive::entry(b'0', name, b"", &bytes));
        };
        add(&layout.dir.join("oci-layout"));
        add(&layout.dir.join("index.json"));
        for blob in std::fs::read_dir(layout.dir.join("blobs/sha256")).expect("list blobs") {
            add(&blob.expect("list blobs").path());
        }
        tar.extend(archive::END);
        let mut import = self.ctr(&["images", "import", "--no-unpack", "--all-platforms", "-"]);
        let mut import = import
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("run ctr");
        let mut stdin = import.stdin.take().expect("piped");
        stdin.write_all(&tar).expect("feed ctr");
        drop(stdin);
        assert!(import.wait().expect("wait for ctr").success());
    }

    /// The digest that an image's entry has.
    fn target(&self, name: &str) -> Option<String> {
        let list = self.ask(&["images", "ls", &format!("name=={name}")]);
        let line = list.lines().nth(1)?;
        Some(line.split_whitespace().nth(2)?.to_owned())
    }

    fn blobs(&self) -> Vec<String> {
        let list = self.ask(&["content", "ls", "-q"]);
        list.lines().map(str::to_owned).collect()
    }

    /// A blob's labels, but for those that say where it came from.
    fn labels(&self, digest: &str) -> Vec<String> {
        let list = self.ask(&["content", "ls"]);
        let line = list.lines().find(|line| line.starts_with(digest));
        let labels = line.and_then(|line| line.split_whitespace().last());
        let mut labels: Vec<_> = labels
            .unwrap_or_else(|| panic!("no blob {digest}: {list}"))
            .split(',')
            .filter(|label| label.starts_with("containerd.io/gc.ref."))
            .map(str::to_owned)
            .collect();
        labels.sort();
        labels
    }

    fn leases(&self) -> Vec<String> {
        let list = self.ask(&["leases", "ls", "-q"]);
        list.lines().map(str::to_owned).collect()
    }

    /// Runs the garbage collector to its end.
    fn collect_garbage(&self) {
        self.ask(&["leases", "create", "--id", "last"]);
        self.ask(&["leases", "rm", "--sync", "last"]);
    }

    fn remove(&self, image: &str) {
        self.ask(&["images", "rm", "--sync", image]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for (list, remove) in [
            (["images", "ls", "-q"], ["images", "rm", "--sync"]),
            (["leases", "ls", "-q"], ["leases", "rm", "--sync"]),
        ] {
            for thing in run(&mut self.ctr(&list)).text().lines() {
                let _ = run(self.ctr(&remove).arg(thing));
            }
        }
        let _ = run(&mut self.ctr(&["namespaces", "rm", &self.name]));
    }
}

fn layer(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, bytes) in files {
        tar.extend(archive::entry(b'0', name.as_bytes(), b"", bytes));
    }
    tar.extend(archive::END);
    compress::gzip(&tar, 6)
}

/// An image of two layers, named for containerd's import.
fn image(dir: &Path, rng: &mut Rng) -> Layout {
    let below: Vec<_> = (0..20).map(|_| rng.content(400_000)).collect();
    let names: Vec<_> = (0..20).map(|n| format!("file-{n}")).collect();
    let below: Vec<_> = names.iter().map(String::as_str).zip(below).collect();
    let layers = [
        layer(&below),
        layer(&[("hello", b"from the image\n".to_vec())]),
    ];
    let layout = layout::image(dir, &layers.each_ref().map(|l| (media::GZIP, &l[..])));
    let index = layout.index_json().expect("index.json");
    let mut index: Value = serde_json::from_slice(&index).expect("index.json");
    index["manifests"][0]["annotations"] = json!({ "io.containerd.image.name": IMAGE });
    layout.set_index(index["manifests"].as_array().expect("a list"));
    layout
}

fn digest(report: &str) -> String {
    let report: Value = serde_json::from_str(report).expect("JSON");
    report["image"]["digest"].as_str().expect("a digest").into()
}

#[test]
fn converted_in_place_and_kept() {
    let Some(namespace) = Namespace::new("converted_in_place_and_kept") else {
        return;
    };
    let mut rng = Rng::new(seed("interop::containerd::converted_in_place_and_kept", 61));
    let dir = temp_dir();
    let source = image(&dir.path().join("source"), &mut rng);
    namespace.import(&source);
    let old = namespace.target(IMAGE).expect("imported");
    let old_labels = namespace.labels(&old);
    let old_blobs = namespace.blobs();

    // The same image as from a layout to a layout.
    let there = Layout::open(dir.path().join("there"));
    let expected = run(sociable(["convert", &source.arg(), &there.arg(), "--json"]).args(OPTIONS));
    let expected = digest(&expected.ok().text());
    let words = [
        "convert",
        &format!("containerd:{IMAGE}"),
        "containerd:team/app:soci",
        "--json",
    ];
    let made = run(namespace.sociable(&words).args(OPTIONS));
    assert_eq!(digest(&made.ok().text()), expected);
    // Under the name that Docker completes it to; the old image as it was.
    let name = "docker.io/team/app:soci";
    assert_eq!(namespace.target(name), Some(expected.clone()));
    assert_eq!(namespace.target(IMAGE), Some(old.clone()));
    assert_eq!(namespace.labels(&old), old_labels);
    assert_eq!(namespace.leases(), [""; 0]);

    // Labelled as containerd's import labels the very same image.
    let index = there.json(&expected);
    let mut documents = vec![expected.clone()];
    for entry in index["manifests"].as_array().expect("a list") {
        documents.push(entry["digest"].as_str().expect("a digest").to_owned());
    }
    let named = json!({"mediaType": media::INDEX, "digest": expected, "size": index_size(&there, &expected),
        "annotations": {"io.containerd.image.name": "example.com/imported:1"}});
    there.set_index(&[named]);
    let twin = namespace.beside("twin");
    twin.import(&there);
    for document in &documents {
        assert_eq!(
            namespace.labels(document),
            twin.labels(document),
            "{document}"
        );
    }
    // Blobs that another namespace has are not sent again, and are there all the same.
    let third = namespace.beside("third");
    let again = ["convert", &source.arg(), "containerd:again", "--json"];
    let again = run(third.sociable(&again).args(OPTIONS)).ok();
    assert_eq!(digest(&again.text()), expected);
    drop(twin);
    run(&mut third.sociable(&["verify", "containerd:again"]))
        .ok()
        .text();
    drop(third);

    // Everything stays when nothing but the new image refers to it, and goes with it.
    namespace.collect_garbage();
    namespace.remove(IMAGE);
    let verified = run(&mut namespace.sociable(&["verify", "containerd:team/app:soci"])).ok();
    assert!(verified.text().contains("all claims hold"), "{verified}");
    let cat = ["cat", "containerd:docker.io/team/app:soci", "/hello"];
    assert_eq!(
        run(&mut namespace.sociable(&cat)).ok().text(),
        "from the image\n"
    );
    let kept = namespace.blobs();
    for blob in there_blobs(&there, &documents) {
        assert!(kept.contains(&blob), "{blob} is not there");
    }
    assert!(old_blobs.contains(&old));
    namespace.remove(name);
    assert_eq!(namespace.blobs(), [""; 0]);
}

fn index_size(layout: &Layout, digest: &str) -> usize {
    layout.blob(digest).expect("the index").len()
}

/// Documents, and all that they list.
fn there_blobs(layout: &Layout, documents: &[String]) -> Vec<String> {
    let mut all = documents.to_vec();
    for document in documents {
        let document = layout.json(document);
        let lists = [&document["layers"], &document["manifests"]];
        let listed = lists
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .chain([&document["config"]]);
        all.extend(listed.filter_map(|d| d["digest"].as_str().map(str::to_owned)));
    }
    all
}

#[test]
fn an_index_beside_an_image() {
    let Some(namespace) = Namespace::new("an_index_beside_an_image") else {
        return;
    };
    let mut rng = Rng::new(seed("interop::containerd::an_index_beside_an_image", 62));
    let dir = temp_dir();
    namespace.import(&image(&dir.path().join("source"), &mut rng));
    let old = namespace.target(IMAGE);
    let place = format!("containerd:{IMAGE}");
    let made = run(namespace
        .sociable(&["create", &place, &place])
        .args(OPTIONS));
    assert!(made.ok().text().contains("index v1"));
    assert_eq!(namespace.target(IMAGE), old);
    namespace.collect_garbage();
    let verified = run(&mut namespace.sociable(&["verify", &place])).ok();
    assert!(
        verified.text().starts_with("1 SOCI index of") && verified.text().contains("claims hold"),
        "{verified}"
    );
    namespace.remove(IMAGE);
    assert_eq!(namespace.blobs(), [""; 0]);
}

/// Manifests for two platforms, each with its layer.
fn two_platforms(layout: &Layout) -> [(Value, Value); 2] {
    ["amd64", "arm64"].map(|architecture| {
        let bytes = layer(&[("which", architecture.as_bytes().to_vec())]);
        let layer = layout.add(media::GZIP, &bytes);
        let config = json!({"architecture": architecture, "os": "linux"}).to_string();
        let config = layout.add(media::CONFIG, config.as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer]});
        let mut entry = layout.add(media::MANIFEST, manifest.to_string().as_bytes());
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        (entry, layer)
    })
}

#[test]
fn platforms_without_an_index_get_one() {
    let Some(namespace) = Namespace::new("platforms_without_an_index_get_one") else {
        return;
    };
    let dir = temp_dir();
    let layout = Layout::create(dir.path().join("source"));
    layout.set_index(&two_platforms(&layout).map(|(entry, _)| entry));
    let place = format!("containerd:{IMAGE}");
    let mut command = namespace.sociable(&["create", &layout.arg(), &place, "--all-platforms"]);
    run(command.args(OPTIONS)).ok().text();
    namespace.collect_garbage();
    let verified = run(&mut namespace.sociable(&["verify", &place])).ok();
    assert!(verified.text().starts_with("2 SOCI indexes"), "{verified}");
    let list = namespace.ask(&["images", "ls"]);
    assert!(list.contains("linux/amd64,linux/arm64"), "{list}");
    namespace.remove(IMAGE);
    assert_eq!(namespace.blobs(), [""; 0]);
}

#[test]
fn platforms_that_were_never_pulled() {
    let Some(namespace) = Namespace::new("platforms_that_were_never_pulled") else {
        return;
    };
    let dir = temp_dir();
    let layout = Layout::create(dir.path().join("source"));
    let entries = two_platforms(&layout);
    let list: Vec<_> = entries.iter().map(|(entry, _)| entry).collect();
    let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": list});
    let mut index = layout.add(media::INDEX, index.to_string().as_bytes());
    index["annotations"] = json!({ "io.containerd.image.name": IMAGE });
    layout.set_index(&[index]);
    namespace.import(&layout);
    // As after a pull for one platform: the other's manifest is there, its layer is not.
    let absent = entries[1].1["digest"].as_str().expect("a digest");
    namespace.ask(&["content", "rm", absent]);
    let convert = |words: &[&str]| {
        let place = format!("containerd:{IMAGE}");
        let mut command = namespace.sociable(&["convert", &place, "containerd:example.com/new:1"]);
        run(command.args(OPTIONS).args(words))
    };
    let missing = convert(&["--platform", "linux/arm64"]).refused();
    assert!(missing.stderr.contains("has no blob"), "{missing}");
    assert_eq!(namespace.target("example.com/new:1"), None);
    // Nor is the manifest.
    let manifest = entries[1].0["digest"].as_str().expect("a digest");
    namespace.ask(&["content", "rm", manifest]);
    let made = convert(&["--platform", "linux/amd64"]).ok();
    assert!(made.text().contains("linux/amd64"), "{made}");
    let cat = ["cat", "containerd:example.com/new:1", "/which"];
    assert_eq!(run(&mut namespace.sociable(&cat)).ok().text(), "amd64");
}

#[test]
fn killed_at_any_moment() {
    let Some(namespace) = Namespace::new("killed_at_any_moment") else {
        return;
    };
    let mut rng = Rng::new(seed("interop::containerd::killed_at_any_moment", 63));
    let dir = temp_dir();
    let source = image(&dir.path().join("source"), &mut rng);
    namespace.import(&image(&dir.path().join("old"), &mut rng));
    let place = format!("containerd:{IMAGE}");
    let convert = || {
        let mut command = namespace.sociable(&["convert", &source.arg(), &place]);
        command.args(OPTIONS);
        command
    };
    let old = namespace.target(IMAGE).expect("imported");
    let elsewhere = format!("containerd:{IMAGE}-elsewhere");
    let whole = ["convert", &source.arg(), &elsewhere, "--json"];
    let started = Instant::now();
    let new = digest(&run(namespace.sociable(&whole).args(OPTIONS)).ok().text());
    let whole = started.elapsed();
    namespace.remove(&format!("{IMAGE}-elsewhere"));

    let (mut killed, rounds) = (0, scaled(12).max(4));
    for _ in 0..rounds {
        let mut convert = convert();
        let mut child = start_group(
            convert.stdout(Stdio::null()).stderr(Stdio::null()),
            "sociable",
        );
        let micros = u64::try_from(whole.as_micros()).expect("a short time");
        thread::sleep(Duration::from_micros(rng.number() % micros.max(1)));
        if child.try_wait().expect("wait for a child").is_none() {
            kill_group(&mut child);
            killed += 1;
        }
        let _ = child.wait();
        namespace.collect_garbage();
        let target = namespace.target(IMAGE).expect("the image");
        assert!(target == old || target == new, "{target}");
        if target == new {
            run(&mut namespace.sociable(&["verify", &place]))
                .ok()
                .text();
        }
        // A lease that is left behind ends some day.
        let leases = namespace.ask(&["leases", "ls"]);
        for lease in leases.lines().skip(1) {
            assert!(lease.contains("containerd.io/gc.expire="), "{lease}");
        }
    }
    say(&format!(
        "interop::containerd::killed_at_any_moment: {killed} of {rounds} killed"
    ));
    assert!(killed > 0);
    run(&mut convert()).ok().text();
    assert_eq!(namespace.target(IMAGE), Some(new));
    run(&mut namespace.sociable(&["verify", &place]))
        .ok()
        .text();
}

#[test]
fn garbage_is_collected_while_an_image_is_made() {
    let Some(namespace) = Namespace::new("garbage_is_collected_while_an_image_is_made") else {
        return;
    };
    let mut rng = Rng::new(seed(
        "interop::containerd::garbage_is_collected_while_an_image_is_made",
        66,
    ));
    let dir = temp_dir();
    let source = image(&dir.path().join("source"), &mut rng);
    namespace.import(&source);
    let manifest: Value =
        serde_json::from_slice(&source.index_json().expect("index.json")).expect("JSON");
    let manifest = manifest["manifests"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let layers = source.json(&manifest)["layers"].clone();
    let layer = |n: usize| layers[n]["digest"].as_str().expect("a digest");
    // The first layer is there already, the second is not.
    namespace.ask(&["content", "rm", layer(1)]);

    let place = "containerd:example.com/new:1";
    let mut child = namespace
        .sociable(&["convert", "-q", "-", place])
        .args(OPTIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("run sociable");
    let mut stdin = child.stdin.take().expect("piped");
    let mut send = |name: &str, bytes: &[u8]| {
        let entry = archive::entry(b'0', name.as_bytes(), b"", bytes);
        stdin.write_all(&entry).expect("feed sociable");
    };
    send("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let config = source.json(&manifest)["config"]["digest"].clone();
    let config = config.as_str().expect("a digest");
    for digest in [layer(0), layer(1), config, &manifest] {
        let bytes = source.blob(digest).expect("a blob");
        send(&format!("blobs/{}", digest.replace(':', "/")), &bytes);
    }
    // Now the second is there, and so the first has been looked at.
    let start = Instant::now();
    while !namespace.blobs().iter().any(|blob| blob == layer(1)) {
        assert!(start.elapsed() < Duration::from_mins(1), "no second layer");
        thread::sleep(Duration::from_millis(20));
    }
    namespace.remove(IMAGE);
    namespace.collect_garbage();
    send("index.json", &source.index_json().expect("index.json"));
    stdin.write_all(&archive::END).expect("feed sociable");
    drop(stdin);
    assert!(child.wait().expect("wait for sociable").success());
    run(&mut namespace.sociable(&["verify", place])).ok().text();
    assert_eq!(namespace.leases(), [""; 0]);
}

#[test]
fn two_at_once() {
    let Some(namespace) = Namespace::new("two_at_once") else {
        return;
    };
    let mut rng = Rng::new(seed("interop::containerd::two_at_once", 64));
    let dir = temp_dir();
    let source = image(&dir.path().join("source"), &mut rng);
    let names: Vec<_> = (0..3).map(|n| format!("example.com/app:{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            let to = format!("containerd:{name}");
            let mut command = namespace.sociable(&["convert", &source.arg(), &to]);
            scope.spawn(move || run(command.args(OPTIONS)).ok().text());
        }
    });
    namespace.collect_garbage();
    for name in &names {
        let place = format!("containerd:{name}");
        run(&mut namespace.sociable(&["verify", &place]))
            .ok()
            .text();
    }
    assert_eq!(namespace.leases(), [""; 0]);
}

#[test]
fn packed_and_run() {
    let Some(namespace) = Namespace::new("packed_and_run") else {
        return;
    };
    // A program that needs nothing: the busybox of the place where containerd is.
    let busybox = namespace.stack.run("cat /usr/bin/busybox").ok();
    let dir = temp_dir();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("bin")).expect("a directory");
    std::fs::write(root.join("bin/busybox"), &busybox.stdout).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.join("bin/busybox"), mode).expect("a mode");
    std::fs::write(root.join("hello"), "from the image\n").expect("write");
    let place = format!("containerd:{IMAGE}");
    run(&mut namespace.sociable(&["pack", root.to_str().expect("UTF-8"), &place]))
        .ok()
        .text();
    namespace.collect_garbage();
    for snapshotter in ["overlayfs", "soci"] {
        let words = [
            "run",
            "--rm",
            "--snapshotter",
            snapshotter,
            IMAGE,
            &format!("{}-{snapshotter}", namespace.name),
            "/bin/busybox",
            "cat",
            "/hello",
        ];
        assert_eq!(namespace.ask(&words), "from the image\n", "{snapshotter}");
    }
}

#[test]
fn what_is_not_there() {
    // No containerd is needed to say that there is none.
    let dir = temp_dir();
    let socket = dir.path().join("containerd.sock");
    let nobody = run(sociable(["inspect", "containerd:app"]).env("CONTAINERD_ADDRESS", &socket));
    let nobody = nobody.refused();
    assert!(
        nobody.stderr.contains(&format!(
            "cannot connect to containerd at {}",
            socket.display()
        )) && nobody.stderr.contains("hint: is containerd running?"),
        "{nobody}"
    );
    let Some(namespace) = Namespace::new("what_is_not_there") else {
        return;
    };
    let empty = run(&mut namespace.sociable(&["inspect", "containerd:app"])).refused();
    assert!(
        empty.stderr.contains("app or docker.io/library/app:latest")
            && empty.stderr.contains("this namespace is empty"),
        "{empty}"
    );
    let mut rng = Rng::new(65);
    namespace.import(&image(&dir.path().join("source"), &mut rng));
    let place = format!("containerd:{IMAGE}");
    let mut elsewhere = sociable(["inspect", &place, "--containerd-namespace", "no-such-one"]);
    let elsewhere =
        run(elsewhere.env("CONTAINERD_ADDRESS", namespace.stack.containerd_socket())).refused();
    // Other tests' namespaces may have one of the same name.
    let (_, found) = elsewhere.stderr.split_once("; the name").expect("a hint");
    assert!(
        found.contains(&namespace.name) && found.contains("--containerd-namespace"),
        "{elsewhere}"
    );
    let digest = format!("containerd:example.com/app@{}", "sha256:00");
    let named = run(&mut namespace.sociable(&["convert", &place, &digest])).refused();
    assert!(named.stderr.contains("has a digest"), "{named}");
}
