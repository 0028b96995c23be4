//! The BuildKit frontend, on the real stack: builders, registry, snapshotter.

mod broken;
mod cache;
mod calls;
mod cancelled;
mod dockerfiles;
mod example;
mod failures;
mod gc;
mod guide;
mod lazy;
mod pipe;
mod platforms;
mod policies;
mod project;
mod repositories;
mod secrets;
mod start;
mod steps;
mod syntax;
