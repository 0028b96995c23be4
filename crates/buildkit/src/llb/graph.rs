//! Operations by digest.

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::pb;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::Build;

/// One result of one operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Output {
    digest: String,
    index: i64,
}

impl Output {
    /// Digest of the operation.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Which of its results, from 0.
    #[must_use]
    pub fn index(&self) -> i64 {
        self.index
    }

    /// As an input of others.
    pub(crate) fn input(&self) -> pb::Input {
        pb::Input {
            digest: self.digest.clone(),
            index: self.index,
        }
    }

    /// Another result of the same operation.
    #[must_use]
    pub fn nth(&self, index: i64) -> Self {
        Self {
            digest: self.digest.clone(),
            index,
        }
    }
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "most operations of a graph are of the large kind"
)]
pub enum Operation {
    /// Runs a program.
    Exec(pb::ExecOp),
    /// Fetches something.
    Source(pb::SourceOp),
    /// Writes, copies, removes files.
    File(pb::FileOp),
    /// Lays results over each other.
    Merge(pb::MergeOp),
    /// What one result has more than another.
    Diff(pb::DiffOp),
    /// A nested graph.
    Build(pb::BuildOp),
    /// Its first input, unchanged (BuildKit 0.30).
    Passthrough,
    /// What this crate does not know.
    Unknown,
}

/// An operation, and what is known about it.
#[derive(Debug, Clone)]
pub struct Vertex {
    bytes: Vec<u8>,
    metadata: pb::OpMetadata,
    /// What it takes.
    pub inputs: Vec<Output>,
    /// What it does.
    pub operation: Operation,
    /// What it is to run on, or to fetch for.
    pub platform: Option<pb::Platform>,
}

impl Vertex {
    /// An input by its number; none for -1, which stands for nothing, and for numbers without an input.
    #[must_use]
    pub fn input(&self, number: i64) -> Option<&Output> {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.inputs.get(number))
    }

    /// What users see as its name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let description = &self.metadata.description;
        description.get("llb.customname").map(String::as_str)
    }
}

/// Why bytes are no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Not a definition.
    #[error("the graph cannot be decoded: {why}")]
    Bytes {
        /// What is wrong.
        why: String,
    },
    /// Not a message.
    #[error("operation {number} of the graph cannot be decoded: {why}")]
    Decode {
        /// Which, from 0.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// An input that no operation before it is.
    #[error("operation {digest} takes {input}, which the graph does not have")]
    NoInput {
        /// The operation.
        digest: String,
        /// What it takes.
        input: String,
    },
    /// The last operation does not say what the graph is about.
    #[error("the graph does not end in an operation that points at its result")]
    NoEnd,
}

/// Operations by digest, from here and elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    vertices: BTreeMap<String, Vertex>,
    source: pb::Source,
}

impl Graph {
    /// Adds an operation; gives its first result.
    pub fn add(&mut self, operation: impl Build) -> Output {
        let (op, metadata) = operation.build();
        let bytes = op.encode_to_vec();
        let digest = digest(&bytes);
        let vertex = vertex(op, bytes, metadata);
        self.vertices.insert(digest.clone(), vertex);
        Output { digest, index: 0 }
    }

