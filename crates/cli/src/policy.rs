//! `--policy`: which policies decide.

pub(crate) mod fetch;
pub(crate) mod lock;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use sociable_oci::Access;
use sociable_policy::spec::Place;
use sociable_policy::{Policies, Policy, PolicyError, Spec, builtin, fallback};
use sociable_policy_wasm::{Bounds, Host, Limits, Opened};
use sociable_soci::cache;

use crate::error::CliError;
use crate::progress::Shown;
use crate::text::parse_size;
use fetch::Component;

/// Who decides where spans begin, what is compressed how, and in which order.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policies")]
pub(crate) struct PolicyArgs {
    /// Let a policy decide (repeat for more): one that is built in (`sociable policy list`), a WebAssembly component in a file, or in a
    /// registry (`oci://HOST/REPO:TAG[@DIGEST]`). PARAMETERS are JSON, or NAME=VALUE pairs with commas between them; a value
    /// @FILE stands for the JSON in a file. INTERFACE (span, order, compression, selection, prefetch) uses it for one thing only
    #[arg(long = "policy", value_name = "[INTERFACE=]POLICY[=PARAMETERS]")]
    policies: Vec<String>,
    /// Where a policy fails, go on as without it, and say so
    #[arg(long)]
    policy_fallback: bool,
    #[command(flatten)]
    host: HostArgs,
    /// Write zTOCs with equal texts shared: smaller, read by all snapshotters, other bytes than those of the SOCI tools
    /// [default: where a policy decides about spans]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compact_ztoc: Option<bool>,
}

/// What components may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policies")]
pub(crate) struct HostArgs {
    /// Use no component but those in this file, which `sociable policy lock` writes
    #[arg(
        long = "policy-lock",
        value_name = "FILE",
        env = "SOCIABLE_POLICY_LOCK"
    )]
    lock: Option<PathBuf>,
    /// Stop a policy after so many million instructions a call, or ten times as many a layer [default: 20000, or what the lock file says]
    #[arg(id = "policy-fuel", long = "policy-fuel", value_name = "MILLIONS", value_parser = clap::value_parser!(u64).range(1..))]
    fuel: Option<u64>,
    /// Memory that a policy may use for a layer [default: 256MiB, or what the lock file says]
    #[arg(id = "policy-memory", long = "policy-memory", value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// How much a policy may answer in one call [default: 64MiB, or what the lock file says]
    #[arg(id = "policy-output", long = "policy-output", value_name = "SIZE", value_parser = parse_size)]
    output: Option<u64>,
}

impl HostArgs {
    /// The user's, else the project's, else the usual.
    fn limits(&self) -> Result<Limits, CliError> {
        let project = self.lock.as_deref().map(lock::limits).transpose()?;
        let user = Bounds {
            fuel: self.fuel,
            memory: self.memory,
            output: self.output,
        };
        Ok(user.or(project.flatten().unwrap_or_default()).limits())
    }

    /// A host, with compiled code kept in the user's cache directory.
    ///
    /// # Errors
    /// When components cannot be run here.
    pub(crate) fn host(&self, shown: &Shown) -> Result<Host, CliError> {
        let cache = cache::default_dir().map(|dir| dir.join("compiled"));
        Host::new(self.limits()?, shown.policy_log(), cache)
            .map_err(|e| CliError::failed(e.to_string()))
    }

    /// Compiles a component.
    ///
    /// # Errors
    /// When it is none, or not the one that was locked.
    pub(crate) fn open(&self, host: &Host, component: &Component) -> Result<Opened, CliError> {
        if let Some(file) = &self.lock {
            lock::check(file, component)?;
        }
        host.open(&component.bytes, &component.reference)
            .map_err(|error| CliError::failed(error.to_string()))
    }
}

impl PolicyArgs {
    pub(crate) fn compact(&self) -> Option<bool> {
        self.compact_ztoc
    }

    /// Says which policies have nothing to decide where layers stay as they are.
    pub(crate) fn note_unused(policies: &Policies, shown: &Shown) {
        for name in policies.of_packing() {
            shown.note(&format!(
                "policy {name} decides about order or compression only, and so nothing here: these layers are not packed anew"
            ));
        }
    }

    /// # Errors
    /// When a policy cannot be had, or two decide the same.
    pub(crate) fn policies(&self, access: &Access, shown: &Shown) -> Result<Policies, CliError> {
        let mut policies = Policies::default();
        for text in &self.policies {
            self.add(text, &mut policies, access, shown)?;
        }
        Ok(policies)
    }

    /// Adds a policy to others.
    ///
    /// # Errors
    /// When it cannot be had, or another decides the same.
    pub(crate) fn add(
        &self,
        text: &str,
        policies: &mut Policies,
        access: &Access,
        shown: &Shown,
    ) -> Result<(), CliError> {
        let spec = Spec::parse(text, &|file| std::fs::read(file))
            .map_err(|error| CliError::usage(format!("--policy {text}: {error}")))?;
        let mut policy = self.load(&spec, access, shown)?;
        if self.policy_fallback {
            let note = shown.policy_notes();
            let report = move |error: &PolicyError| note(&format!("{error}; going on without it"));
            policy = fallback::or_default(policy, &(Arc::new(report) as _));
        }
        policies
            .add(policy, spec.interface)
            .map_err(|error| CliError::usage(error.to_string()))
    }

    fn load(&self, spec: &Spec, access: &Access, shown: &Shown) -> Result<Policy, CliError> {
        if fetch::place(&spec.reference) == Place::BuiltIn {
            return builtin::load(&spec.reference, &spec.parameters)
                .map_err(|error| CliError::usage(error.to_string()));
        }
        let component = Component::fetch(&spec.reference, access)?;
        let opened = self.host.open(&self.host.host(shown)?, &component)?;
        opened
            .policy(&spec.parameters)
            .map_err(|error| CliError::failed(error.to_string()))
    }
}
