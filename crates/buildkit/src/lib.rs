//! Write [BuildKit](https://github.com/moby/buildkit) frontends in Rust.
//!
//! A frontend is a program in an image that turns a build's options into a graph of operations (LLB) and gives the result
//! back. BuildKit starts it for `# syntax=IMAGE`, or for `--build-arg BUILDKIT_SYNTAX=IMAGE`, and talks gRPC with it over its
//! standard input and output.
//!
//! | to do | module |
//! |---|---|
//! | be a frontend: start, ask, answer | [`frontend`], [`Gateway`] |
//! | what the user asked for | [`Options`] |
//! | make operations, read those of others | [`llb`] |
//! | say why it failed, as BuildKit's own errors do | [`Error`] |
//!
//! **What enters**: options in the environment, graphs and results of BuildKit. **What leaves**: graphs, and one result or one
//! error. **What must never be done here**: printing to standard output, which is the connection; knowing what
//! a frontend is for.
//!
//! Operations of others go through as the bytes they are, whether or not this crate knows their fields, so their digests, and
//! with them BuildKit's cache, stay. Operations made here have the same bytes whenever they are made of the same parts.
//!
//! ```no_run
//! use sociable_buildkit::llb::{Graph, files};
//! use sociable_buildkit::{Error, Gateway, Options, Reply, frontend};
//!
//! async fn build(gateway: &Gateway, options: &Options) -> Result<Reply, Error> {
//!     let name = options.build_arg("NAME").unwrap_or("world");
//!     let mut graph = Graph::default();
//!     let file = graph.add(files::Files::on(None).write("/hello", 0o644, format!("Hello, {name}!\n")));
//!     let image = gateway.solve(&graph, &file).await?;
//!     Ok(Reply::of(image))
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     frontend::run(build)
//! }
//! ```

pub mod error;
pub mod frontend;
pub mod gateway;
pub mod llb;
pub mod options;
pub mod reply;
mod stdio;

/// The protocol's messages, for what has no type of its own here.
pub use bollard_buildkit_proto as proto;
pub use error::Error;
pub use gateway::Gateway;
pub use options::Options;
pub use reply::{Ref, Reply};
