//! LLB: BuildKit's graphs of operations.
//!
//! A [`Graph`] holds operations by the digests of their bytes. They come from others ([`Graph::import`], byte for byte as they
//! are) or are made here: [`Exec`] runs a program, [`files::Files`] writes and copies files, [`Source`] fetches, [`Merge`] lays
//! results over each other, [`Diff`] takes them apart. An [`Output`] is one result of one operation, and what others take as input.
//!
//! Formats: `solver/pb/ops.proto` of BuildKit. A marshalled graph lists operations, inputs before those that use them, and last an
//! operation without content whose only input is what the graph is about.

mod exec;
pub mod files;
mod graph;
mod source;
mod stack;

pub use exec::{Exec, Network};
pub use graph::{Graph, GraphError, Operation, Output, Vertex};
pub use source::Source;
pub use stack::{Diff, Merge};

use bollard_buildkit_proto::pb;

/// An operation to be added to a [`Graph`].
pub trait Build {
    /// Its message, and what is said about it: neither part of its digest nor of what it does.
    fn build(self) -> (pb::Op, pb::OpMetadata);
}

/// Collects the inputs of an operation, each once.
#[derive(Debug, Default)]
pub(crate) struct Inputs(Vec<pb::Input>);

/// What stands for "nothing" in the place of an input.
pub(crate) const EMPTY: i64 = -1;

impl Inputs {
    /// The number under which an operation knows an input.
    pub(crate) fn number(&mut self, output: Option<&Output>) -> i64 {
        let Some(output) = output else { return EMPTY };
        let input = output.input();
        let at = self.0.iter().position(|known| *known == input);
        let at = at.unwrap_or_else(|| {
            self.0.push(input);
            self.0.len() - 1
        });
        i64::try_from(at).unwrap_or(i64::MAX)
    }

    pub(crate) fn into_vec(self) -> Vec<pb::Input> {
        self.0
    }
}

/// Metadata with the name that users see.
pub(crate) fn named(name: &str) -> pb::OpMetadata {
    let mut metadata = pb::OpMetadata::default();
    if !name.is_empty() {
        let description = &mut metadata.description;
        description.insert("llb.customname".to_owned(), name.to_owned());
    }
    metadata
}
