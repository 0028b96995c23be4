//! What a lazy start asked a registry for: ranges of layer blobs, and the files that are in them.
//!
//! soci-snapshotter fetches whole spans, so this is coarse: of a file it says which spans' parts were fetched, and files that
//! only share a span with what was read are there, too. In return it is what a real start did, and needs no rights.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use sociable_oci::{Digest, Source};
use sociable_policy::Trace;
use sociable_soci::files::Layers;
use sociable_soci::image::PlatformImage;
use sociable_soci::tree::{Node, Tree};
use sociable_soci::{Image, found};
use sociable_ztoc::{EntryKind, Ztoc};

use crate::{Error, Recorder, Result};

/// A range of a layer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The layer.
    pub layer: Digest,
    /// Bytes of its blob.
    pub range: Range<u64>,
}

/// Reads the requests of a log: lines with `/blobs/DIGEST` and `bytes=FIRST-LAST`, in whatever form; others are not for us.
#[must_use]
pub fn parse_log(text: &str) -> Vec<Request> {
    text.lines().flat_map(parse_line).collect()
}

fn parse_line(line: &str) -> Vec<Request> {
    let digest = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != ':');
        rest[..end.unwrap_or(rest.len())].parse::<Digest>().ok()
    };
    let layer = line
        .split_once("/blobs/")
        .and_then(|(_, rest)| digest(rest));
    let (Some(layer), Some((_, ranges))) = (layer, line.split_once("bytes=")) else {
        return Vec::new();
    };
    let end = ranges.find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | ',' | ' '));
    let ranges = ranges[..end.unwrap_or(ranges.len())].split(',');
    let request = |range: &str| {
        let (first, last) = range.trim().split_once('-')?;
        let last = last.split(' ').next()?.parse::<u64>().ok()?;
        Some(Request {
            layer,
            range: first.parse().ok()?..last.checked_add(1)?,
        })
    };
    ranges.filter_map(request).collect()
}

/// Where an image's files are in its layers.
#[derive(Debug)]
pub struct Places {
    layers: HashMap<Digest, Layer>,
}

#[derive(Debug)]
struct Layer {
    ztoc: Ztoc,
    files: Vec<File>,
}

/// A file that a container sees, in a layer.
#[derive(Debug)]
struct File {
    number: u64,
    path: String,
    /// Bytes of the layer's tar.
    content: Range<u64>,
}

impl Places {
    /// Reads the zTOCs of an image. Layers without one are fetched whole before a start, and so left out.
    ///
    /// # Errors
    /// [`Error::Image`], and [`Error::NoZtocs`] when no layer has one.
    pub fn open(source: &dyn Source, image: &Image, of: &PlatformImage) -> Result<Self> {
        let indexes = found::indexes(source, image, of)?;
        let mut ztocs = BTreeMap::new();
        for (number, layer) in of.manifest.layers.iter().enumerate() {
            let ztoc = indexes.iter().find_map(|i| i.index.ztoc_of(&layer.digest));
            if let Some(ztoc) = ztoc {
                let ztoc = found::ztoc(source, ztoc, &layer.digest)?;
                let files = Vec::new();
                ztocs.insert(number, (layer.digest, Layer { ztoc, files }));
            }
        }
        if ztocs.is_empty() {
            return Err(Error::NoZtocs);
        }
        let layers = Layers::open(source, image, of)?;
        let tree = layers.tree()?;
        let mut seen = HashSet::new();
        visit(&tree, tree.root(), &mut |node| {
            let Ok((layer, entry)) = tree.content(node) else {
                return;
            };
            // Of a file with several names one is enough, and a trace holds text only.
            let (Some((_, at)), Ok(path), true) = (
                ztocs.get_mut(&layer),
                String::from_utf8(tree.path(node).into()),
                seen.insert((layer, entry)),
            ) else {
                return;
            };
            let Some(entry) = at.ztoc.entries.get(entry) else {
                return;
            };
            at.files.push(File {
                number: seen.len() as u64,
                path,
                content: entry.offset..entry.offset.saturating_add(entry.size),
            });
        });
        let mut layers: HashMap<_, _> = ztocs.into_values().collect();
        for layer in layers.values_mut() {
            layer.files.sort_by_key(|file| file.content.start);
        }
        Ok(Self { layers })
    }

