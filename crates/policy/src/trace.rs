//! What a start of a container read: the input of the `profile` policies.
//!
//! A trace is one JSON document:
//!
//! ```json
//! {
//!   "format": "sociable trace 1",
//!   "workloads": ["python3 -c 'import numpy'"],
//!   "files": [
//!     {"path": "/usr/bin/python3.11", "size": 6831736, "ranges": [[0, 65536], [1048576, 262144]]}
//!   ]
//! }
//! ```
//!
//! | field       | meaning                                                                              |
//! |-------------|--------------------------------------------------------------------------------------|
//! | `format`    | [`FORMAT`]; anything else is refused                                                 |
//! | `workloads` | what was run, for people                                                             |
//! | `files`     | regular files, in the order in which they were first read                            |
//! | `path`      | absolute, in the image, without symbolic links                                       |
//! | `size`      | of the file, in bytes; a file of another size in a layer is taken to be another file |
//! | `ranges`    | `[offset, length]` in bytes: rising, not empty, apart from each other                |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The value of `format`.
pub const FORMAT: &str = "sociable trace 1";

/// What a start read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// What was run, for people.
    pub workloads: Vec<String>,
    /// What was read, in the order of first access.
    pub files: Vec<TracedFile>,
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracedFile {
    /// Absolute path in the image.
    pub path: String,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Offset and length of what was read, in bytes: rising, not empty, apart from each other.
    pub ranges: Vec<(u64, u64)>,
}

/// Why a text is no trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It is no JSON, or not of this shape.
    #[error("no trace")]
    Json(#[from] serde_json::Error),
    /// It is of another format, or another version.
    #[error("its format is {0:?}, but this program reads {FORMAT:?}")]
    Format(String),
    /// A path is not absolute, or has an empty, `.` or `..` part.
    #[error("{0:?} is no absolute path of a file")]
    Path(String),
    /// A file is there twice.
    #[error("{0:?} is listed twice")]
    Twice(String),
    /// Ranges are empty, do not rise, touch each other, or go beyond the file's end.
    #[error(
        "{path:?}: the range of {length} bytes at {offset} is empty, beyond the end, or not behind the one before"
    )]
    Range {
        /// The file.
        path: String,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    #[serde(default)]
    workloads: Vec<String>,
    files: Vec<TracedFile>,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn parse(text: &[u8]) -> Result<Self, TraceError> {
        let document: Document = serde_json::from_slice(text)?;
        if document.format != FORMAT {
            return Err(TraceError::Format(document.format));
        }
        let mut seen = std::collections::BTreeSet::new();
        for file in &document.files {
            file.check()?;
            if !seen.insert(&file.path) {
                return Err(TraceError::Twice(file.path.clone()));
            }
        }
        Ok(Self {
            workloads: document.workloads,
            files: document.files,
        })
    }

    /// The trace as text: one line a file, so that it can be read and compared.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let workloads: Vec<_> = self.workloads.iter().map(|w| text(w)).collect();
        let files: Vec<_> = (self.files.iter())
            .map(|file| {
                let ranges: Vec<_> = (file.ranges.iter())
                    .map(|(offset, length)| format!("[{offset}, {length}]"))
                    .collect();
                format!(
                    "\n    {{\"path\": {}, \"size\": {}, \"ranges\": [{}]}}",
                    text(&file.path),
                    file.size,
                    ranges.join(", ")
                )
            })
            .collect();
        format!(
            "{{\n  \"format\": {},\n  \"workloads\": [{}],\n  \"files\": [{}\n  ]\n}}\n",
            text(FORMAT),
            workloads.join(", "),
            files.join(",")
        )
    }

    /// Several starts as one: what any of them read. Files come in the order of the first trace, then
    /// those that only later ones read. Of a file that changed its size the first trace's ranges count.
    #[must_use]
    pub fn merge(traces: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Self::default();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for trace in traces {
            for workload in trace.workloads {
                if !merged.workloads.contains(&workload) {
                    merged.workloads.push(workload);
                }
            }
            for file in trace.files {
                if let Some(&place) = places.get(&file.path) {
                    let known = &mut merged.files[place];
                    if known.size == file.size {
                        known.ranges.extend(file.ranges);
                        known.ranges = joined(std::mem::take(&mut known.ranges));
                    }
                } else {
                    places.insert(file.path.clone(), merged.files.len());
                    merged.files.push(file);
                }
            }
        }
        merged
    }

    /// Bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let ranges = self.files.iter().flat_map(|file| &file.ranges);
        ranges.map(|(_, length)| length).sum()
    }
}

