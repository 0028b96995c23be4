//! The BuildKit frontend: `docker buildx build` makes an image and its SOCI index in one build.
//!
//! One static binary that is two programs. As the *frontend* it lets dockerfile.v0 build, finds the new layers in the graph of the
//! result, and adds a step for each that packs and indexes it. As the *engine* it is what runs in these steps.
//!
//! ```text
//!  options ──▶ dockerfile.v0 ──▶ graph ──▶ chain: base image, new layers
//!                                              │
//!           step a layer: diff, pack, index ◀──┤──▶ step a base layer: index
//!                          │                                │
//!                          └───────▶ parts ◀────────────────┘
//!                                      │
//!                 documents: SOCI index, manifests, … ──▶ out: image | layout | push
//! ```
//!
//! | to change | look in |
//! |---|---|
//! | an option | [`options`] |
//! | how layers are found | [`chain`] |
//! | where base layers come from | [`base`] |
//! | what a step is told, and answers | [`task`] |
//! | what a step does | [`engine`] |
//! | how the result leaves the build | [`output`] |

mod base;
mod build;
mod chain;
mod engine;
mod options;
mod output;
mod platform;
mod steps;
mod task;

use std::process::ExitCode;

use sociable_buildkit::{Options, frontend};

fn main() -> ExitCode {
    if let Some(task) = std::env::var_os(task::VARIABLE) {
        engine::main(&task)
    } else if Options::are_there() {
        frontend::run(build::build)
    } else {
        engine::explain()
    }
}
