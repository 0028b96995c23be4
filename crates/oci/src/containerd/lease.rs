//! A lease: what is under it is not garbage, although nothing refers to it yet.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tonic::metadata::{Ascii, MetadataValue};

use super::api::{AddResourceRequest, CreateLeaseRequest, DeleteLeaseRequest, Labels, Resource};
use super::client::Client;
use super::error::{ContainerdError, Refusal};
use crate::digest::Digest;
use crate::error::Result;

/// When a lease that nobody deleted ends: as for containerd's own clients.
const LIFETIME: Duration = Duration::from_hours(24);
/// The label that says so (containerd's `docs/garbage-collection.md`).
const EXPIRE: &str = "containerd.io/gc.expire";

/// Dropping it deletes it, and with it what nothing else refers to.
pub(super) struct Lease {
    client: Arc<Client>,
    id: MetadataValue<Ascii>,
    name: String,
    held: Mutex<BTreeSet<Digest>>,
}

impl Lease {
    pub(super) fn create(client: Arc<Client>) -> Result<Self> {
        let end = humantime::format_rfc3339_seconds(SystemTime::now() + LIFETIME);
        let question = CreateLeaseRequest {
            id: String::new(),
            labels: Labels::from([(EXPIRE.to_owned(), end.to_string())]),
        };
        let answer = client
            .call(question)
            .map_err(Refusal::on("create a lease in", client.place()))?;
        let name = answer.lease.map(|lease| lease.id).unwrap_or_default();
        let id = name
            .parse()
            .ok()
            .filter(|_| !name.is_empty())
            .ok_or_else(|| ContainerdError::BadAnswer {
                place: client.place().to_owned(),
                why: format!("the new lease is called {name:?}"),
            })?;
        Ok(Self {
            client,
            id,
            name,
            held: Mutex::default(),
        })
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// What goes with every call that writes.
    pub(super) fn id(&self) -> &MetadataValue<Ascii> {
        &self.id
    }

    /// A text that no other run has.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Holds a blob that may be there already. One that is there afterwards stays there.
    pub(super) fn hold(&self, digest: &Digest) -> Result<()> {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held().contains(digest) {
            return Ok(());
        }
        let question = AddResourceRequest {
            id: self.name.clone(),
            resource: Some(Resource {
                id: digest.to_string(),
                r#type: "content".to_owned(),
            }),
        };
        match self.client.call(question) {
            // Under this very lease, from an earlier attempt.
            Err(refusal) if refusal.is_presence() => {}
            answer => {
                answer.map_err(Refusal::on("lease a blob in", self.client.place()))?;
            }
        }
        held().insert(*digest);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // It expires by itself if this fails.
        let _ = self.client.call_briefly(DeleteLeaseRequest {
            id: self.name.clone(),
        });
    }
}
