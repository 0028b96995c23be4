//! `sociable trace`: what a start reads is recorded, what it does not read is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sociable_tests::rng::Rng;
use sociable_tests::stack;
use sociable_tests::{Run, run, skip, sociable, temp_dir};

use crate::s;

/// Bytes of a page, of which the kernel reads whole ones.
const PAGE: u64 = 4096;
/// The large file, of which little is read.
const LARGE: usize = 4 << 20;

/// Whether commands can be run in a root of FUSE here; a loud line if not.
fn can_run() -> bool {
    let possible = if !cfg!(target_os = "linux") {
        Err("it needs Linux".to_owned())
    } else if !rustix::process::geteuid().is_root() {
        Err("it needs root".to_owned())
    } else {
        let fuse = fs::File::options().read(true).write(true).open("/dev/fuse");
        fuse.map(drop)
            .map_err(|error| format!("/dev/fuse: {error}"))
    };
    match possible {
        Ok(()) => true,
        Err(why) => {
            skip(&format!("sociable trace run: {why}"));
            false
        }
    }
}

/// A root with programs of this machine, their libraries, and files to read.
fn root(dir: &Path) {
    for program in ["sh", "cat", "dd", "sleep"] {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {program}")])).ok();
        let program = PathBuf::from(found.text().trim());
        // A program without libraries is no error here.
        let libraries = run(Command::new("ldd").arg(&program)).text();
        let libraries = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for file in libraries.map(Path::new).chain([&*program]) {
            let to = dir.join(file.strip_prefix("/").expect("absolute"));
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::copy(file, to).expect("copy a program");
        }
    }
    let data = dir.join("data");
    fs::create_dir(&data).expect("a directory");
    let mut rng = Rng::new(17);
    fs::write(data.join("a"), rng.noise(10_000)).expect("a file");
    fs::write(data.join("b"), rng.noise(100)).expect("a file");
    fs::write(data.join("unread"), rng.noise(10_000)).expect("a file");
    fs::write(data.join("large"), rng.noise(LARGE)).expect("a file");
    fs::hard_link(data.join("b"), data.join("another-b")).expect("a link");
    std::os::unix::fs::symlink("a", data.join("link-to-a")).expect("a link");
}

/// Reads `b`, `a` by a link, `b` again by another name, one page of `large`, looks at `unread`, and writes.
const SCRIPT: &str = "cat /data/b /data/link-to-a /data/another-b >/dev/null && \
    dd if=/data/large bs=4096 skip=512 count=1 of=/dev/null 2>/dev/null && \
    test -f /data/unread && echo written >/data/new && cat /data/new";

fn trace(options: &[&str], root: &str, output: &Path, command: &[&str]) -> Run {
    let mut run_it = sociable(["trace", "run", "-o", &s(output)]);
    run_it.args(options).arg(root).arg("--").args(command);
    run(&mut run_it)
}

fn files(trace: &Path) -> Vec<Value> {
    let text = fs::read(trace).expect("a trace");
    let trace: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(trace["format"], "sociable trace 1");
    trace["files"].as_array().expect("files").clone()
}

/// Number in the order, and ranges.
#[track_caller]
fn file<'a>(files: &'a [Value], path: &str) -> (usize, Vec<(u64, u64)>, &'a Value) {
    let at = files.iter().position(|file| file["path"] == path);
    let at = at.unwrap_or_else(|| panic!("{path} is not in {files:#?}"));
    let ranges = serde_json::from_value(files[at]["ranges"].clone()).expect("ranges");
    (at, ranges, &files[at]["size"])
}

