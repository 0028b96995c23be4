//! How places outside this machine's files are reached: options, and connections that are made when they are first needed.

use std::sync::OnceLock;

use crate::containerd;
use crate::error::Result;
use crate::registry::{self, Registries};

/// What [`Transport::open`](crate::Transport::open) and [`Transport::create`](crate::Transport::create) need beside the
/// transport.
#[derive(Debug, Default)]
pub struct Access {
    /// How registries are reached.
    pub registry: registry::Options,
    /// containerd's socket and namespace.
    pub containerd: containerd::Options,
    registries: OnceLock<Registries>,
}

impl Access {
    /// With options.
    #[must_use]
    pub fn new(registry: registry::Options, containerd: containerd::Options) -> Self {
        Self {
            registry,
            containerd,
            registries: OnceLock::new(),
        }
    }

    /// The way to registries.
    ///
    /// # Errors
    /// When it cannot be set up: see [`Registries::new`].
    pub fn registries(&self) -> Result<&Registries> {
        if let Some(registries) = self.registries.get() {
            return Ok(registries);
        }
        let registries = Registries::new(self.registry.clone())?;
        Ok(self.registries.get_or_init(|| registries))
    }
}
