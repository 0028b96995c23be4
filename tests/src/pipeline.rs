//! A machine of a CI system, in a stack: bash, docker, the AWS client, and a registry that wants to know who one is.
//!
//! The steps of `deploy/` run here as the systems run them. Docker is one with its old image store, as those machines have it; the
//! builder is the stack's `buildkitd`; the registry is the stack's own behind a proxy that hands out tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::ecr::{self, Ecr};
use crate::frontend::{self, Builder};
use crate::proxy::{Gate, Proxy, Tokens};
use crate::rng::Rng;
use crate::stack::Stack;
use crate::{Run, daemons, here, run, run_for};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// A machine for one job: its home and its working directory are new.
#[derive(Debug)]
pub struct Machine {
    /// Where it is.
    pub stack: &'static Stack,
    /// The working directory, with the same path inside and outside.
    pub dir: PathBuf,
    /// The registry with tokens: `HOST:PORT`.
    pub registry: String,
    /// What the registry wants of [`ecr::USER`].
    pub password: String,
    ecr: Ecr,
    _proxy: Proxy,
}

impl Machine {
    /// A machine with the files of a directory to work on.
    pub fn new(stack: &'static Stack, name: &str, files: &Path) -> Self {
        let dir = stack.dir(name);
        copy(files, &dir);
        let _ = stack.dir(&format!("{name}-home"));
        let password = format!("password-of-{name}");
        let proxy = Proxy::start(&stack.registry());
        let tokens = Tokens::new(ecr::USER, &password, "no identity");
        proxy.guard(Gate::Tokens(tokens));
        let registry = proxy.address().to_owned();
        let ecr = Ecr::start(stack, &password, &format!("http://{registry}"));
        Self {
            stack,
            dir,
            registry,
            password,
            ecr,
            _proxy: proxy,
        }
    }

    /// Its variables, before those of a job.
    fn variables(&self) -> Vec<(String, String)> {
        let home = format!("{}-home", self.dir.display());
        let open = self.stack.registry();
        let pairs = [
            (
                "PATH",
                "/opt/stack/bin:/usr/local/bin:/usr/bin:/bin".to_owned(),
            ),
            ("HOME", home),
            ("DOCKER_HOST", docker(self.stack).to_owned()),
            ("BUILDX_NO_DEFAULT_ATTESTATIONS", "1".to_owned()),
            ("AWS_ENDPOINT_URL", self.ecr.endpoint.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a-secret-of-this-test".to_owned()),
            // Registries of tests speak HTTP.
            ("SOCIABLE_PLAIN_HTTP", format!("{},{open}", self.registry)),
            ("SOCIABLE_FRONTEND", frontend::image(self.stack).to_owned()),
            ("SOCIABLE_IMAGE", image(self.stack).to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Runs a script in the working directory, with variables of the job.
    pub fn run(&self, shell: &[&str], script: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = self.stack.command(["env", "-i", "LANG=C.UTF-8"]);
        for (name, value) in self.variables() {
            command.arg(format!("{name}={value}"));
        }
        for (name, value) in variables {
            command.arg(format!("{name}={value}"));
        }
        command.args(shell).arg(script).current_dir(&self.dir);
        run_for(&mut command, PATIENCE)
    }

    /// What stands under a reference of the registry, asked behind the proxy.
    #[track_caller]
    pub fn manifest(&self, reference: &str) -> Value {
        let reference = reference.replace(&self.registry, &self.stack.registry());
        self.stack.json(&format!("crane manifest {reference}"))
    }

    /// Asserts that an image and its SOCI index stand under a reference; their entries of the image index.
    #[track_caller]
    pub fn indexed(&self, reference: &str) -> Vec<Value> {
        let mut index = self.manifest(reference);
        match index["manifests"].take() {
            Value::Array(entries) if entries.len() == 2 => entries,
            other => panic!("{reference} is no image with its index: {other}"),
        }
    }

    /// Writes `noise`, a file that makes a layer large enough for an index, and a Dockerfile of it with more lines.
    pub fn large(&self, seed: u64, more: &str) {
        let noise = Rng::new(seed).noise(12 << 20);
        let dockerfile = format!("FROM scratch\n{more}COPY noise /\nCMD [\"/noise\"]\n");
        fs::write(self.dir.join("noise"), noise).expect("a file");
        fs::write(self.dir.join("Dockerfile"), dockerfile).expect("a file");
    }

    /// Asserts that nothing said contains the password or a token.
    #[track_caller]
    pub fn says_no_secret(&self, done: &Run) {
        let said = format!("{}{}", done.text(), done.stderr);
        for secret in [
            &*self.password,
            "short-lived-secret",
            "a-secret-of-this-test",
        ] {
            assert!(!said.contains(secret), "it says {secret:?}: {said}");
        }
    }
}

/// Flags of `docker buildx create` with which the stack's own builder is used.
pub const BUILDER: &str = "--driver remote unix:///run/buildkit/buildkitd.sock";

/// The Docker of all machines.
fn docker(stack: &Stack) -> &'static str {
    static DOCKER: OnceLock<String> = OnceLock::new();
    DOCKER.get_or_init(|| daemons::old_docker(stack, "ci-docker"))
}

/// The image of `sociable` in the stack's registry, made by `deploy/image/Dockerfile` of the finished static binary.
pub fn image(stack: &Stack) -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let project = here().parent().expect("the project").to_owned();
        let dockerfile = fs::read(project.join("deploy/image/Dockerfile")).expect("its Dockerfile");
        let dir = frontend::context(stack, "image-cli", &[("Dockerfile", &dockerfile)]);
        fs::copy(frontend::binary("sociable"), dir.join("sociable-amd64")).expect("a copy");
        let parts = std::env::var_os("SOCIABLE_IMAGE_PARTS")
            .map_or_else(|| crate::target_dir().join("image"), PathBuf::from);
        for part in ["docker-credential-ecr-login-amd64", "ca-certificates.crt"] {
            fs::copy(parts.join(part), dir.join(part))
                .unwrap_or_else(|error| panic!("{part}: {error}; cargo xtask image makes it"));
        }
        let image = format!("{}/sociable-cli:test", stack.registry());
        let base = busybox(stack);
        let mut build = frontend::buildx(stack, Builder::Buildkitd, &dir);
        build.args(["--build-arg", &format!("BASE={base}")]);
        build.args(["--tag", &image, "--push", "."]);
        let _ = run(&mut build).ok();
        image
    })
}

