//! `--policy`: which policies decide.

use clap::Args;
use sociable_policy::{Policies, Spec, builtin};

use crate::error::CliError;

/// Who decides where spans begin, what is compressed how, and in which order.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policies")]
pub(crate) struct PolicyArgs {
    /// Let a policy decide (repeat for more): size, file-aligned, adaptive, profile, store-incompressible. PARAMETERS are JSON, or
    /// NAME=VALUE pairs with commas between them; a value @FILE stands for the JSON in a file. INTERFACE (span, order,
    /// compression, selection, prefetch) uses the policy for one thing only
    #[arg(long = "policy", value_name = "[INTERFACE=]POLICY[=PARAMETERS]")]
    policies: Vec<String>,
    /// Write zTOCs with equal texts shared: smaller, read by all snapshotters, other bytes than those of the SOCI tools
    /// [default: where a policy decides about spans]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compact_ztoc: Option<bool>,
}

impl PolicyArgs {
    pub(crate) fn compact(&self) -> Option<bool> {
        self.compact_ztoc
    }

    /// # Errors
    /// When a policy cannot be had, or two decide the same.
    pub(crate) fn policies(&self) -> Result<Policies, CliError> {
        let mut policies = Policies::default();
        for text in &self.policies {
            let spec = Spec::parse(text, &|file| std::fs::read(file))
                .map_err(|error| CliError::usage(format!("--policy {text}: {error}")))?;
            let policy = builtin::load(&spec.reference, &spec.parameters)
                .map_err(|error| CliError::usage(error.to_string()))?;
            policies
                .add(policy, spec.interface)
                .map_err(|error| CliError::usage(error.to_string()))?;
        }
        Ok(policies)
    }
}
