//! Registries that misbehave: the finished `sociable` through a proxy that does wrong, in front of a real registry.
//!
//! Whatever happens, the result is right, or there is none and a sentence says why.

mod auth;
mod disk;
mod downloads;
mod heads;
mod killed;
mod manifests;
mod referrers;
mod uploads;
mod whole;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use sociable_tests::layout::{self, Layout, media};
use sociable_tests::proxy::{Gate, Proxy};
use sociable_tests::registry::{self, Kind, Registry};
use sociable_tests::rng::Rng;
use sociable_tests::{Run, archive, compress, run, sociable, temp_dir};

/// An image of two layers in `src/app:1` of a real registry, and a proxy before it.
struct Lab {
    registry: Registry,
    proxy: Proxy,
    dir: tempfile::TempDir,
    image: Layout,
    /// The layers' bytes.
    layers: Vec<Vec<u8>>,
    /// What `small.txt` of the first layer holds.
    small: Vec<u8>,
    /// The destination is a new repository each round.
    round: Cell<usize>,
}

/// Bytes of each layer's large file, which hardly compresses.
const LARGE: usize = 2 << 20;

/// What `small.txt` holds, and two layers.
type Layers = (Vec<u8>, Vec<Vec<u8>>);

/// Layers, made once for each size.
fn layers(large: usize) -> Layers {
    static MADE: Mutex<BTreeMap<usize, Layers>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.entry(large).or_insert_with(|| {
        let mut rng = Rng::new(21);
        let small = rng.text(1000);
        let mut layer = |first: &[u8], name: &str| {
            let mut tar = archive::entry(b'0', name.as_bytes(), b"", first);
            let noise = rng.noise(large);
            tar.extend(archive::entry(b'0', b"large", b"", &noise));
            tar.extend(archive::END);
            compress::gzip(&tar, 6)
        };
        let layers = vec![layer(&small, "small.txt"), layer(b"other", "other.txt")];
        (small, layers)
    });
    made.clone()
}

/// Goes through several cases at once, each in a lab of its own: most of their time they wait.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    let case = &case;
    thread::scope(|scope| {
        for one in cases {
            scope.spawn(move || case(one));
        }
    });
}

impl Lab {
    fn new(test: &str) -> Option<Self> {
        Self::with(test, Kind::Distribution, LARGE)
    }

    fn with(test: &str, kind: Kind, large: usize) -> Option<Self> {
        let registry = registry::start(kind, &format!("faults::{test}"))?;
        let (small, layers) = layers(large);
        let dir = temp_dir();
        let listed: Vec<_> = layers.iter().map(|l| (media::GZIP, &l[..])).collect();
        let image = layout::image(&dir.path().join("image"), &listed);
        registry::push_layout(&image, registry.address(), "src/app", "1");
        let proxy = Proxy::start(registry.address());
        Some(Self {
            registry,
            proxy,
            dir,
            image,
            layers,
            small,
            round: Cell::new(0),
        })
    }

    /// A command that may speak plain HTTP with the proxy, keeps no cache, and knows nobody's credentials.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = sociable(args.iter().copied());
        command.args(["--plain-http", self.proxy.address()]);
        self.bare(&mut command);
        command
    }

    /// Takes the user's own settings away.
    fn bare(&self, command: &mut Command) {
        command.env("DOCKER_CONFIG", self.dir.path().join("no-config"));
        command.env("HOME", self.dir.path());
        command.env_remove("REGISTRY_AUTH_FILE");
        command.env_remove("XDG_RUNTIME_DIR");
        command.env_remove("SOCIABLE_PLAIN_HTTP");
        command.env_remove("SOCIABLE_CA_FILE");
    }

    /// Begins anew: an honest proxy with an empty log, another destination.
    fn fresh(&self) {
        self.proxy.clear();
        self.proxy.forget();
        self.round.set(self.round.get() + 1);
    }

    /// The destination's repository.
    fn repository(&self) -> String {
        format!("dst/app{}", self.round.get())
    }

    /// The destination.
    fn dest(&self) -> String {
        self.proxy.image(&format!("{}:1", self.repository()))
    }

    /// `convert` of the image into another repository.
    fn convert(&self) -> Command {
        self.convert_to(&self.dest())
    }

    fn convert_to(&self, dest: &str) -> Command {
        let source = self.proxy.image("src/app:1");
        let mut command = self.command(&["convert", &source, dest]);
        command.args(["--no-cache", "--min-layer-size", "0"]);
        command
    }

    /// The image's digest.
    fn digest(&self) -> String {
        let index = self.image.index_json().expect("index.json");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
        let digest = index["manifests"][0]["digest"].as_str();
        digest.expect("a digest").to_owned()
    }

    /// Lets in nobody but one user: a file with that user's credentials.
    fn log_in(&self) -> PathBuf {
        self.proxy.guard(Gate::Basic {
            user: "somebody".to_owned(),
            password: "a secret".to_owned(),
        });
        let file = self.dir.path().join("auth.json");
        let host = self.proxy.address();
        // "somebody:a secret"
        let text = format!(r#"{{"auths":{{"{host}":{{"auth":"c29tZWJvZHk6YSBzZWNyZXQ="}}}}}}"#);
        std::fs::write(&file, text).expect("write credentials");
        file
    }

    /// The path of a layer's blob.
    fn layer(&self, n: usize) -> String {
        format!(
            "/v2/src/app/blobs/{}",
            sociable_tests::sha256(&self.layers[n])
        )
    }

    /// What a tag of the destination points at, complete and checked.
    #[track_caller]
    fn result(&self, repository: &str, tag: &str) -> Option<String> {
        let found = registry::complete(self.registry.address(), repository, tag);
        found.expect("a complete image").map(|c| c.digest)
    }

    /// The digest that an undisturbed run makes, in a repository of its own.
    #[track_caller]
    fn undisturbed(&self) -> String {
        self.proxy.clear();
        let _ = run(&mut self.convert_to(&self.proxy.image("undisturbed:1"))).ok();
        self.proxy.forget();
        self.result("undisturbed", "1").expect("a tag")
    }

    /// Fails unless a run was right in spite of everything.
    #[track_caller]
    fn right(&self, done: Run, expected: &str) {
        let done = done.ok();
        let found = self.result(&self.repository(), "1");
        let log = self.proxy.log();
        assert_eq!(found.as_deref(), Some(expected), "{done}\n{log}");
        assert!(log.faults() > 0, "nothing went wrong\n{log}");
    }

    /// Fails unless a run was refused with these words and left no tag.
    #[track_caller]
    fn refused(&self, done: Run, words: &[&str]) {
        let done = done.refused();
        let log = self.proxy.log();
        for word in words {
            assert!(done.stderr.contains(word), "no {word:?}: {done}\n{log}");
        }
        assert_eq!(self.result(&self.repository(), "1"), None, "{done}\n{log}");
        assert!(log.faults() > 0, "nothing went wrong\n{log}");
    }
}
