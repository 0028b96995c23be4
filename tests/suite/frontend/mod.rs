//! The BuildKit frontend, on the real stack: builders, registry, snapshotter.

mod cache;
mod gc;
mod lazy;
mod pipe;
mod platforms;
mod project;
mod start;
mod steps;
mod syntax;
