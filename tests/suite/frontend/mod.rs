//! The BuildKit frontend, on the real stack: BuildKits, registry, snapshotter.

mod dockerfiles;
mod start;