/// What must be in a trace of [`SCRIPT`].
fn check(files: &[Value]) {
    let (b, ranges, size) = file(files, "/data/b");
    assert_eq!((ranges, size), (vec![(0, 100)], &Value::from(100)));
    let (a, ranges, _) = file(files, "/data/a");
    assert_eq!(ranges, [(0, 10_000)]);
    let (large, ranges, size) = file(files, "/data/large");
    assert_eq!(
        (ranges, size),
        (vec![(512 * PAGE, PAGE)], &Value::from(LARGE))
    );
    assert!(b < a && a < large, "{files:#?}");
    let paths: BTreeSet<_> = files
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    for not in [
        "/data/unread",
        "/data/new",
        "/data/another-b",
        "/data/link-to-a",
    ] {
        assert!(!paths.contains(not), "{not} is in {files:#?}");
    }
    assert!(!paths.iter().any(|path| path.ends_with("/sleep")));
    // Libraries are mapped; what of them is touched is recorded, before anything that the program reads.
    let libc = paths.iter().find(|path| path.contains("/libc.so"));
    if let Some(libc) = libc {
        let (at, ranges, size) = file(files, libc);
        let read: u64 = ranges.iter().map(|(_, length)| length).sum();
        assert!(at < b && read > 0 && read < size.as_u64().expect("a size") * 9 / 10);
        assert!(ranges.len() > 1);
    }
}

#[test]
fn a_directory_and_its_image_give_the_same_exact_trace() {
    if !can_run() {
        return;
    }
    let dir = temp_dir();
    let rootfs = dir.path().join("root");
    fs::create_dir(&rootfs).expect("a directory");
    root(&rootfs);
    let [out, of_image, wide] = ["out", "image", "wide"].map(|name| dir.path().join(name));
    let done = trace(&[], &s(&rootfs), &out, &["sh", "-c", SCRIPT]).ok();
    assert_eq!(done.text(), "written\n");
    check(&files(&out));
    // The root is as it was, and no mount is left.
    for made in ["proc", "tmp", "run"] {
        assert!(!rootfs.join(made).exists(), "{made} was made in the root");
    }
    assert!(!rootfs.join("data/new").exists());
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    assert!(!mounts.contains("sociable-trace"), "{mounts}");

    let image = format!("oci:{}", s(&dir.path().join("oci")));
    let mut pack = sociable(["pack", "-q", &s(&rootfs), &image]);
    let _ = run(pack.args(["--entrypoint", "sh", "--cmd", "-c", "--env", "X=1"])).ok();
    // The command goes behind the image's entry point.
    let _ = trace(&[], &image, &of_image, &["-c", SCRIPT]).ok();
    assert_eq!(files(&of_image), files(&out));

    let _ = trace(
        &["--read-ahead", "128KiB"],
        &s(&rootfs),
        &wide,
        &["sh", "-c", SCRIPT],
    )
    .ok();
    let wide = files(&wide);
    let (_, ranges, _) = file(&wide, "/data/large");
    let read: u64 = ranges.iter().map(|(_, length)| length).sum();
    assert!((PAGE..1 << 20).contains(&read), "{ranges:?}");
    assert!(
        ranges
            .iter()
            .any(|(at, length)| (*at..at + length).contains(&(512 * PAGE)))
    );
}

