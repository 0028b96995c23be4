//! A layer and its index, and what can be said of them.

use std::fmt;
use std::ops::RangeInclusive;

use sociable_soci::prefetch::SpanRange;
use sociable_soci::span_map::{self, Fetched, Span};
use sociable_tar::Kind;
use sociable_ztoc::{Entry, EntryKind, LayerReader, Ztoc};

use crate::{Error, Tree};

/// A layer and its index.
#[derive(Debug, Clone)]
pub struct Layer {
    blob: Vec<u8>,
    ztoc: Ztoc,
    spans: Vec<Span>,
    prefetched: Vec<RangeInclusive<usize>>,
}

impl Layer {
    pub(crate) fn new(blob: Vec<u8>, ztoc: Ztoc, chosen: &[SpanRange]) -> Self {
        let number = |span: u32| usize::try_from(span).unwrap_or(usize::MAX);
        Self {
            spans: span_map::spans(&ztoc, blob.len() as u64),
            prefetched: (chosen.iter())
                .map(|range| number(range.start)..=number(range.end))
                .collect(),
            blob,
            ztoc,
        }
    }

    /// Reads every file through the index, with all digests checked.
    pub(crate) fn can_be_read(&self) -> Result<(), Error> {
        let mut files = (self.ztoc.entries.iter()).filter(|entry| entry.kind == EntryKind::File);
        files.try_for_each(|entry| self.content(entry).map(|_| ()))
    }

    /// Reads every file of a tree through the index, with all digests checked, and compares it with what was packed.
    pub(crate) fn holds(&self, tree: &Tree) -> Result<(), Error> {
        for (header, content) in &tree.entries {
            let path = header.name.to_string();
            let entry = self.entry(&path)?;
            if matches!(header.kind, Kind::File { .. }) && self.content(entry)? != *content {
                return Err(Error::Changed(path));
            }
        }
        Ok(())
    }

    fn entry(&self, path: &str) -> Result<&Entry, Error> {
        let wanted = path.trim_matches('/').as_bytes();
        let named = |entry: &&Entry| {
            let name: &[u8] = &entry.name;
            let name = name.strip_prefix(b"./").unwrap_or(name);
            name.strip_suffix(b"/").unwrap_or(name) == wanted
        };
        let entry = self.ztoc.entries.iter().rfind(named);
        entry.ok_or_else(|| Error::NoFile(path.to_owned()))
    }

    fn content(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let read = LayerReader::open(&self.ztoc, &self.blob)
            .and_then(|mut reader| reader.copy_entry(entry, &mut out));
        read.map_err(|source| Error::Unreadable {
            path: entry.name.to_string(),
            source: Box::new(source),
        })?;
        Ok(out)
    }

    /// The content of a file, read through the index.
    ///
    /// # Errors
    /// [`Error::NoFile`].
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.content(self.entry(path)?)
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blob.len() as u64
    }

    /// The layer itself.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The table of contents.
    #[must_use]
    pub fn ztoc(&self) -> &Ztoc {
        &self.ztoc
    }

    /// Its spans, first to last.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Paths, as they lie in the layer.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let entries = self.ztoc.entries.iter();
        entries.map(|entry| entry.name.to_string()).collect()
    }

    /// Whether a span begins with this file: with its headers, or its data.
    ///
    /// # Errors
    /// [`Error::NoFile`].
    pub fn begins_with(&self, path: &str) -> Result<bool, Error> {
        let entry = self.entry(path)?;
        // Behind the data of the entry before there are what pads it and this one's headers.
        let before = self.ztoc.entries.iter();
        let before = before.filter(|other| other.offset < entry.offset);
        let header = before
            .map(|other| other.offset + other.size)
            .max()
            .unwrap_or(0);
        let cuts = |span: &Span| (header..=entry.offset).contains(&span.uncompressed);
        Ok(self.spans.iter().any(cuts))
    }

    /// Where spans begin within a file, in bytes from its beginning.
    ///
    /// # Errors
    /// [`Error::NoFile`].
    pub fn cuts_within(&self, path: &str) -> Result<Vec<u64>, Error> {
        let entry = self.entry(path)?;
        let inside = entry.offset + 1..entry.offset + entry.size;
        let begins = self.spans.iter().map(|span| span.uncompressed);
        let cuts = begins.filter(|begin| inside.contains(begin));
        Ok(cuts.map(|begin| begin - entry.offset).collect())
    }

    fn spans_of(&self, path: &str) -> Result<RangeInclusive<usize>, Error> {
        let entry = self.entry(path)?;
        let last = entry.offset + entry.size.saturating_sub(1);
        Ok(self.ztoc.span_of(entry.offset)..=self.ztoc.span_of(last))
    }

    /// What a node fetches that reads these files, whole, and nothing else. The zTOC is not counted.
    ///
    /// # Errors
    /// [`Error::NoFile`].
    pub fn fetched<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Result<Fetched, Error> {
        let read = paths.into_iter().map(|path| self.spans_of(path));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        Ok(span_map::fetched(&self.spans, read))
    }

    /// Whether a policy wants a file to be fetched before anybody asks.
    ///
    /// # Errors
    /// [`Error::NoFile`].
    pub fn prefetches(&self, path: &str) -> Result<bool, Error> {
        let mut spans = self.spans_of(path)?;
        let fetched = |span: usize| self.prefetched.iter().any(|range| range.contains(&span));
        Ok(spans.all(fetched))
    }
}

/// A line a span: where it begins in the tar, its size there, and the file that it begins in.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for span in &self.spans {
            let file = span.begins_in.as_deref().unwrap_or("-");
            writeln!(
                f,
                "{:>12} {:>10}  {file}",
                span.uncompressed, span.uncompressed_size
            )?;
        }
        Ok(())
    }
}