impl TracedFile {
    /// What was read, of ranges in any order.
    #[must_use]
    pub fn new(path: String, size: u64, ranges: Vec<(u64, u64)>) -> Self {
        Self {
            path,
            size,
            ranges: joined(ranges),
        }
    }

    fn check(&self) -> Result<(), TraceError> {
        let mut parts = self.path.split('/');
        if parts.next() != Some("") || parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(TraceError::Path(self.path.clone()));
        }
        let mut free = 0;
        for &(offset, length) in &self.ranges {
            let end = offset.checked_add(length).filter(|&end| end <= self.size);
            match end {
                Some(end) if length > 0 && offset >= free => free = end.saturating_add(1),
                _ => {
                    return Err(TraceError::Range {
                        path: self.path.clone(),
                        offset,
                        length,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The same bytes as ranges that rise and do not touch.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|&(_, length)| length > 0);
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (offset, length) in ranges {
        match joined.last_mut() {
            Some((start, before)) if offset <= start.saturating_add(*before) => {
                *before = (*before).max(offset.saturating_add(length) - *start);
            }
            _ => joined.push((offset, length)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(files: Vec<TracedFile>) -> Trace {
        Trace {
            workloads: vec!["a \"b\"".to_owned()],
            files,
        }
    }

    #[test]
    fn written_and_read_again() {
        let trace = trace(vec![
            TracedFile::new("/b\n".to_owned(), 10, vec![(4, 2), (0, 3), (6, 1)]),
            TracedFile::new("/a".to_owned(), 0, vec![]),
        ]);
        assert_eq!(trace.files[0].ranges, [(0, 3), (4, 3)]);
        assert_eq!(Trace::parse(trace.to_json().as_bytes()).unwrap(), trace);
        assert_eq!(trace.bytes(), 6);
    }

    #[test]
    fn what_is_no_trace() {
        let refused = |text: &str| Trace::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("{}").starts_with("no trace"));
        assert!(refused(r#"{"format":"sociable trace 2","files":[]}"#).contains("reads"));
        let file = |path: &str, ranges: &str| {
            refused(&format!(
                r#"{{"format":"{FORMAT}","files":[{{"path":"{path}","size":9,"ranges":{ranges}}}]}}"#
            ))
        };
        assert!(file("usr", "[]").contains("absolute"));
        assert!(file("/usr/../x", "[]").contains("absolute"));
        for ranges in [
            "[[0,0]]",
            "[[0,10]]",
            "[[4,2],[6,1]]",
            "[[4,2],[2,1]]",
            "[[1,18446744073709551615]]",
        ] {
            assert!(file("/x", ranges).contains("range"), "{ranges}");
        }
    }

    #[test]
    fn merged_in_the_order_of_the_first() {
        let file = |path: &str, size, ranges: &[(u64, u64)]| {
            TracedFile::new(path.to_owned(), size, ranges.to_vec())
        };
        let one = trace(vec![file("/b", 9, &[(0, 2)]), file("/a", 9, &[(0, 1)])]);
        let two = trace(vec![
            file("/c", 9, &[(1, 1)]),
            file("/a", 9, &[(1, 4)]),
            file("/b", 8, &[(7, 1)]),
        ]);
        let merged = Trace::merge([one, two]);
        let expected = [
            file("/b", 9, &[(0, 2)]),
            file("/a", 9, &[(0, 5)]),
            file("/c", 9, &[(1, 1)]),
        ];
        assert_eq!(merged.files, expected);
        assert_eq!(merged.workloads.len(), 1);
    }
}
