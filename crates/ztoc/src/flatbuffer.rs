//! The little of FlatBuffers that a zTOC needs, exact and without `unsafe`.
//!
//! Two halves: [`build`] lays bytes out as Go's builder does, [`view`] reads any layout with every
//! access checked. The `flatbuffers` crate serves neither: its generated builders sort fields, its
//! accessors are `unsafe` without a verifier of generated code, and both need the whole buffer,
//! checkpoints included, in one piece of memory.

pub(crate) mod build;
pub(crate) mod view;
