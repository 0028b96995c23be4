//! Policies that are WebAssembly components.
//!
//! ```text
//!  bytes ──▶ compile (cached on disk) ──▶ check imports and exports ──▶ describe ──▶ parameters ──▶ Policy
//!                                                                                                 │
//!                            one instance a layer, with fuel, memory and output limits  ◀─────────┘
//! ```
//!
//! A component gets nothing but a log line: no clock, no files, no network, no randomness. So the same component with the
//! same parameters gives the same answers everywhere. What it answers is checked where it is used, as that of any policy.
//!
//! What enters: a component's bytes, parameters. What leaves: a [`Policy`]. What must never be done here: fetching
//! components, and loading machine code that somebody else compiled.

mod adapters;
mod bindings;
mod cache;
mod error;
mod facts;
mod instance;
mod limits;
mod parameters;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sha2::Digest as _;
use sociable_policy::{About, Interface, Policy};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine};

pub use error::LoadError;
pub use limits::{Bounds, Limits};

use bindings::{compression, order, plugin, prefetch, selection, span};
use instance::{Instance, State};

/// The package of the interfaces that this program knows.
pub const PACKAGE: &str = "sociable:policy";
/// Their version.
pub const VERSION: &str = "0.1.0";

/// How important a line of a policy's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the policy's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is wrong.
    Warn,
}

/// Where the lines go that policies log.
pub trait Logger: Send + Sync {
    /// A line without control characters.
    fn line(&self, level: Level, policy: &str, line: &str);
}

/// Forgets them.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Logger for Quiet {
    fn line(&self, _: Level, _: &str, _: &str) {}
}

/// Runs components.
pub struct Host {
    engine: Engine,
    linker: Linker<State>,
    limits: Limits,
    logger: Arc<dyn Logger>,
}

/// What a component says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// The schema of its parameters, JSON. Empty: it takes none.
    pub parameters: String,
    /// What it decides.
    pub interfaces: Vec<Interface>,
    /// The interfaces that it needs, `PACKAGE/INTERFACE@VERSION`.
    pub imports: Vec<String>,
    /// The interfaces that it has, likewise.
    pub exports: Vec<String>,
    /// SHA-256 of the component, `sha256:…`.
    pub digest: String,
}

impl Host {
    /// A host. Compiled code is kept in the directory `cache`, if it is the user's own; without one every run compiles.
    ///
    /// # Errors
    /// [`LoadError::Engine`].
    pub fn new(
        limits: Limits,
        logger: Arc<dyn Logger>,
        cache: Option<PathBuf>,
    ) -> Result<Self, LoadError> {
        let engine = |error: wasmtime::Error| LoadError::Engine(error.root_cause().to_string());
        let mut config = Config::new();
        config.consume_fuel(true);
        config.max_wasm_stack(Limits::STACK);
        config.wasm_backtrace_max_frames(None);
        config.cranelift_nan_canonicalization(true);
        if let Some(directory) = cache {
            match cache::open(&directory) {
                Ok(cache) => {
                    config.cache(Some(cache));
                }
                Err(why) => {
                    let line = format!("compiled code is not kept: {why}");
                    logger.line(Level::Warn, "policies", &line);
                }
            }
        }
        let host = Engine::new(&config).map_err(engine)?;
        let mut linker = Linker::new(&host);
        bindings::log::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state| {
            state
        })
        .map_err(engine)?;
        Ok(Self {
            engine: host,
            linker,
            limits,
            logger,
        })
    }

    /// Compiles a component, and asks what it is. `place` is where it came from, for messages.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open(&self, bytes: &[u8], place: &str) -> Result<Opened, LoadError> {
        Opened::new(self, bytes, place)
    }
}

/// A component that is a policy.
pub struct Opened {
    pre: InstancePre<State>,
    plugin: Arc<plugin::GuestIndices>,
    place: String,
    limits: Limits,
    logger: Arc<dyn Logger>,
    /// What it says it is.
    pub description: Description,
}

