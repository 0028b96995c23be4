//! `docker://HOST/REPOSITORY[:TAG][@DIGEST]`: an image in a registry (distribution-spec 1.1).
//!
//! | file | what it holds |
//! |---|---|
//! | [`mod@reference`] | what a user types |
//! | `client` | one request: authorisation, redirects, when it is tried again |
//! | `auth` | challenges, tokens, where credentials come from |
//! | `handover` | credentials for a build that speaks with registries itself |
//! | `download` | a blob as a reader that goes on where a connection broke |
//! | `upload` | a blob as a writer that does the same |
//! | `piece` | buffers that uploads use again |
//! | `source`, `sink` | an image read, an image written |
//! | `referrers` | what refers to a manifest, and how that is said where the registry does not know |
//! | `tags` | listing and removing |
//!
//! **Faults.** What may pass is tried again ([`Options::retries`]), as long as the registry asks ([`Options::max_wait`]) or
//! with growing pauses: broken connections, stalls, 408, 425, 429, 500, 502, 503, 504. A download goes on with a range
//! request; an upload asks the registry how far it came, or begins anew, and reads what is missing from the source again.
//! A token that has expired is replaced.
//!
//! **Trust.** Documents and blobs are verified like those of any other source. TLS is verified, and plain HTTP spoken only
//! with hosts that the user named. Credentials go to the registry and to the token service it names, never to
//! where it redirects, and never into a message.
//!
//! **Why not `oci-client`** (0.18, the crate made for this): it sends each request once, knows no identity tokens, no
//! `Retry-After`, no scope for mounts, cannot delete, and gives an upload up when its connection breaks; what is left of it
//! after going around that are URLs. So requests are `reqwest`'s, credentials are `docker_credential`'s,
//! challenges `http-auth`'s, and the protocol between them is here.

mod auth;
mod client;
mod download;
mod error;
mod handover;
mod piece;
pub mod reference;
mod referrers;
mod sink;
mod source;
mod tags;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use error::{ApiError, Failure, RegistryError};
pub use handover::docker_config;
pub use reference::{Reference, RepositoryName};
pub use sink::RegistrySink;
pub use source::RegistrySource;
pub use tags::Removed;

use client::Client;

use crate::error::Result;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// Hosts (with their port, if it is part of the reference) that are spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Hosts whose certificates are not verified.
    pub skip_tls_verify: Vec<String>,
    /// Files with certificates (PEM) that are trusted beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// A file of credentials in the form of docker's `config.json`; without it, docker's and podman's own are looked into.
    pub authfile: Option<PathBuf>,
    /// Places to read from first, in the place of a registry: `(host, host[/prefix])`.
    pub mirrors: Vec<(String, String)>,
    /// How often a request is sent again.
    pub retries: u32,
    /// A connection on which next to nothing comes for so long has stalled.
    pub idle_timeout: Duration,
    /// Longest pause that a registry may ask for (`Retry-After`).
    pub max_wait: Duration,
    /// Whether the user wants to stop: asked while waiting.
    pub interrupted: Option<fn() -> bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: Vec::new(),
            skip_tls_verify: Vec::new(),
            ca_files: Vec::new(),
            authfile: None,
            mirrors: Vec::new(),
            retries: 5,
            idle_timeout: Duration::from_mins(1),
            max_wait: Duration::from_mins(5),
            interrupted: None,
        }
    }
}

/// The way to registries: connections, tokens and credentials, shared by everything that is opened through it.
#[derive(Debug, Clone)]
pub struct Registries {
    client: Arc<Client>,
}

impl Registries {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When a file of certificates cannot be used, or the system gives no threads.
    pub fn new(options: Options) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(options)?),
        })
    }

    /// An image, for reading. Whether it is there is seen when it is read.
    #[must_use]
    pub fn source(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::new(&self.client, reference)
    }

    /// The same from the registry itself, whatever mirrors there are: for what is to be changed.
    #[must_use]
    pub fn direct(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::direct(&self.client, reference)
    }

    /// An image, for writing.
    ///
    /// # Errors
    /// When the reference names no tag to write to.
    pub fn sink(&self, reference: &Reference) -> Result<RegistrySink> {
        RegistrySink::create(&self.client, reference)
    }

    /// All tags of a repository, sorted as the registry sorts them.
    ///
    /// # Errors
    /// When the registry does not answer, or has no such repository.
    pub fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>> {
        tags::list(&self.client, repository)
    }

    /// All repositories of a registry (`HOST[:PORT]`), sorted as the registry sorts them.
    ///
    /// # Errors
    /// When the registry does not answer, or has no such list: the distribution-spec does not ask for one.
    pub fn repositories(&self, registry: &str) -> Result<Vec<String>> {
        tags::catalog(&self.client, registry)
    }

    /// Removes a manifest of a repository, and its mention in the fallback list of `subject`'s referrers.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn remove(
        &self,
        repository: &RepositoryName,
        manifest: &crate::Digest,
        subject: Option<&crate::Digest>,
    ) -> Result<Removed> {
        tags::remove(&self.client, repository, manifest, subject)
    }
}