#[test]
fn how_a_command_ends() {
    if !can_run() {
        return;
    }
    let dir = temp_dir();
    let rootfs = dir.path().join("root");
    fs::create_dir(&rootfs).expect("a directory");
    root(&rootfs);
    let (rootfs, out) = (s(&rootfs), dir.path().join("out"));
    let exit = |command: &[&str]| trace(&[], &rootfs, &out, command).code;
    assert_eq!(exit(&["sh", "-c", "cat /data/b; exit 7"]), Some(7));
    let _ = file(&files(&out), "/data/b");
    assert_eq!(exit(&["sh", "-c", "kill -KILL $$"]), Some(128 + 9));
    fs::remove_file(&out).expect("a trace");
    let refused = trace(&[], &rootfs, &out, &["no-such-program"]).refused();
    assert!(refused.stderr.contains("no-such-program"), "{refused}");
    assert!(!out.exists());

    // What is read after the end of the recording is no part of it.
    let trap = "trap 'cat /data/a; exit 3' TERM; cat /data/b; while :; do sleep 0.1; done";
    let stopped = trace(&["--stop-after", "1"], &rootfs, &out, &["sh", "-c", trap]).ok();
    assert!(stopped.wall < Duration::from_secs(10), "{stopped}");
    let recorded = files(&out);
    let _ = file(&recorded, "/data/b");
    assert!(recorded.iter().all(|file| file["path"] != "/data/a"));

    fs::remove_file(&out).expect("a trace");
    let mut command = sociable([
        "trace",
        "run",
        "-o",
        &s(&out),
        &rootfs,
        "--",
        "sleep",
        "100",
    ]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("run it");
    thread::sleep(Duration::from_secs(1));
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::INT).expect("interrupt it");
    assert_eq!(child.wait().expect("wait for it").code(), Some(0));
    assert!(files(&out).iter().any(|file| {
        file["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("/sleep"))
    }));
}

#[test]
fn a_mount_records_what_anybody_reads() {
    if !can_run() {
        return;
    }
    let dir = temp_dir();
    let [rootfs, mount] = ["root", "mount"].map(|name| dir.path().join(name));
    for dir in [&rootfs, &mount] {
        fs::create_dir(dir).expect("a directory");
    }
    fs::write(rootfs.join("large"), vec![7; LARGE]).expect("a file");
    fs::write(rootfs.join("unread"), "x").expect("a file");
    let out = dir.path().join("out");
    let mut command = sociable(["trace", "mount", "-o", &s(&out), &s(&rootfs), &s(&mount)]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("run it");
    await_it("a mount", || mount.join("large").exists());
    let page = fs::read(mount.join("unread")).map(|_| ());
    assert!(page.is_ok());
    let _ = run(Command::new("umount").arg(&mount)).ok();
    assert!(child.wait().expect("wait for it").success());
    let recorded = files(&out);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let _ = file(&recorded, "/unread");
}

#[track_caller]
fn await_it(what: &str, is_there: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what} does not come"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A log says which bytes of layers were fetched; the files in those spans are the trace.
#[test]
fn a_log_of_requests_leads_to_files() {
    let dir = temp_dir();
    let rootfs = dir.path().join("root");
    fs::create_dir(&rootfs).expect("a directory");
    let mut rng = Rng::new(23);
    for name in ["a", "b", "c", "d"] {
        fs::write(rootfs.join(name), rng.noise(1 << 20)).expect("a file");
    }
    let layout = dir.path().join("oci");
    let image = format!("oci:{}", s(&layout));
    let pack = ["pack", "-q", "--span-size", "256KiB", &s(&rootfs), &image];
    let _ = run(&mut sociable(pack)).ok();
    let digest = largest_blob(&layout);
    let [log, one, two, both] = ["log", "one", "two", "both"].map(|name| dir.path().join(name));
    let from = |lines: &str, out: &Path| {
        fs::write(
            &log,
            lines.replace("BLOB", &format!("/v2/x/blobs/{digest}")),
        )
        .expect("a log");
        run(&mut sociable([
            "trace",
            "from-requests",
            &image,
            &s(&log),
            "-o",
            &s(out),
        ]))
    };
    // Noise does not compress: offsets in the layer are, nearly, those in the tar.
    let _ = from("GET BLOB bytes=0-1\nGET BLOB bytes=2400000-2500000\n", &one).ok();
    let recorded = files(&one);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let (_, ranges, _) = file(&recorded, "/c");
    assert!(ranges[0].0 > 0 && ranges[0].1 < 1 << 20, "{ranges:?}");
    let _ = from(
        "x BLOB y bytes=3500000-3500009\nnothing\nGET BLOB bytes=100-200\n",
        &two,
    )
    .ok();
    let recorded = files(&two);
    let (d, a) = (file(&recorded, "/d").0, file(&recorded, "/a").0);
    assert_eq!((d, a, recorded.len()), (0, 1, 2));
    let nothing = from("GET BLOB\nGET BLOB bytes=0-1\n", &both).refused();
    assert!(nothing.stderr.contains("hint: "), "{nothing}");
    assert!(!both.exists());

    let merge = ["trace", "merge", &s(&one), &s(&two), "-o", &s(&both)];
    let _ = run(&mut sociable(merge)).ok();
    let merged: Vec<_> = files(&both)
        .iter()
        .map(|file| file["path"].clone())
        .collect();
    assert_eq!(merged, ["/c", "/d", "/a"]);
    let shown = run(&mut sociable(["trace", "show", &s(&both)])).ok().text();
    assert!(shown.contains("3 files, "), "{shown}");
    let json = run(&mut sociable(["trace", "show", "--json", &s(&both)])).ok();
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["files"][0]["path"], "/c");
    assert!(json["bytes_read"].as_u64() < json["bytes_of_files"].as_u64());
}

/// The layer of an image that is little else.
fn largest_blob(layout: &Path) -> String {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs");
    let largest = blobs
        .map(|blob| blob.expect("a blob"))
        .max_by_key(|blob| blob.metadata().expect("a blob").len());
    let name = largest.expect("a blob").file_name();
    format!("sha256:{}", name.to_str().expect("hex"))
}

/// The real soci-snapshotter fetches from the registry that records.
#[test]
fn a_lazy_start_is_recorded() {
    let Some(stack) = stack::start() else {
        return;
    };
    let dir = stack.dir("trace");
    let rootfs = dir.join("root");
    fs::create_dir_all(rootfs.join("bin")).expect("a directory");
    let _ = stack
        .run(&format!("cp /usr/bin/busybox {}", s(&rootfs.join("bin"))))
        .ok();
    let mut rng = Rng::new(29);
    for name in ["early", "middle", "z-late"] {
        fs::write(rootfs.join(name), rng.noise(4 << 20)).expect("a file");
    }
    let image = format!("oci:{}", s(&dir.join("oci")));
    let pack = ["pack", "-q", "--span-size", "256KiB", &s(&rootfs), &image];
    let _ = run(&mut sociable(pack)).ok();
    let out = dir.join("trace.json");
    // Free a moment ago; the network is that of the host.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("its address").to_string();
    drop(port);
    let mut serve = sociable([
        "trace",
        "serve",
        &image,
        "--listen",
        &address,
        "-o",
        &s(&out),
    ]);
    let mut child = serve.stderr(Stdio::null()).spawn().expect("run it");
    await_it("a registry", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let name = format!("{address}/anything:1");
    let _ = stack
        .run(&format!(
            "ctr --namespace lazy images pull --plain-http --snapshotter soci {name}"
        ))
        .ok();
    let words = "/bin/busybox dd if=/z-late bs=4096 skip=256 count=1 of=/dev/null";
    let _ = stack
        .run(&format!(
            "ctr --namespace lazy run --rm --snapshotter soci {name} trace-1 {words}"
        ))
        .ok();
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::INT).expect("interrupt it");
    assert!(child.wait().expect("wait for it").success());
    let recorded = files(&out);
    let (busybox, late) = (file(&recorded, "/bin/busybox"), file(&recorded, "/z-late"));
    assert!(busybox.0 < late.0, "{recorded:#?}");
    let read = |ranges: &[(u64, u64)]| ranges.iter().map(|(_, length)| length).sum::<u64>();
    let fetched = late
        .1
        .iter()
        .any(|(at, length)| (*at..at + length).contains(&(256 * PAGE)));
    assert!(fetched && read(&late.1) < 1 << 20, "{recorded:#?}");
    // Of the file before it only what shares a span with this one's header, which soci-snapshotter looks at first.
    let before = recorded.iter().find(|file| file["path"] == "/middle");
    let before = before.map_or(0, |_| read(&file(&recorded, "/middle").1));
    assert!(before < 1 << 20, "{recorded:#?}");
}
