//! `containerd:REFERENCE`: an image in containerd's own store, read and written over its gRPC socket.
//!
//! Nothing here needs a privileged tool: who may talk to the socket may convert. Snapshots are left alone; containerd
//! unpacks a new image when it is first run.
//!
//! **Names.** An image is looked for under the very text first, then under the name that Docker and nerdctl complete it
//! to (`app` is `docker.io/library/app:latest`). A destination replaces the image that is found in this way; a new image
//! gets the completed name, so that every tool finds it. A text that cannot be completed is a name as it is.
//!
//! **Reading.** containerd has no `index.json`; [`ContainerdSource`] makes one of the image's entry and of what refers
//! to its documents. Blobs of platforms that were never pulled are not there, and count as absent.
//!
//! **Referrers** (SOCI indexes v1): those written here are found again, by a label on the document that they
//! are about, which also keeps them for as long as that document. Those that the `soci` tool made are not found: which
//! image they belong to stands in that tool's own database only.
//!
//! **Writing.** A lease keeps what is written from containerd's garbage collector; it is deleted with the
//! sink, and expires after a day if the process is killed, which leaves the old image as it was. Each blob is
//! verified by containerd when it is committed. At the end every document gets the labels
//! by which the collector finds its children, then the image's entry changes, in one step.
//! Labels that blobs have already, such as those that say from which registry they come, stay, so that a later push can
//! mount them.
//!
//! The network runtime is inside: never call any of this from a thread of a Tokio runtime.

mod api;
mod client;
mod error;
mod labels;
mod lease;
mod reference;
mod sink;
mod source;
mod writer;

use std::path::PathBuf;

pub use error::{ContainerdError, Refusal};
pub use sink::ContainerdSink;
pub use source::ContainerdSource;

/// Where containerd is, and in which of its namespaces images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The socket; `unix://` may stand in front.
    pub address: PathBuf,
    /// The namespace: `default` for `ctr` and nerdctl, `k8s.io` for Kubernetes, `moby` for Docker.
    pub namespace: String,
}

/// containerd's socket, unless something else is said.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";
/// The namespace, unless something else is said.
pub const DEFAULT_NAMESPACE: &str = "default";

impl Default for Options {
    fn default() -> Self {
        Self {
            address: PathBuf::from(DEFAULT_ADDRESS),
            namespace: DEFAULT_NAMESPACE.to_owned(),
        }
    }
}