    /// Adds a graph of others; gives what it is about. A definition without any operation is the empty file system: `None`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn import(&mut self, definition: &pb::Definition) -> Result<Option<Output>, GraphError> {
        let Some((end, operations)) = definition.def.split_last() else {
            return Ok(None);
        };
        let decode = |number: usize, bytes: &[u8]| {
            pb::Op::decode(bytes).map_err(|error| GraphError::Decode {
                number,
                why: error.to_string(),
            })
        };
        for (number, bytes) in operations.iter().enumerate() {
            let op = decode(number, bytes)?;
            let digest = digest(bytes);
            for input in &op.inputs {
                if !self.vertices.contains_key(&input.digest) {
                    return Err(GraphError::NoInput {
                        digest,
                        input: input.digest.clone(),
                    });
                }
            }
            let metadata = definition.metadata.get(&digest);
            let metadata = metadata.cloned().unwrap_or_default();
            let vertex = vertex(op, bytes.clone(), metadata);
            self.vertices.insert(digest, vertex);
        }
        if let Some(source) = &definition.source {
            self.take_source(source);
        }
        let end = decode(operations.len(), end)?;
        match (&end.inputs[..], &end.op) {
            ([input], None) if self.vertices.contains_key(&input.digest) => Ok(Some(Output {
                digest: input.digest.clone(),
                index: input.index,
            })),
            _ => Err(GraphError::NoEnd),
        }
    }

    /// As [`Graph::import`], of a definition's bytes.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn import_bytes(&mut self, definition: &[u8]) -> Result<Option<Output>, GraphError> {
        let definition = pb::Definition::decode(definition).map_err(|error| GraphError::Bytes {
            why: error.to_string(),
        })?;
        self.import(&definition)
    }

    /// Where operations come from: lines of a Dockerfile, for messages.
    fn take_source(&mut self, source: &pb::Source) {
        let known = i32::try_from(self.source.infos.len()).unwrap_or(i32::MAX);
        self.source.infos.extend(source.infos.iter().cloned());
        for (digest, locations) in &source.locations {
            let mut locations = locations.clone();
            for location in &mut locations.locations {
                location.source_index = location.source_index.saturating_add(known);
            }
            self.source.locations.insert(digest.clone(), locations);
        }
    }

    /// An operation.
    #[must_use]
    pub fn vertex(&self, digest: &str) -> Option<&Vertex> {
        self.vertices.get(digest)
    }

    /// The graph of one output, with nothing that it does not need. The output has to be of this graph: BuildKit refuses a
    /// definition in which an operation is missing.
    #[must_use]
    pub fn definition(&self, output: &Output) -> pb::Definition {
        let mut definition = pb::Definition::default();
        let mut done = BTreeSet::new();
        // Depth first, without recursion: Dockerfiles can be long.
        let mut open = vec![(output.digest.as_str(), false)];
        while let Some((digest, inputs_are_there)) = open.pop() {
            let Some(vertex) = self.vertices.get(digest) else {
                continue;
            };
            if inputs_are_there {
                if done.insert(digest) {
                    definition.def.push(vertex.bytes.clone());
                    let metadata = vertex.metadata.clone();
                    definition.metadata.insert(digest.to_owned(), metadata);
                }
            } else if !done.contains(digest) {
                open.push((digest, true));
                let inputs = vertex.inputs.iter().rev();
                open.extend(inputs.map(|input| (input.digest.as_str(), false)));
            }
        }
        let end = pb::Op {
            inputs: vec![output.input()],
            ..pb::Op::default()
        };
        definition.def.push(end.encode_to_vec());
        let mut source = self.source.clone();
        source
            .locations
            .retain(|digest, _| done.contains(digest.as_str()));
        definition.source = (!source.locations.is_empty()).then_some(source);
        definition
    }
}

fn vertex(op: pb::Op, bytes: Vec<u8>, metadata: pb::OpMetadata) -> Vertex {
    let operation = match op.op {
        Some(pb::op::Op::Exec(exec)) => Operation::Exec(exec),
        Some(pb::op::Op::Source(source)) => Operation::Source(source),
        Some(pb::op::Op::File(file)) => Operation::File(file),
        Some(pb::op::Op::Merge(merge)) => Operation::Merge(merge),
        Some(pb::op::Op::Diff(diff)) => Operation::Diff(diff),
        Some(pb::op::Op::Build(build)) => Operation::Build(build),
        None if has_field(&bytes, PASSTHROUGH) => Operation::Passthrough,
        None => Operation::Unknown,
    };
    let inputs = op.inputs.into_iter().map(|input| Output {
        digest: input.digest,
        index: input.index,
    });
    Vertex {
        bytes,
        metadata,
        inputs: inputs.collect(),
        operation,
        platform: op.platform,
    }
}

/// The number of `PassthroughOp` in `Op`, which the generated messages do not have yet.
const PASSTHROUGH: u32 = 8;

