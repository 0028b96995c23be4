//! Credentials and certificates for the build, which runs where neither can be found.
//!
//! They go as BuildKit secrets, which are in no layer, cache or log, and from the environment of the docker process alone.

use std::path::{Path, PathBuf};

use sociable_oci::registry::{RepositoryName, docker_config};

use super::export;
use crate::error::CliError;

/// A secret of a build.
pub(super) struct Secret {
    /// The value of `--secret`.
    pub(super) flag: String,
    /// A variable for docker, if the secret is no file of the user's.
    pub(super) variable: Option<(&'static str, String)>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secret").field(&self.flag).finish()
    }
}

/// The name of the secret with credentials.
pub(super) const REGISTRY: &str = "soci-registry";
/// The name of the secret with certificates.
pub(super) const CA: &str = "soci-ca";

fn in_environment(id: &str, variable: &'static str, value: String) -> Secret {
    Secret {
        flag: format!("id={id},env={variable}"),
        variable: Some((variable, value)),
    }
}

/// What the user has for the registries that are pushed to.
pub(super) fn registry(
    authfile: Option<&Path>,
    repositories: &[RepositoryName],
) -> Result<Option<Secret>, CliError> {
    let config = docker_config(authfile, repositories)?;
    Ok(config.map(|config| in_environment(REGISTRY, "SOCIABLE_REGISTRY_AUTH", config)))
}

/// The certificates that are trusted: one file as it is, several as one.
pub(super) fn ca(files: &[PathBuf]) -> Result<Option<Secret>, CliError> {
    Ok(match files {
        [] => None,
        [file] => Some(Secret {
            flag: export::line([&format!("id={CA}"), &format!("src={}", file.display())]),
            variable: None,
        }),
        files => {
            let mut all = String::new();
            for file in files {
                let text = std::fs::read_to_string(file);
                all += &text.map_err(CliError::io("read", file.display()))?;
                all.push('\n');
            }
            Some(in_environment(CA, "SOCIABLE_CA", all))
        }
    })
}
