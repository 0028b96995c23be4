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
//! | what dockerfile.v0 has made | [`target`] |
//! | how layers are found in a graph | [`chain`] |
//! | where base layers come from | [`base`] |
//! | which step a layer gets, and when | [`build`] |
//! | what a step is told, and answers | [`task`]; how it is put into the graph: [`steps`] |
//! | what a step does | [`engine`] |
//! | what of two directories is a layer | `sociable_tar::diff` |
//! | how the result leaves the build | [`output`] |
//! | gRPC, LLB | `sociable_buildkit` |

mod base;
mod build;
mod chain;
mod engine;
mod options;
mod output;
mod platform;
mod policy;
mod steps;
mod target;
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
