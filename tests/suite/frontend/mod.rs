//! The BuildKit frontend, on the real stack: BuildKits, registry, snapshotter.

mod calls;
mod dockerfiles;
mod failures;
mod start;
