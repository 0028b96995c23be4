//! The BuildKit frontend, on the real stack: BuildKits, registry, snapshotter.

mod calls;
mod dockerfiles;
mod example;
mod failures;
mod start;
