//! Records what the start of a container reads, as a [`Trace`](sociable_policy::Trace).
//!
//! ```text
//!  directory or image ──▶ served over FUSE ──▶ overlay, as containerd makes it ──▶ the command runs in it
//!                               │
//!                               └── each read: file, offset, length ──▶ Recorder ──▶ Trace
//! ```
//!
//! soci-snapshotter serves layers over FUSE; so does this, and what the kernel asks of one it asks of the other. Reads and
//! mapped pages arrive alike, once each, since what was read stays in the page cache.
//!
//! The other way, coarse but without rights, is to see what a lazy start fetches:
//!
//! ```text
//!  image ──▶ registry of this one image ──▶ soci-snapshotter, a real start
//!                       │
//!                       └── ranges of layers ──▶ zTOCs: spans ──▶ files in them ──▶ Trace
//! ```
//!
//! | to change | file |
//! |---|---|
//! | what is kept of the reads | `recorder.rs` |
//! | where files come from: a directory, an image | `root.rs`, `image.rs` |
//! | what the kernel is answered, its read-ahead | `served.rs` |
//! | what a command finds around it: mounts, root, environment | `inside.rs` |
//! | how a command is run, stopped and waited for | `run.rs` |
//! | who runs it | `user.rs` |
//! | a mount for other runtimes | `mount.rs` |
//! | a registry for a lazy start | `registry.rs` |
//! | what its requests say of files | `requests.rs` |
//!
//! What enters: a root, a command. What leaves: a trace. What must never be done here: printing, handling signals, writing
//! to the root that is traced.

mod error;
mod recorder;
mod registry;
mod requests;

#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod inside;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod served;
#[cfg(target_os = "linux")]
mod user;

pub use error::{Error, Result};
pub use recorder::Recorder;
pub use registry::Registry;
pub use requests::{Places, Request, parse_log};

#[cfg(target_os = "linux")]
pub use image::Layered;
#[cfg(target_os = "linux")]
pub use inside::Workload;
#[cfg(target_os = "linux")]
pub use mount::Mounted;
#[cfg(target_os = "linux")]
pub use root::{Directory, Node, Root};
#[cfg(target_os = "linux")]
pub use run::{Ended, Options, run};
#[cfg(target_os = "linux")]
pub use user::user;
