//! Building images in a stack, by BuildKit's own Dockerfile frontend and by Sociable's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::stack::Stack;
use crate::{Run, run};

/// What builds in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// The one in Docker's daemon, 0.25.
    Docker,
    /// buildkitd, of today.
    Buildkitd,
}

/// Both, for tests that have to pass on both.
pub const BUILDERS: [Builder; 2] = [Builder::Docker, Builder::Buildkitd];

impl Builder {
    /// A word for names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Buildkitd => "buildkitd",
        }
    }

    /// Arguments of `docker buildx build` that choose it. In Docker's daemon only the host's network reaches the registry; buildkitd
    /// gives all steps the host's.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["--builder", "default", "--network", "host"],
            Self::Buildkitd => &["--builder", "rem"],
        }
    }
}

/// The frontend's image in the stack's registry, made of the finished static binary.
///
/// # Panics
/// Where there is no such binary, or no image comes of it.
pub fn image(stack: &Stack) -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let project = crate::here().parent().expect("the project").to_owned();
        let dockerfile = fs::read(project.join("frontend/Dockerfile")).expect("its Dockerfile");
        make(stack, "sociable", &dockerfile, &binary("sociable-frontend"))
    })
}

/// The image of `crates/buildkit`'s example.
///
/// # Panics
/// As [`image`].
pub fn example(stack: &Stack) -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dockerfile =
            b"FROM scratch\nCOPY sociable-frontend-amd64 /files\nENTRYPOINT [\"/files\"]\n";
        make(stack, "files", dockerfile, &binary("examples/files"))
    })
}

fn make(stack: &Stack, name: &str, dockerfile: &[u8], binary: &Path) -> String {
    let dir = context(
        stack,
        &format!("image-{name}"),
        &[("Dockerfile", dockerfile)],
    );
    fs::copy(binary, dir.join("sociable-frontend-amd64")).expect("a copy");
    let image = format!("{}/{name}:test", stack.registry());
    let mut build = buildx(stack, Builder::Buildkitd, &dir);
    let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
    image
}

/// A finished static binary: in the directory that `SOCIABLE_STATIC` names, else the newest in cargo's target directory.
pub fn binary(name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os("SOCIABLE_STATIC") {
        let named = PathBuf::from(named).join(name);
        assert!(
            named.is_file(),
            "SOCIABLE_STATIC: no file {}",
            named.display()
        );
        return named;
    }
    let target = crate::target_dir().join(crate::STATIC);
    let built = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let age = |path: &PathBuf| path.metadata().and_then(|m| m.modified()).ok();
    let newest = built
        .into_iter()
        .filter(|path| path.is_file())
        .max_by_key(age);
    newest.expect("a static binary: `cargo xtask test` builds it, or set SOCIABLE_STATIC")
}

/// A `docker buildx build` of a context, without an output yet, and with plain progress.
pub fn buildx(stack: &Stack, builder: Builder, context: &Path) -> Command {
    let mut command = stack.command([
        "env",
        "DOCKER_HOST=unix:///run/docker.sock",
        "BUILDX_NO_DEFAULT_ATTESTATIONS=1",
    ]);
    command
        .args(["docker", "buildx", "build", "--progress", "plain"])
        .args(builder.arguments())
        .current_dir(context);
    command
}

/// The same with Sociable's frontend and its options, `NAME=VALUE` without the prefix `SOCI_`.
pub fn sociable_buildx(
    stack: &Stack,
    builder: Builder,
    context: &Path,
    options: &[&str],
) -> Command {
    let mut command = buildx(stack, builder, context);
    let frontend = image(stack);
    command.args(["--build-arg", &format!("BUILDKIT_SYNTAX={frontend}")]);
    command.args([
        "--build-arg",
        &format!("SOCI_PLAIN_HTTP={}", stack.registry()),
    ]);
    for option in options {
        command.args(["--build-arg", &format!("SOCI_{option}")]);
    }
    command
}

/// A build context in the stack with these files.
pub fn context(stack: &Stack, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let dir = stack.dir(name);
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
    dir
}

/// A base image with busybox, its links, and a file large enough to be indexed: `HOST/frontend-base:1`, for amd64.
pub fn base(stack: &Stack) -> &'static str {
    static BASE: OnceLock<String> = OnceLock::new();
    BASE.get_or_init(|| {
        let noise = crate::rng::Rng::new(7).noise(12 << 20);
        let dockerfile = b"FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
            COPY base /opt/base\nENV PATH=/bin\n";
        let dir = context(stack, "frontend-base", &[("base", &noise), ("Dockerfile", dockerfile)]);
        let _ = stack.run(&format!("cp /usr/bin/busybox {}", dir.display())).ok();
        let image = format!("{}/frontend-base:1", stack.registry());
        let mut build = buildx(stack, Builder::Buildkitd, &dir);
        let _: Run = run(build.args(["--tag", &image, "--push", "."])).ok();
        image
    })
}
