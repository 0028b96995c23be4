//! The build context that all Dockerfiles share, and the images that they build on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;
use sociable_tests::archive::{END, entry};
use sociable_tests::compress::gzip;
use sociable_tests::frontend::{Builder, buildx};
use sociable_tests::layout::{Layout, media};
use sociable_tests::rng::Rng;
use sociable_tests::stack::Stack;
use sociable_tests::{here, run, sha256};

/// `cap_net_raw+ep`, as the kernel stores it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Where everything is.
#[derive(Debug)]
pub(super) struct Context {
    /// The build context.
    pub(super) files: PathBuf,
    /// The Dockerfiles, with this stack's registry.
    pub(super) dockerfiles: PathBuf,
    /// The digest of a blob of the base image, for `ADD URL`.
    pub(super) blob: String,
    /// The base image as a layout.
    pub(super) layout: PathBuf,
}

impl Context {
    /// Makes it, once.
    pub(super) fn of(stack: &Stack) -> &'static Self {
        static CONTEXT: OnceLock<Context> = OnceLock::new();
        CONTEXT.get_or_init(|| {
            let files = stack.dir("dockerfiles");
            fill(&files);
            let copy = "cp /usr/bin/busybox /usr/sbin/setcap /lib/x86_64-linux-gnu/libcap.so.2 /lib/x86_64-linux-gnu/libc.so.6 \
                /lib64/ld-linux-x86-64.so.2";
            let _ = stack.run(&format!("{copy} {}/tools", files.display())).ok();
            let registry = stack.registry();
            let dockerfiles = stack.dir("dockerfiles-texts");
            for file in fs::read_dir(here().join("suite/frontend/dockerfiles")).expect("files") {
                let file = file.expect("files");
                let text = fs::read_to_string(file.path()).expect("a text");
                let to = dockerfiles.join(file.file_name());
                fs::write(to, text.replace("REGISTRY", &registry)).expect("a file");
            }
            for base in ["base", "onbuild-base"] {
                let image = format!("{registry}/dockerfiles-{}:1", base.trim_end_matches("-base"));
                let mut build = buildx(stack, Builder::Buildkitd, &files);
                build.arg("--file").arg(dockerfiles.join(format!("{base}.Dockerfile")));
                let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
            }
            let image = format!("{registry}/dockerfiles-base:1");
            let manifest = stack.json(&format!("crane manifest --insecure {image}"));
            push_bare(stack, &format!("{registry}/dockerfiles-bare:1"));
            let layout = stack.dir("dockerfiles-layout");
            let pull = format!("crane pull --insecure --format oci {image} {}", layout.display());
            let _ = stack.run(&pull).ok();
            Self {
                blob: manifest["layers"][1]["digest"].as_str().expect("a digest").to_owned(),
                files,
                dockerfiles,
                layout,
            }
        })
    }
}

/// Pushes an image with a compressed and an uncompressed layer, and with no history in its config, as some tools make them.
fn push_bare(stack: &Stack, image: &str) {
    let layout = Layout::create(stack.dir("dockerfiles-bare"));
    let layer = |name: &[u8]| [entry(b'0', name, b"", b"bare\n"), END.to_vec()].concat();
    let (one, two) = (layer(b"one"), layer(b"two"));
    let config = json!({
        "architecture": "amd64", "os": "linux", "author": "somebody", "config": {"Env": ["OLD=variable"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&one), sha256(&two)]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": layout.add(media::CONFIG, config.to_string().as_bytes()),
        "layers": [layout.add(media::GZIP, &gzip(&one, 6)), layout.add(media::TAR, &two)],
    });
    layout.set_index(&[layout.add(media::MANIFEST, manifest.to_string().as_bytes())]);
    let push = format!("crane push --insecure {} {image}", layout.dir.display());
    let _ = stack.run(&push).ok();
}

fn fill(dir: &Path) {
    let write = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("a directory");
        fs::write(path, content).expect("a file");
    };
    write("tree/hello", b"hello\n");
    write("tree/run", b"#!/bin/sh\n");
    write("tree/sub/kept", b"kept\n");
    write("tree/sub/left-out", b"left out\n");
    write("tree/sub/deep/file.gz", b"no gzip\n");
    fs::set_permissions(dir.join("tree/run"), PermissionsExt::from_mode(0o4755)).expect("a mode");

    write("links/file", b"file\n");
    for (target, name) in [("file", "to-file"), ("/nowhere", "dangling"), ("..", "up")] {
        symlink(target, dir.join("links").join(name)).expect("a link");
    }
    write("linked/1", b"one inode\n");
    fs::hard_link(dir.join("linked/1"), dir.join("linked/2")).expect("a hard link");

    write("attributes/text", b"text\n");
    write("attributes/capable", b"capable\n");
    let set = |name: &str, key: &str, value: &[u8]| {
        let path = dir.join("attributes").join(name);
        setxattr(path, key, value, XattrFlags::empty()).expect("an attribute");
    };
    set("capable", "security.capability", CAPABILITY);
    set("text", "user.word", b"a=b\nc");
    set("", "user.of-the-directory", b"\0\xff");

    let archive = [
        entry(b'5', b"in/", b"", b""),
        entry(b'0', b"in/file", b"", b"in an archive\n"),
        entry(b'2', b"in/link", b"file", b""),
        entry(b'1', b"in/hard", b"in/file", b""),
        END.to_vec(),
    ];
    let archive = archive.concat();
    write("archive.tar", &archive);
    write("archive.tar.gz", &gzip(&archive, 6));
    let mut rng = Rng::new(3);
    write("noise", &rng.noise(3 << 20));
    write("text", &rng.text(3 << 20));
    write("secret", b"a secret\n");
    write("named/by/context", b"in a context of its own\n");
    fs::create_dir_all(dir.join("tools")).expect("a directory");
    // What tests read as a whole context from stdin.
    let whole = [
        entry(
            b'0',
            b"Dockerfile",
            b"",
            b"FROM scratch\nCOPY . /all\nCOPY file /\n",
        ),
        entry(b'0', b"file", b"", sha256(&archive).as_bytes()),
        END.to_vec(),
    ];
    write("whole.tar", &whole.concat());
}
