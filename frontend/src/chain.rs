//! The layers of a result, found in its graph.
//!
//! BuildKit's exporter makes layers when the frontend has gone, one for each operation that writes to the root file system, and
//! its rules (`cache/refs.go`, `cache/blobs.go`) are followed here: with L for the list of layers,
//!
//! | operation | L |
//! |---|---|
//! | image | those of the image |
//! | another source (a directory, a repository, a file) | one |
//! | Exec | L of what is mounted there, and one |
//! | File | L of what it writes on, and one |
//! | Merge | L of its inputs, one after the other |
//! | Diff of something and itself | none |
//! | Passthrough | L of its input |
//!
//! Anything else ends the search with an error: an image must never lack a layer.

use sociable_buildkit::llb::{Graph, Operation, Output, Vertex};

/// The layers of a result, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    /// The base image, which has any number of layers.
    pub(crate) base: Option<Output>,
    /// Layers on top of it.
    pub(crate) new: Vec<NewLayer>,
}

/// A layer that an operation has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLayer {
    /// What it was made on.
    pub(crate) lower: Option<Output>,
    /// With it.
    pub(crate) upper: Output,
    /// What users know the operation as.
    pub(crate) name: String,
    /// Whether an instruction made it, of which the config's history then speaks: not so for a directory that an image is built from.
    pub(crate) instructed: bool,
}

/// Why the layers are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the layers of this image cannot be told from its graph: {why} ({step}); build with SOCI_OUTPUT=none, and index the image with `sociable convert`"
)]
pub(crate) struct ChainError {
    step: String,
    why: &'static str,
}

/// One of the layers, while they are collected.
enum Piece {
    Image(Output),
    New(NewLayer),
}

/// Finds the layers.
pub(crate) fn chain(graph: &Graph, result: Option<&Output>) -> Result<Chain, ChainError> {
    let mut pieces = Vec::new();
    collect(graph, result.cloned(), &mut pieces)?;
    let mut chain = Chain::default();
    for (number, piece) in pieces.into_iter().enumerate() {
        match piece {
            Piece::Image(image) if number == 0 => chain.base = Some(image),
            Piece::Image(image) => {
                return Err(ChainError {
                    step: step(graph.vertex(image.digest()), &image),
                    why: "an image lies on top of other layers",
                });
            }
            Piece::New(layer) => chain.new.push(layer),
        }
    }
    Ok(chain)
}

/// Appends the layers of a result.
fn collect(
    graph: &Graph,
    result: Option<Output>,
    pieces: &mut Vec<Piece>,
) -> Result<(), ChainError> {
    // From the top down, and turned round at the end: only merges branch.
    let mut found = Vec::new();
    let mut next = result;
    while let Some(output) = next {
        let vertex = graph.vertex(output.digest());
        let fail = |why| ChainError {
            step: step(vertex, &output),
            why,
        };
        let vertex = vertex.ok_or_else(|| fail("an operation is missing"))?;
        let below = match &vertex.operation {
            Operation::Source(source) if is_image(&source.identifier) => {
                found.push(Piece::Image(output));
                break;
            }
            Operation::Source(_) => None,
            Operation::Exec(exec) => {
                let mount = exec.mounts.iter().find(|m| m.output == output.index());
                mount
                    .map(|mount| vertex.input(mount.input).cloned())
                    .ok_or_else(|| fail("a program has no such output"))?
            }
            Operation::File(file) => {
                let input = file_base(file, vertex, output.index());
                input.ok_or_else(|| fail("a file operation has no such output"))?
            }
            Operation::Merge(merge) => {
                let mut inputs = merge.inputs.iter().map(|m| vertex.input(m.input).cloned());
                let lowest = inputs.next().ok_or_else(|| fail("a merge has no inputs"))?;
                let mut upper = Vec::new();
                for input in inputs {
                    collect(graph, input, &mut upper)?;
                }
                found.extend(upper.into_iter().rev());
                next = lowest;
                continue;
            }
            Operation::Diff(diff) => {
                let lower = diff.lower.as_ref().map(|d| vertex.input(d.input));
                let upper = diff.upper.as_ref().map(|d| vertex.input(d.input));
                if lower == upper {
                    break;
                }
                return Err(fail("a difference of two results has no layers of its own"));
            }
            Operation::Passthrough => {
                next = vertex.input(0).cloned();
                continue;
            }
            _ => return Err(fail("an operation is not known to this version")),
        };
        let name = vertex.name().unwrap_or_default().to_owned();
        found.push(Piece::New(NewLayer {
            lower: below.clone(),
            upper: output,
            name,
            instructed: !matches!(vertex.operation, Operation::Source(_)),
        }));
        next = below;
    }
    pieces.extend(found.into_iter().rev());
    Ok(())
}