/// What `busybox` is in the Docker Hub: its links, and `/tmp`.
fn busybox(stack: &Stack) -> String {
    let base = frontend::base(stack);
    let dockerfile = format!(
        "FROM {base}\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"mkdir -p /tmp; chmod 1777 /tmp\"]\n"
    );
    let dir = frontend::context(
        stack,
        "image-busybox",
        &[("Dockerfile", dockerfile.as_bytes())],
    );
    let image = format!("{}/busybox:1", stack.registry());
    let mut build = frontend::buildx(stack, Builder::Buildkitd, &dir);
    let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
    image
}

/// A base image with Debian's Python and pip, as `python:3-slim` has them: `HOST/python:1`.
pub fn python(stack: &Stack) -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let dockerfile = b"FROM scratch\nCOPY root /\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/usr/bin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt\n";
        let dir = frontend::context(stack, "image-python", &[("Dockerfile", dockerfile)]);
        // Those that this machine trusts: packages may come through a mirror.
        let certificates = dir.join("root/etc/ssl/certs");
        fs::create_dir_all(&certificates).expect("a directory");
        let trusted = "/etc/ssl/certs/ca-certificates.crt";
        fs::copy(trusted, certificates.join("ca-certificates.crt")).expect("certificates");
        // What the interpreter and its modules are linked with, and what wheels expect of a system.
        let script = r#"
            mkdir -p root/usr/bin root/bin root/tmp root/usr/lib
            chmod 1777 root/tmp
            cp -a /usr/bin/python3* root/usr/bin/
            cp -a /usr/lib/python3* root/usr/lib/
            rm -f root/usr/lib/python3*/EXTERNALLY-MANAGED
            cp /usr/bin/busybox root/bin/busybox
            cp -a /etc/passwd /etc/group root/etc/
            for file in /usr/bin/python3 /usr/lib/python3*/lib-dynload/*.so; do
              ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true
            done | sort -u >libraries
            dpkg -L libc6 libgcc-s1 libstdc++6 | grep '[.]so' >>libraries
            for file in $(cat libraries); do
              test -f "$file" || continue
              mkdir -p "root$(dirname "$file")"
              cp -L "$file" "root$file"
            done
        "#;
        let mut command = stack.command(["bash", "-ec", script]);
        let _ = run(command.current_dir(&dir)).ok();
        let image = format!("{}/python:1", stack.registry());
        let mut build = frontend::buildx(stack, Builder::Buildkitd, &dir);
        let _ = run(build.args(["--tag", &image, "--push", "."])).ok();
        image
    })
}

/// Copies a directory's files.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).expect("a directory");
            copy(&entry.path(), &to);
        } else {
            // With its mode: scripts are to be run.
            fs::copy(entry.path(), &to).expect("a copy");
        }
    }
}
