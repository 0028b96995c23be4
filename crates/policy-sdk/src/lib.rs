//! Policies for [Sociable](https://github.com/sociable/sociable): they decide where spans begin, in which order a layer is packed,
//! how it is compressed, whether it gets an index, and what a node fetches first.
//!
//! A policy is a type that implements [`Plugin`] and any of [`Span`], [`Order`], [`Compression`], [`Selection`] and
//! [`Prefetch`]. [`export!`] makes a WebAssembly component of it when the crate is built for `wasm32-unknown-unknown`. For any other
//! target the crate is plain Rust, so that policies are tested as all Rust is; [`trial`] runs them over made-up layers.
//!
//! ```
//! use sociable_policy_sdk::{Description, Entry, Layer, Order, Parameters, Plugin, Result, order};
//!
//! /// Configuration comes first.
//! struct EtcFirst;
//!
//! impl Plugin for EtcFirst {
//!     const DESCRIPTION: Description = Description {
//!         name: "etc-first",
//!         version: env!("CARGO_PKG_VERSION"),
//!         summary: "Packs configuration before everything else",
//!         parameters: "",
//!     };
//!
//!     fn configure(_: Parameters<'_>) -> Result<Self> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl Order for EtcFirst {
//!     fn arrange(&self, _: &Layer, entries: &[Entry]) -> Result<Vec<u32>> {
//!         let first = (0..entries.len()).filter(|&place| entries[place].path.starts_with("etc/"));
//!         Ok(order::settled(entries, first))
//!     }
//! }
//!
//! sociable_policy_sdk::export!(EtcFirst: order);
//! # fn main() {}
//! ```
//!
//! The crate is a `cdylib`, and `wasm-component-ld`, which comes with Rust's target, links it. In `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! linker = "wasm-component-ld"
//! ```
//!
//! A component has no files, no clock, no network and no randomness: the same questions get the same answers.
//! It can only answer and [`log`](fn@log).
//!
//! What enters: what Sociable tells, as plain types. What leaves: a component's exports. What must never be done here: anything
//! that a policy of a certain kind would need; it is the same thin layer for all.

mod compression;
mod error;
mod export;
mod facts;
mod log;
pub mod order;
mod plugin;
mod prefetch;
mod selection;
mod span;
pub mod trial;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

pub use compression::{Choice, Compression, Format, Sample};
pub use error::{Error, Result};
pub use facts::{Entry, Kind, Layer};
pub use log::{Level, log};
pub use order::Order;
pub use plugin::{Description, Parameters, Plugin};
pub use prefetch::{Prefetch, Target};
pub use selection::{Selection, Verdict};
pub use span::{Ask, Candidate, Decision, Opening, Planner, Span};
