//! The BuildKit frontend, on the real stack: BuildKits, registry, snapshotter.

mod lazy;
mod project;
mod start;
