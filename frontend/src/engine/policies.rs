//! Policies in steps: made ready by one, loaded by those that make layers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sociable_oci::{Source as _, wasm};
use sociable_policy::spec::Place;
use sociable_policy::{Interface, Policies, Policy, PolicyError, builtin, fallback};
use sociable_policy_wasm::{Bounds, Host, Level, Logger};
use sociable_soci::record::Used;

use super::EngineError;
use super::registry::{self, Patience};
use crate::options;
use crate::policy::{Wanted, plain};
use crate::task::{COMPONENT_FILE, Remote, Settings, place};

/// The list of policies that are ready.
const LIST: &str = "policies.json";
/// The directory with their compiled code.
const COMPILED: &str = "compiled";

/// Policies that are ready.
#[derive(Serialize, Deserialize)]
struct List {
    policies: Vec<One>,
    limits: Bounds,
    fallback: bool,
}

#[derive(Serialize, Deserialize)]
struct One {
    interface: Option<String>,
    /// As the user named it.
    reference: String,
    /// The component's file; none for a policy that is built in.
    file: Option<String>,
    parameters: Value,
}

/// The digest that a tag has.
pub(super) fn resolve(from: &Remote) -> Result<Vec<u8>, EngineError> {
    let registries = registry::registries(&from.plain_http, Patience::Much)?;
    let source = registries.source(&from.reference.parse()?);
    let index = source.index()?;
    let [entry] = &index.manifests[..] else {
        return Err(EngineError::NoManifest(from.reference.clone()));
    };
    Ok(entry.digest.to_string().into_bytes())
}

/// Fetches a component.
pub(super) fn fetch(from: &Remote) -> Result<Vec<u8>, EngineError> {
    let registries = registry::registries(&from.plain_http, Patience::Much)?;
    let reference = from.reference.parse()?;
    let component = wasm::read(&registries.source(&reference), None)?;
    write(&Path::new(place::OUT).join(COMPONENT_FILE), &component)?;
    Ok(b"{}".to_vec())
}

/// Makes policies ready to be loaded: with their parameters, and compiled.
pub(super) fn make_ready(wanted: &Wanted) -> Result<Vec<u8>, EngineError> {
    let out = Path::new(place::OUT);
    let in_context = |path: &str| Path::new(place::CONTEXT).join(plain(path));
    let read = |path: &str| fs::read(in_context(path));
    let refused = EngineError::Policy;
    let remote = wanted.remote().map_err(refused)?;
    let mut list = List {
        policies: Vec::new(),
        limits: wanted.limits,
        fallback: wanted.fallback,
    };
    for (number, spec) in wanted.read(&read).map_err(refused)?.into_iter().enumerate() {
        let from = match Place::of(&spec.reference) {
            Place::BuiltIn | Place::Transport(_) => None,
            Place::File(path) => Some(in_context(path)),
            Place::Registry(reference) => {
                let number = remote.iter().position(|one| one == reference);
                let number = number.ok_or(EngineError::OtherPolicies("/fetched"))?;
                Some(Path::new(&place::fetched(number)).join(COMPONENT_FILE))
            }
        };
        let file = from.map(|from| {
            let file = format!("{number}.wasm");
            let bytes = component(&from, &spec.reference)?;
            write(&out.join(&file), &bytes)?;
            Ok::<_, EngineError>(file)
        });
        list.policies.push(One {
            interface: spec.interface.map(|interface| interface.name().to_owned()),
            reference: spec.reference,
            file: file.transpose()?,
            parameters: spec.parameters,
        });
    }
    let text = serde_json::to_vec(&list).map_err(EngineError::Answer)?;
    write(&out.join(LIST), &text)?;
    let policies = list.load(out)?;
    serde_json::to_vec(&Used::all(&policies)).map_err(EngineError::Answer)
}

/// The policies of this build, which have to be those that its steps are known by.
pub(super) fn load(settings: &Settings) -> Result<Policies, EngineError> {
    if settings.policies.is_empty() {
        return Ok(Policies::default());
    }
    let directory = Path::new(place::POLICIES);
    let path = directory.join(LIST);
    let shown = path.display().to_string();
    let text = fs::read(&path).map_err(|source| EngineError::Read {
        path: shown.clone(),
        source,
    })?;
    let list: List =
        serde_json::from_slice(&text).map_err(|error| EngineError::PolicyList(shown, error))?;
    let policies = list.load(directory)?;
    if Used::all(&policies) != settings.policies {
        return Err(EngineError::OtherPolicies(place::POLICIES));
    }
    Ok(policies)
}

impl List {
    fn load(&self, directory: &Path) -> Result<Policies, EngineError> {
        let refused = |error: &dyn std::error::Error| EngineError::Policy(error.to_string());
        let mut host = None;
        let mut policies = Policies::default();
        for one in &self.policies {
            let mut policy = match &one.file {
                None => builtin::load(&one.reference, &one.parameters).map_err(|e| refused(&e))?,
                Some(file) => {
                    let host = match &host {
                        Some(host) => host,
                        None => host.insert(self.host(directory)?),
                    };
                    one.open(host, &directory.join(file))?
                }
            };
            if self.fallback {
                policy = fallback::or_default(policy, &(Arc::new(go_on) as _));
            }
            let interface = one.interface.as_deref().and_then(Interface::named);
            policies.add(policy, interface).map_err(|e| refused(&e))?;
        }
        Ok(policies)
    }

    fn host(&self, directory: &Path) -> Result<Host, EngineError> {
        let compiled = directory.join(COMPILED);
        Host::new(self.limits.limits(), Arc::new(Log), Some(compiled))
            .map_err(|error| EngineError::Policy(error.to_string()))
    }
}

impl One {
    fn open(&self, host: &Host, file: &Path) -> Result<Policy, EngineError> {
        let bytes = component(file, &self.reference)?;
        host.open(&bytes, &self.reference)
            .and_then(|opened| opened.policy(&self.parameters))
            .map_err(|error| EngineError::Policy(error.to_string()))
    }
}

/// What a policy logs stands in the step's log.
struct Log;

impl Logger for Log {
    #[allow(clippy::print_stderr, reason = "the step's log")]
    fn line(&self, level: Level, policy: &str, line: &str) {
        if level != Level::Debug {
            eprintln!("note: {policy}: {line}");
        }
    }
}

#[allow(clippy::print_stderr, reason = "the step's log")]
fn go_on(error: &PolicyError) {
    let error = options::in_a_build(&error.to_string());
    eprintln!("note: {error}; going on without it");
}

/// A component's bytes.
fn component(path: &Path, reference: &str) -> Result<Vec<u8>, EngineError> {
    wasm::read_file(path).map_err(|source| EngineError::Read {
        path: format!("the policy {reference}"),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    fs::write(path, bytes).map_err(|source| EngineError::Write {
        path: path.display().to_string(),
        source,
    })
}
