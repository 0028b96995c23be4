//! Layers: from a blob to its zTOC, and from files to a blob with its zTOC, each in one pass.
//!
//! ```text
//!  index    blob ──▶ chunks ──▶ inflate to block ends ──▶ tar entries ─┐
//!                      └──────▶ SHA-256 of blob and spans ─────────────┴─▶ zTOC
//!
//!  pack     files ──▶ tar ──▶ pieces ──▶ deflate (all cores) ──▶ blob ─┐
//!                       └───▶ entries, diff ID ────────────────────────┴─▶ zTOC
//! ```
//!
//! [`index()`] reads a layer that exists, [`pack`](mod@pack) makes a new one, of files or of a tar
//! ([`pack_tar`]). All are synchronous, stream, and need memory that does not depend on the layer's size (beyond the zTOC
//! itself). A [planner](sociable_policy::SpanPlanner) decides where spans begin.
//!
//! What enters: streams of bytes, directories. What leaves: bytes, zTOCs, digests. What must never
//! be done here: knowing manifests, registries or where a stream comes from; printing.

mod digests;
mod error;
mod gzip;
pub mod index;
mod limits;
pub mod pack;
mod pool;
mod table;
mod uncompressed;

pub use error::IndexError;
pub use index::{Compression, IndexOptions, Indexed, index};
pub use limits::Limits;
#[cfg(unix)]
pub use pack::pack_dir;
pub use pack::{PackError, PackOptions, Packed, PackedTar, pack, pack_tar};
pub use table::described_entry;
