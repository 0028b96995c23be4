//! How a step reaches registries: with the secrets that the user handed over, and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sociable_oci::registry::{self, Failure, Registries};

use super::EngineError;
use crate::task::place;

/// How long a registry is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Once, and no longer than a person would.
    Little,
    /// As long as there is hope.
    Much,
}

pub(super) fn registries(
    plain_http: &[String],
    patience: Patience,
) -> sociable_oci::Result<Registries> {
    let usual = registry::Options::default();
    let (retries, idle_timeout) = match patience {
        Patience::Little => (0, Duration::from_secs(10)),
        Patience::Much => (usual.retries, usual.idle_timeout),
    };
    let there = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_file());
    Registries::new(registry::Options {
        plain_http: plain_http.to_vec(),
        ca_files: there(place::CERTIFICATES).into_iter().collect(),
        authfile: there(place::CREDENTIALS),
        retries,
        idle_timeout,
        ..usual
    })
}

/// What a step wants of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Image,
    Policy,
}

/// What to do about a refusal.
pub(super) fn hint(errand: Errand, error: &EngineError) -> Option<String> {
    let oci = match error {
        EngineError::Oci(error) => error,
        EngineError::Soci(sociable_soci::Error::Oci(error)) => error,
        _ => return None,
    };
    let error = match oci {
        sociable_oci::Error::Registry(error) => error,
        sociable_oci::Error::NoSuchImage { .. } | sociable_oci::Error::NoBlob { .. } => {
            return Some(not_there(errand));
        }
        _ => return None,
    };
    let host = &error.host;
    Some(match &error.failure {
        Failure::Tls(_) => format!(
            "a registry without TLS is named with --build-arg SOCI_PLAIN_HTTP={host}; a private certificate authority with \
             --secret id=soci-ca,src=FILE"
        ),
        Failure::Transport {
            connecting: true, ..
        } => format!(
            "can {host} be reached from a container of this builder? --network=host, if the builder allows it, gives it the host's network"
        ),
        Failure::Credentials(_)
        | Failure::Status {
            code: 401 | 403, ..
        } => credentials(),
        Failure::Status { code: 404, .. } => not_there(errand),
        _ => return None,
    })
}

fn not_there(errand: Errand) -> String {
    if errand == Errand::Policy {
        return "`sociable policy push` puts a policy there".to_owned();
    }
    "a base image has to be in a registry, since its layers as they were pushed are needed: push it, or leave it out of the index with \
     --build-arg SOCI_BASE=false (with SOCI_OUTPUT=image)"
        .to_owned()
}

fn credentials() -> String {
    if Path::new(place::CREDENTIALS).is_file() {
        return "the credentials of the secret soci-registry were not accepted, or are none for this registry or not enough for this repository"
            .to_owned();
    }
    "a build cannot see docker's credentials: hand them over with --secret id=soci-registry,src=$HOME/.docker/config.json \
     (with helpers, use `sociable build`, which resolves those of the registries that it pushes to and that policies come from)"
        .to_owned()
}
