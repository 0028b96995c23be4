//! What is decided while a layer is indexed or packed: plain data and small traits.
//!
//! A policy answers questions; it never sees or touches a layer's bytes. The code that asks checks
//! every answer, so a wrong policy can make an index slow, but not wrong.
//!
//! What enters: facts about a layer. What leaves: decisions. What must never be done here: any
//! input or output.

pub mod builtin;
pub mod compression;
pub mod error;
pub mod facts;
pub mod fallback;
pub mod order;
pub mod prefetch;
pub mod selection;
pub mod set;
pub mod size;
pub mod span;
pub mod spec;
pub mod trace;

pub use error::PolicyError;
pub use facts::{Entry, Kind, Layer};
pub use set::{About, Interface, Policies, Policy};
pub use span::{Ask, Candidate, Decision, SizeSpans, SpanPlanner, SpanPolicy};
pub use spec::Spec;
pub use trace::{Trace, TraceError, TracedFile};
