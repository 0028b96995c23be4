//! What a start read: a document that says `"format": "sociable trace 1"`.

use std::collections::BTreeSet;

use serde::Deserialize;
use sociable_policy_sdk::{Error, Result};

const FORMAT: &str = "sociable trace 1";

/// What a start read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    format: String,
    /// What was run, for people.
    #[serde(default, rename = "workloads")]
    _workloads: Vec<String>,
    /// In the order in which they were first read.
    pub(crate) files: Vec<File>,
}

/// What was read of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Absolute path in the image.
    path: String,
    /// In bytes; a file of another size in a layer is another file.
    pub(crate) size: u64,
    /// Offsets and lengths, in bytes: rising, not empty, apart from each other.
    pub(crate) ranges: Vec<(u64, u64)>,
}

impl Trace {
    /// Whether it keeps the format's rules.
    pub(crate) fn check(&self) -> Result<()> {
        if self.format != FORMAT {
            let format = &self.format;
            return Err(Error::new(format_args!(
                "the trace's format is {format:?}, but this policy reads {FORMAT:?}"
            )));
        }
        let mut seen = BTreeSet::new();
        for file in &self.files {
            let path = &file.path;
            if !seen.insert(path) {
                return Err(Error::new(format_args!("trace: {path:?} is listed twice")));
            }
            if !path.starts_with('/') {
                return Err(Error::new(format_args!("trace: {path:?} is not absolute")));
            }
            if !file.is_in_order() {
                return Err(Error::new(format_args!(
                    "trace: {path:?}: a range is empty, beyond the end, or not behind the one before"
                )));
            }
        }
        Ok(())
    }
}

impl File {
    /// The path as layers spell it.
    pub(crate) fn name(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    fn is_in_order(&self) -> bool {
        let mut free = 0;
        self.ranges.iter().all(|&(offset, length)| {
            let end = offset.checked_add(length);
            let fits = length > 0 && offset >= free && end.is_some_and(|end| end <= self.size);
            free = end.unwrap_or(u64::MAX).saturating_add(1);
            fits
        })
    }
}