/// Whether a message has a field with this number.
fn has_field(mut bytes: &[u8], number: u32) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    while !bytes.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else {
            return false;
        };
        if tag == number {
            return true;
        }
        if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llb::files::Files;
    use crate::llb::{Exec, Merge, Network, Source};

    fn example() -> (Graph, Output) {
        let mut graph = Graph::default();
        let base = graph.add(Source::image("docker.io/library/alpine:3"));
        let file = graph.add(Files::on(None).write("/x", 0o644, "x"));
        let mut exec = Exec::new(&base, ["/bin/true"]).network(Network::None);
        exec.read_only_unhashed("/lower", Some(&file));
        let out = exec.output("/out", None);
        let exec = graph.add(exec.named("[x] a step"));
        let merged = graph.add(Merge::of([&file, &exec.nth(out)]));
        (graph, merged)
    }

    #[test]
    fn a_graph_read_back_is_the_same_graph() {
        let (graph, output) = example();
        let definition = graph.definition(&output);
        // Source, file, exec, merge, and the end.
        assert_eq!(definition.def.len(), 5);
        let mut other = Graph::default();
        assert_eq!(other.import(&definition).unwrap(), Some(output.clone()));
        assert_eq!(other.definition(&output), definition);
        let exec = &graph.vertex(output.digest()).unwrap().inputs[1];
        assert_eq!(
            other.vertex(exec.digest()).unwrap().name(),
            Some("[x] a step")
        );
        assert_eq!(exec.index(), 1, "the root file system is the first output");
    }

    #[test]
    fn digests_depend_on_nothing_but_the_parts() {
        let (_, one) = example();
        let (_, other) = example();
        assert_eq!(one, other);
        let mut graph = Graph::default();
        let named = graph.add(Source::image("a"));
        assert_ne!(named, graph.add(Source::image("b")));
    }

    #[test]
    fn nothing_is_the_empty_file_system() {
        let empty = pb::Definition::default();
        assert_eq!(Graph::default().import(&empty).unwrap(), None);
    }

    #[test]
    fn damage_is_found() {
        let (graph, output) = example();
        let whole = graph.definition(&output);
        let mut cut = whole.clone();
        cut.def.remove(0);
        let cut = Graph::default().import(&cut);
        assert!(matches!(cut, Err(GraphError::NoInput { .. })), "{cut:?}");
        let mut endless = whole.clone();
        endless.def.pop();
        assert_eq!(Graph::default().import(&endless), Err(GraphError::NoEnd));
        let mut broken = whole;
        broken.def[0] = vec![0xff];
        let broken = Graph::default().import(&broken);
        assert!(matches!(broken, Err(GraphError::Decode { number: 0, .. })));
    }

    #[test]
    fn operations_of_a_later_version_are_told_from_unknown_ones() {
        let mut op = pb::Op::default().encode_to_vec();
        op.extend([0x42, 0]); // field 8, an empty message
        let mut graph = Graph::default();
        for (tag, passthrough) in [(0x42, true), (0x4a, false)] {
            let bytes = vec![tag, 0];
            let op = pb::Op::decode(&bytes[..]).unwrap();
            let vertex = vertex(op, bytes.clone(), pb::OpMetadata::default());
            assert_eq!(vertex.operation == Operation::Passthrough, passthrough);
            graph.vertices.insert(digest(&bytes), vertex);
        }
    }

    proptest::proptest! {
        /// Whatever the bytes are: a graph or an error, and a graph can be written again.
        #[test]
        fn damage_is_never_worse_than_an_error(flips: Vec<(usize, u8)>, cut: u16) {
            let (graph, output) = example();
            let mut bytes = graph.definition(&output).encode_to_vec();
            bytes.truncate(bytes.len() - usize::from(cut) % 8 % bytes.len());
            for (at, byte) in flips.into_iter().take(6) {
                let at = at % bytes.len();
                bytes[at] ^= byte;
            }
            let mut other = Graph::default();
            if let Ok(Some(output)) = other.import_bytes(&bytes) {
                let again = other.definition(&output);
                proptest::prop_assert_eq!(other.import(&again).unwrap(), Some(output));
            }
        }
    }

    #[test]
    fn only_what_is_needed_is_in_a_definition() {
        let (mut graph, _) = example();
        let alone = graph.add(Source::image("alone"));
        assert_eq!(graph.definition(&alone).def.len(), 2);
    }

    #[test]
    fn lines_of_a_dockerfile_stay_with_their_operations() {
        let mut graph = Graph::default();
        let [one, two] = ["a", "b"].map(|name| graph.add(Source::image(name)));
        let located = |output: &Output, file: &str| {
            let mut definition = graph.definition(output);
            let location = pb::Location {
                source_index: 0,
                ranges: Vec::new(),
            };
            let locations = pb::Locations {
                locations: vec![location],
            };
            definition.source = Some(pb::Source {
                locations: [(output.digest().to_owned(), locations)].into(),
                infos: vec![pb::SourceInfo {
                    filename: file.to_owned(),
                    ..pb::SourceInfo::default()
                }],
            });
            definition
        };
        let mut both = Graph::default();
        both.import(&located(&one, "first")).unwrap();
        both.import(&located(&two, "second")).unwrap();
        let source = both.definition(&two).source.unwrap();
        let location = &source.locations[two.digest()].locations[0];
        let info = &source.infos[usize::try_from(location.source_index).unwrap()];
        assert_eq!(info.filename, "second");
        assert_eq!(source.locations.len(), 1);
    }
}
