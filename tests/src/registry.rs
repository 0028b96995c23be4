//! Real registries, from the module `tests/registries`: started on a free port of 127.0.0.1, with storage of their own,
//! stopped when dropped. They need neither root nor containers, but Go to build them.
//!
//! - `store`: an image put into a registry, and everything behind a tag checked, without any of Sociable's own code.
//! - `tls`: a certificate authority for one test.

mod store;
mod tls;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

pub use store::{ACCEPT, Complete, complete, manifest, push, push_layout, tags};
pub use tls::Authority;

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Docker's: `distribution`, without the referrers API.
    Distribution,
    /// `olareg`: with the referrers API of OCI 1.1.
    Olareg,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Distribution, Self::Olareg];

    fn name(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Olareg => "olareg",
        }
    }
}

/// The program with the registries, built once; none where it cannot be.
fn binary() -> Option<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(path) => Some(path),
        Err(why) => {
            let must = std::env::var("SOCIABLE_REQUIRE_REGISTRIES").is_ok_and(|v| v == "1");
            assert!(!must, "SOCIABLE_REQUIRE_REGISTRIES=1, but: {why}");
            None
        }
    }
}

fn build() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("SOCIABLE_REGISTRIES") {
        return Ok(named.into());
    }
    let out = crate::target_dir().join("registries");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-o"])
        .arg(&out)
        .arg(".")
        .current_dir(crate::here().join("registries"));
    go.env("CGO_ENABLED", "0").stdin(Stdio::null());
    let done = go.output().map_err(|e| format!("no Go here ({e})"))?;
    if done.status.success() {
        Ok(out)
    } else {
        let why = String::from_utf8_lossy(&done.stderr);
        Err(format!("go build failed: {why}"))
    }
}

/// A running registry; none, and a loud line naming the test, where there is no Go.
pub fn start(kind: Kind, test: &str) -> Option<Registry> {
    start_with(kind, test, None)
}

/// A running registry that speaks TLS with a certificate for 127.0.0.1 and localhost from this authority.
pub fn start_tls(kind: Kind, test: &str, authority: &Authority) -> Option<Registry> {
    start_with(kind, test, Some(authority))
}

fn start_with(kind: Kind, test: &str, authority: Option<&Authority>) -> Option<Registry> {
    let Some(binary) = binary() else {
        crate::skip(&format!("{test}: it needs real registries, which need Go"));
        return None;
    };
    let storage = crate::temp_dir();
    let mut command = Command::new(binary);
    command.args(["-kind", kind.name(), "-root"]);
    command.arg(storage.path().join("storage"));
    if let Some(authority) = authority {
        let (cert, key) = authority.issue(storage.path());
        command.arg("-cert").arg(cert).arg("-key").arg(key);
    }
    // Its stdin is a pipe that we hold: it ends with this process at the latest.
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run a registry");
    let mut address = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout)
        .read_line(&mut address)
        .expect("the registry's address");
    if address.is_empty() {
        let mut why = String::new();
        let mut stderr = child.stderr.take().expect("piped");
        stderr.read_to_string(&mut why).expect("its reason");
        panic!("the registry did not start: {why}");
    }
    Some(Registry {
        address: address.trim().to_owned(),
        storage,
        child,
    })
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    address: String,
    storage: TempDir,
    child: Child,
}

impl Registry {
    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `docker://HOST:PORT/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Where it keeps things.
    pub fn storage(&self) -> PathBuf {
        self.storage.path().join("storage")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
