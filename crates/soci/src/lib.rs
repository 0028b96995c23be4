//! SOCI indexes: from a source to a sink in one pass, and back to single files.
//!
//! ```text
//!  source ──▶ image ──▶ layers, several at once ──▶ SOCI index ──▶ image index ──▶ sink
//!              │            │      └─▶ zTOCs ─▶ cache
//!              │            └── each read once: copied and indexed as it passes
//!              └── found ──▶ inspect, verify, files (ls, cat through the tree)
//! ```
//!
//! | to do | module |
//! |---|---|
//! | make a SOCI-enabled image (index v2) | [`mod@convert`]; from a pipe [`stream`] |
//! | … of layers that are plain tars, which are packed on the way | [`repack`] |
//! | make an index beside an image (v1) | [`mod@create`] |
//! | make an image of a directory | [`mod@pack`] |
//! | … of layers that were made one by one, by steps of a build | [`parts`] |
//! | copy one as it is; remove its indexes | [`mod@copy`], [`remove`] |
//! | look at an image, or check it | [`mod@inspect`], [`mod@verify`] |
//! | read its files | [`files`], over the merged [`tree`] |
//! | index one layer by itself | [`single`] |
//!
//! What enters: images through [`sociable_oci::Source`], options, paths. What leaves: images through
//! [`sociable_oci::Sink`], reports, problems, files. What must never be done here: printing, parsing arguments,
//! knowing where a source gets its bytes from, looking into deflate or tar.

pub mod cache;
pub mod convert;
pub mod copy;
pub mod create;
pub mod error;
pub mod files;
pub mod found;
pub mod image;
pub mod inspect;
mod layers;
mod moved;
pub mod names;
pub mod outcome;
pub mod pack;
pub mod parts;
mod passed;
pub mod prefetch;
mod prior;
pub mod progress;
pub mod record;
pub mod remove;
pub mod repack;
pub mod settings;
pub mod single;
pub mod soci_index;
pub mod span_map;
pub mod stream;
pub mod tree;
pub mod verify;

pub use error::{Error, Result, chain};
pub use image::{Image, Platforms};
pub use progress::{Cancel, Event, Progress, Run, Silent};
pub use settings::IndexSettings;
pub use soci_index::{SociIndex, Version};