impl Opened {
    fn new(host: &Host, bytes: &[u8], place: &str) -> Result<Self, LoadError> {
        let no_component = |why: String| LoadError::NoComponent {
            place: place.to_owned(),
            why,
        };
        if !bytes.starts_with(b"\0asm") {
            return Err(no_component("it does not begin as one".to_owned()));
        }
        // The version of a core module is 1, and a component's layer is 1.
        if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
            return Err(no_component(
                "it is a core module; `wasm-tools component new` makes a component of one"
                    .to_owned(),
            ));
        }
        let component = Component::from_binary(&host.engine, bytes)
            .map_err(|error| no_component(error.root_cause().to_string()))?;
        let kind = component.component_type();
        let imports: Vec<String> = (kind.imports(&host.engine))
            .map(|(name, _)| name.to_owned())
            .collect();
        for import in &imports {
            let known = import
                .strip_prefix(PACKAGE)
                .is_some_and(|rest| rest.starts_with("/log@") || rest.starts_with("/types@"));
            if !known {
                return Err(LoadError::Import {
                    place: place.to_owned(),
                    import: import.clone(),
                });
            }
        }
        let exports: Vec<String> = (kind.exports(&host.engine))
            .map(|(name, _)| name.to_owned())
            .collect();
        let exported = |interface: &str| {
            let name = format!("{PACKAGE}/{interface}@{VERSION}");
            exports.contains(&name)
        };
        if !exported("plugin") {
            return Err(LoadError::NoPolicy {
                place: place.to_owned(),
                missing: format!("{PACKAGE}/plugin@{VERSION}"),
            });
        }
        let interfaces: Vec<_> = (Interface::ALL.into_iter())
            .filter(|interface| exported(interface.name()))
            .collect();
        let mismatch = |interface: &str, error: &wasmtime::Error| LoadError::Mismatch {
            place: place.to_owned(),
            interface: interface.to_owned(),
            why: error.root_cause().to_string(),
        };
        let pre = host.linker.instantiate_pre(&component);
        let pre = pre.map_err(|error| mismatch(&format!("{PACKAGE}/log"), &error))?;
        let plugin = plugin::GuestIndices::new(&pre).map_err(|error| mismatch("plugin", &error))?;
        let mut instance = Instance::new(&pre, &host.limits, &host.logger, place)?;
        let said = instance.ask("describe", |store, instance| {
            plugin
                .load(&mut *store, instance)?
                .call_describe(&mut *store)
        })?;
        let name_is_fine = !said.name.is_empty()
            && said.name.len() <= 64
            && (said.name.bytes())
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let version_is_fine = !said.version.is_empty()
            && said.version.len() <= 64
            && said.version.bytes().all(|b| b.is_ascii_graphic());
        if !name_is_fine || !version_is_fine {
            let why = format!(
                "it calls itself {:?} {:?}, but a name has lower case letters, digits and hyphens, and a version no spaces",
                said.name, said.version
            );
            return Err(instance.refused("describe", why).into());
        }
        if interfaces.is_empty() {
            return Err(LoadError::NoPolicy {
                place: place.to_owned(),
                missing: format!("{PACKAGE}/span@{VERSION} nor another interface of a policy"),
            });
        }
        Ok(Self {
            pre,
            plugin: Arc::new(plugin),
            place: place.to_owned(),
            limits: host.limits,
            logger: Arc::clone(&host.logger),
            description: Description {
                name: said.name,
                version: said.version,
                summary: said.summary,
                parameters: said.parameters,
                interfaces,
                imports,
                exports,
                digest: format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes))),
            },
        })
    }

    /// The policy with these parameters, a JSON object.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn policy(self, parameters: &Value) -> Result<Policy, LoadError> {
        let name = format!("{} {}", self.description.name, self.description.version);
        parameters::check(&name, &self.description.parameters, parameters)?;
        let mut policy = Policy::new(About {
            name: name.clone(),
            digest: Some(self.description.digest.clone()),
            parameters: parameters.clone(),
        });
        let text = parameters.to_string();
        let shared = Arc::new(Loaded {
            identity: format!("{name}:{} {text}", self.description.digest),
            name,
            pre: self.pre,
            plugin: self.plugin,
            limits: self.limits,
            logger: self.logger,
            parameters: text,
        });
        // Wrong parameters show before anything is done.
        shared.instance()?;
        let place = &self.place;
        let mismatch = |interface: Interface, error: &wasmtime::Error| LoadError::Mismatch {
            place: place.clone(),
            interface: interface.to_string(),
            why: error.root_cause().to_string(),
        };
        for interface in self.description.interfaces {
            let loaded = Arc::clone(&shared);
            let pre = &shared.pre;
            let wrong = |error| mismatch(interface, &error);
            match interface {
                Interface::Span => {
                    let indices = span::GuestIndices::new(pre).map_err(wrong)?;
                    policy.span = Some(Arc::new(adapters::Spans::new(loaded, indices)));
                }
                Interface::Order => {
                    let indices = order::GuestIndices::new(pre).map_err(wrong)?;
                    policy.order = Some(Arc::new(adapters::Order::new(loaded, indices)));
                }
                Interface::Compression => {
                    let indices = compression::GuestIndices::new(pre).map_err(wrong)?;
                    policy.compression =
                        Some(Arc::new(adapters::Compression::new(loaded, indices)));
                }
                Interface::Selection => {
                    let indices = selection::GuestIndices::new(pre).map_err(wrong)?;
                    policy.selection = Some(Arc::new(adapters::Selection::new(loaded, indices)));
                }
                Interface::Prefetch => {
                    let indices = prefetch::GuestIndices::new(pre).map_err(wrong)?;
                    policy.prefetch = Some(Arc::new(adapters::Prefetch::new(loaded, indices)));
                }
            }
        }
        Ok(policy)
    }
}

/// What the adapters of one component share.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) identity: String,
    pub(crate) pre: InstancePre<State>,
    plugin: Arc<plugin::GuestIndices>,
    limits: Limits,
    logger: Arc<dyn Logger>,
    parameters: String,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.identity)
    }
}

impl Loaded {
    /// An instance that has its parameters.
    pub(crate) fn instance(&self) -> Result<Instance, sociable_policy::PolicyError> {
        let mut instance = Instance::new(&self.pre, &self.limits, &self.logger, &self.name)?;
        instance.configure(&self.plugin, &self.parameters)?;
        Ok(instance)
    }
}