/// Whether a source is an image, whose layers stay as they are.
pub(crate) fn is_image(identifier: &str) -> bool {
    ["docker-image://", "oci-layout://"]
        .iter()
        .any(|scheme| identifier.starts_with(scheme))
}

/// What a file operation's output was made on: the operation's actions build on one another.
#[allow(
    clippy::option_option,
    reason = "no such output; made on nothing; made on something"
)]
fn file_base(
    file: &sociable_buildkit::proto::pb::FileOp,
    vertex: &Vertex,
    output: i64,
) -> Option<Option<Output>> {
    let inputs = i64::try_from(vertex.inputs.len()).ok()?;
    let mut action = file.actions.iter().find(|action| action.output == output)?;
    // An action builds on an earlier one: there are no circles, and no more steps than actions.
    for _ in 0..file.actions.len() {
        if action.input < inputs {
            return Some(vertex.input(action.input).cloned());
        }
        let earlier = usize::try_from(action.input - inputs).ok()?;
        action = file.actions.get(earlier)?;
    }
    None
}

fn step(vertex: Option<&Vertex>, output: &Output) -> String {
    let name = vertex.and_then(Vertex::name);
    name.map_or_else(|| format!("operation {}", output.digest()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sociable_buildkit::llb::files::Files;
    use sociable_buildkit::llb::{Diff, Exec, Merge, Source};

    fn names(chain: &Chain) -> Vec<&str> {
        chain.new.iter().map(|layer| layer.name.as_str()).collect()
    }

    #[test]
    fn layers_are_those_of_the_root_file_system() {
        let mut graph = Graph::default();
        let image = graph.add(Source::image("base"));
        let context = graph.add(Source::new("local://context"));
        let files = Files::on(Some(&image)).directory("/a", 0o755);
        let copied = graph.add(files.copy(&context, "/x", "/a/").named("copy"));
        let mut exec = Exec::new(&copied, ["/bin/true"]);
        let cache = exec.output("/cache", Some(&context));
        let exec = graph.add(exec.named("run"));
        let linked = Files::on(None).copy(&context, "/y", "/y");
        let linked = graph.add(linked.named("link"));
        let merged = graph.add(Merge::of([&exec, &linked]));
        let found = chain(&graph, Some(&merged)).unwrap();
        assert_eq!(found.base, Some(image.clone()));
        assert_eq!(names(&found), ["copy", "run", "link"]);
        assert_eq!(found.new[0].lower, Some(image));
        assert_eq!(found.new[1].lower, Some(copied));
        assert_eq!(found.new[2].lower, None);

        // A cache is another file system.
        let cached = chain(&graph, Some(&exec.nth(cache))).unwrap();
        assert_eq!(cached.base, None);
        assert_eq!(cached.new.len(), 2);
        let instructed: Vec<_> = cached.new.iter().map(|layer| layer.instructed).collect();
        assert_eq!(instructed, [false, true]);
    }

    #[test]
    fn nothing_has_no_layers() {
        let graph = Graph::default();
        assert_eq!(chain(&graph, None).unwrap(), Chain::default());
    }

    #[test]
    fn a_difference_with_itself_is_nothing() {
        let mut graph = Graph::default();
        let image = graph.add(Source::image("base"));
        let same = graph.add(Diff::between(Some(&image), Some(&image)));
        let merged = graph.add(Merge::of([&image, &same]));
        assert_eq!(chain(&graph, Some(&merged)).unwrap().new, []);
        let other = graph.add(Diff::between(None, Some(&image)));
        let error = chain(&graph, Some(&other)).unwrap_err().to_string();
        assert!(error.contains("difference"), "{error}");
    }

    #[test]
    fn an_image_on_top_of_layers_is_refused() {
        let mut graph = Graph::default();
        let [one, two] = ["one", "two"].map(|name| graph.add(Source::image(name)));
        let merged = graph.add(Merge::of([&one, &two]));
        let error = chain(&graph, Some(&merged)).unwrap_err().to_string();
        assert!(error.contains("on top of other layers"), "{error}");
        assert!(error.contains("sociable convert"), "{error}");
    }

    #[test]
    fn long_dockerfiles_do_not_exhaust_the_stack() {
        let mut graph = Graph::default();
        let mut last = graph.add(Source::image("base"));
        for number in 0..20_000 {
            let files = Files::on(Some(&last)).write("/x", 0o644, number.to_string());
            last = graph.add(files);
        }
        assert_eq!(chain(&graph, Some(&last)).unwrap().new.len(), 20_000);
        assert_eq!(graph.definition(&last).def.len(), 20_002);
    }
}