    /// The files that requests fetched, in the order of the requests.
    #[must_use]
    pub fn trace(&self, requests: &[Request], workload: Option<String>) -> Trace {
        let recorder = Recorder::new();
        for request in requests {
            if let Some(layer) = self.layers.get(&request.layer) {
                layer.note(&request.range, &recorder);
            }
        }
        recorder.trace(workload)
    }
}

impl Layer {
    fn note(&self, fetched: &Range<u64>, recorder: &Recorder) {
        for span in (0..self.ztoc.spans.len()).filter_map(|number| self.ztoc.span(number)) {
            // Two spans can share a byte; whoever fetches the one has nothing of the other.
            let shared = overlap(&span.compressed, fetched);
            if shared.end - shared.start < 2 {
                continue;
            }
            let first =
                (self.files).partition_point(|file| file.content.end <= span.uncompressed.start);
            for file in &self.files[first..] {
                if file.content.start >= span.uncompressed.end {
                    break;
                }
                let part = overlap(&file.content, &span.uncompressed);
                let size = file.content.end - file.content.start;
                let name = || (file.path.clone(), size);
                let offset = part.start - file.content.start;
                recorder.read(file.number, name, offset, part.end - part.start);
            }
        }
    }
}

/// What two ranges share; empty if nothing.
fn overlap(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// Calls `each` for all regular files, directory by directory.
fn visit(tree: &Tree<'_>, root: Node, each: &mut dyn FnMut(Node)) {
    let mut waiting = vec![root];
    while let Some(directory) = waiting.pop() {
        for (_, node) in tree.children(directory) {
            match node.kind {
                EntryKind::Directory => waiting.push(node),
                EntryKind::File => each(node),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        clippy::single_range_in_vec_init,
        reason = "lists of ranges, some of one"
    )]
    fn lines_of_all_kinds() {
        let hex = "ab".repeat(32);
        let layer: Digest = format!("sha256:{hex}").parse().unwrap();
        let read = |line: &str| {
            let requests = parse_log(&line.replace("DIGEST", &format!("sha256:{hex}")));
            assert!(requests.iter().all(|request| request.layer == layer));
            requests.into_iter().map(|r| r.range).collect::<Vec<_>>()
        };
        assert_eq!(read("GET /v2/a/blobs/DIGEST bytes=0-9"), [0..10]);
        assert_eq!(
            read(r#"127.0.0.1 "GET /v2/a/b/blobs/DIGEST HTTP/1.1" 206 "bytes=5-9, 20-29" "soci""#),
            [5..10, 20..30]
        );
        assert_eq!(
            read(r#"{"uri":"/v2/a/blobs/DIGEST?x=1","range":"bytes=7-7"}"#),
            [7..8]
        );
        for line in [
            "",
            "GET /v2/a/blobs/DIGEST",
            "GET /v2/a/manifests/DIGEST bytes=0-9",
            "GET /v2/a/blobs/sha256:12 bytes=0-9",
            "GET /v2/a/blobs/DIGEST bytes=5-",
            "GET /v2/a/blobs/DIGEST bytes=-5",
            "GET /v2/a/blobs/DIGEST bytes=0-18446744073709551615",
        ] {
            assert_eq!(read(line), [], "{line}");
        }
    }

    #[test]
    fn ranges_overlap() {
        assert_eq!(overlap(&(0..10), &(5..20)), 5..10);
        assert_eq!(overlap(&(0..10), &(10..20)), 10..10);
        assert_eq!(overlap(&(30..40), &(10..20)), 30..30);
    }
}
