//! What is decided while a layer is indexed or packed: plain data and small traits.
//!
//! A policy answers questions; it never sees or touches a layer's bytes. The code that asks checks
//! every answer, so a wrong policy can make an index slow, but not wrong.
//!
//! What enters: facts about a layer. What leaves: decisions. What must never be done here: any
//! input or output.

pub mod span;
pub mod trace;

pub use span::{Boundary, SizeSpans, SpanPlanner};
pub use trace::{Trace, TraceError, TracedFile};
