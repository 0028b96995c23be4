//! Tests policies as Sociable runs them: a component, or a policy in Rust, over made-up and over real layers.
//!
//! Nothing here is a stand-in. Layers are packed and indexed by the engine, components run in its host under its limits, and every
//! file of a layer is read back through the index before a test sees it. So what a test says of spans, of order and of fetched
//! bytes is what a node will see.
//!
//! ```
//! use sociable_policy_test::{Content, Kit, Tree};
//!
//! let tree = Tree::new()
//!     .directory("usr")
//!     .file("usr/app", Content::Noise(3 << 20))
//!     .file("usr/data", Content::Noise(9 << 20))
//!     .file("usr/late", Content::Text(100));
//! // In a test of your own: Kit::new().component("target/…/my_policy.wasm", r#"{"least": 1000}"#)?
//! let kit = Kit::new().built_in("size", "span-size=1048576")?;
//! let layer = kit.pack(&tree)?;
//!
//! assert!(layer.cuts_within("usr/data")?.len() > 5);
//! let fetched = layer.fetched(["usr/app"])?;
//! let usual = Kit::new().pack(&tree)?.fetched(["usr/app"])?;
//! assert!(fetched.bytes <= usual.bytes);
//! # Ok::<(), sociable_policy_test::Error>(())
//! ```
//!
//! A layer's [`Display`](std::fmt::Display) is a map of its spans, the same in every run: compare it with one that you keep.
//!
//! | to test | use |
//! |---|---|
//! | a component | [`Kit::component`] |
//! | a policy in Rust | [`Kit::policy`] |
//! | how a layer is packed | [`Kit::pack`] |
//! | how one is indexed that other tools made | [`Tree::gzip`], [`Blob::read`], then [`Kit::index`] |
//!
//! What enters: policies, trees, blobs. What leaves: a [`Layer`] that was checked. What must never be done here: deciding anything in
//! the engine's place.

mod error;
mod kit;
mod layer;
mod tree;

pub use error::Error;
pub use kit::Kit;
pub use layer::Layer;
pub use sociable_soci::span_map::{Fetched, Span};
pub use tree::{Blob, Content, Tree};
