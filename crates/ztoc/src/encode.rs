//! From content to the reference's bytes.
//!
//! Checkpoints, by far the largest part, are not copied: [`Encoded`] writes them from the
//! [`Ztoc`] itself, so that encoding needs memory for the table of contents only.

use std::collections::HashMap;
use std::io::{self, Write};

use sha2::Digest as _;

use crate::flatbuffer::build::{Builder, Finished, Position, TooLarge};
use crate::format::{self, slot};
use crate::{Entry, GzipSpans, Sha256, Spans, Ztoc};

/// Why content cannot be written as a zTOC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than [`format::MAX_SIZE`] bytes.
    #[error(
        "the zTOC would be larger than 2 GiB, which the format cannot hold; \
         use larger spans or split the layer"
    )]
    TooLarge,
    /// A number does not fit its field.
    #[error("{what} {value} does not fit the format")]
    Range {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

impl From<TooLarge> for EncodeError {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// A zTOC's bytes, ready to be written.
#[derive(Debug)]
pub struct Encoded<'a> {
    parts: Finished,
    checkpoints: Option<&'a GzipSpans>,
}

impl Encoded<'_> {
    /// Number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let checkpoints = self.checkpoints.map_or(0, checkpoints_size);
        self.parts.head.len() as u64 + checkpoints + self.parts.tail.len() as u64
    }

    /// Writes the bytes.
    ///
    /// # Errors
    /// What `out` reports.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.parts.head)?;
        if let Some(spans) = self.checkpoints {
            write_checkpoints(spans, out)?;
        }
        out.write_all(&self.parts.tail)
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        let mut hasher = sha2::Sha256::new();
        let written = self.write_to(&mut hasher);
        debug_assert!(written.is_ok(), "a hasher takes everything");
        Sha256(hasher.finalize().into())
    }

    /// The bytes in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        let written = self.write_to(&mut bytes);
        debug_assert!(written.is_ok(), "memory takes everything");
        bytes
    }
}

impl Ztoc {
    /// The bytes that the SOCI tools write for this content.
    ///
    /// # Errors
    /// [`EncodeError`], when the format cannot hold the content.
    pub fn encode(&self) -> Result<Encoded<'_>, EncodeError> {
        self.encode_with(Texts::apart())
    }

    /// The same content in fewer bytes: equal texts (types, owners, times) are written once, and empty ones left out, as
    /// FlatBuffers allow. Every reader reads the same; the bytes are not those of the SOCI tools. Of a table of contents
    /// it saves some 40 %, of checkpoints nothing.
    ///
    /// # Errors
    /// [`EncodeError`], when the format cannot hold the content.
    pub fn encode_compact(&self) -> Result<Encoded<'_>, EncodeError> {
        self.encode_with(Texts::shared())
    }

    fn encode_with(&self, mut texts: Texts) -> Result<Encoded<'_>, EncodeError> {
        let mut builder = Builder::new();
        let version = builder.string(format::VERSION.as_bytes())?;
        let tool = builder.string(&self.build_tool_identifier)?;
        let toc = add_entries(&mut builder, &mut texts, &self.entries)?;
        let (checkpoints, external, algorithm) = match &self.spans {
            Spans::Gzip(spans) => {
                let vector = builder.external_vector(checkpoints_size(spans))?;
                (vector, Some(spans), format::ALGORITHM_GZIP)
            }
            Spans::Uncompressed(spans) => {
                let zinfo = tar_zinfo(spans.span_size, self.compressed_size)?;
                (builder.bytes(&zinfo)?, None, format::ALGORITHM_UNCOMPRESSED)
            }
        };
        let digests = self.spans.digests();
        let positions = digests
            .iter()
            .map(|digest| builder.string(digest.to_string().as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let digest_vector = builder.vector(&positions)?;
        let max_span = i64::try_from(digests.len()).unwrap_or(i64::MAX) - 1;
        let max_span = i32::try_from(max_span).map_err(|_| EncodeError::TooLarge)?;

        builder.start_table(4);
        builder.add_i32(slot::COMPRESSION_MAX_SPAN, max_span);
        builder.add_reference(slot::COMPRESSION_DIGESTS, digest_vector);
        builder.add_reference(slot::COMPRESSION_CHECKPOINTS, checkpoints);
        builder.add_i8(
            slot::COMPRESSION_ALGORITHM,
            algorithm,
            format::ALGORITHM_GZIP,
        );
        let compression = builder.end_table()?;

        builder.start_table(6);
        builder.add_reference(slot::ZTOC_VERSION, version);
        builder.add_reference(slot::ZTOC_TOOL, tool);
        builder.add_reference(slot::ZTOC_TOC, toc);
        builder.add_i64(
            slot::ZTOC_COMPRESSED_SIZE,
            signed("compressed size", self.compressed_size)?,
        );
        builder.add_i64(
            slot::ZTOC_UNCOMPRESSED_SIZE,
            signed("uncompressed size", self.uncompressed_size)?,
        );
        builder.add_reference(slot::ZTOC_COMPRESSION, compression);
        let root = builder.end_table()?;
        Ok(Encoded {
            parts: builder.finish(root)?,
            checkpoints: external,
        })
    }
}

fn signed(what: &'static str, value: u64) -> Result<i64, EncodeError> {
    i64::try_from(value).map_err(|_| EncodeError::Range { what, value })
}

/// The texts of entries.
struct Texts {
    /// Where each is, if they are shared.
    known: Option<HashMap<Vec<u8>, Position>>,
}

impl Texts {
    /// Each by itself.
    fn apart() -> Self {
        Self { known: None }
    }

    /// Equal ones once.
    fn shared() -> Self {
        Self {
            known: Some(HashMap::new()),
        }
    }

    /// The place of a text; `None`: it is empty, and need not be there.
    fn add(&mut self, builder: &mut Builder, text: &[u8]) -> Result<Option<Position>, TooLarge> {
        let Some(known) = &mut self.known else {
            return builder.string(text).map(Some);
        };
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(position) = known.get(text) {
            return Ok(Some(*position));
        }
        let position = builder.string(text)?;
        known.insert(text.to_vec(), position);
        Ok(Some(position))
    }

    /// Whether what is empty is left out.
    fn omits_empty(&self) -> bool {
        self.known.is_some()
    }
}

fn add_entries(
    builder: &mut Builder,
    texts: &mut Texts,
    entries: &[Entry],
) -> Result<Position, EncodeError> {
    let mut positions = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        positions.push(add_entry(builder, texts, entry)?);
    }
    positions.reverse();
    let vector = builder.vector(&positions)?;
    builder.start_table(1);
    builder.add_reference(slot::TOC_ENTRIES, vector);
    Ok(builder.end_table()?)
}

fn add_entry(
    builder: &mut Builder,
    texts: &mut Texts,
    entry: &Entry,
) -> Result<Position, EncodeError> {
    // Names are rarely equal, and many.
    let name = builder.string(&entry.name)?;
    let kind = texts.add(builder, entry.kind.as_str().as_bytes())?;
    let linkname = texts.add(builder, &entry.linkname)?;
    let uname = texts.add(builder, &entry.uname)?;
    let gname = texts.add(builder, &entry.gname)?;
    let mtime = entry
        .mtime
        .and_then(crate::Time::to_rfc3339)
        .unwrap_or_default();
    let mtime = texts.add(builder, mtime.as_bytes())?;
    let mut records = Vec::with_capacity(entry.pax_records.len());
    for (key, value) in &entry.pax_records {
        let key = texts.add(builder, key)?;
        let value = texts.add(builder, value)?;
        builder.start_table(2);
        add_some(builder, slot::PAX_KEY, key);
        add_some(builder, slot::PAX_VALUE, value);
        records.push(builder.end_table()?);
    }
    let records = if records.is_empty() && texts.omits_empty() {
        None
    } else {
        Some(builder.vector(&records)?)
    };

    builder.start_table(14);
    builder.add_reference(slot::FILE_NAME, name);
    add_some(builder, slot::FILE_TYPE, kind);
    builder.add_i64(slot::FILE_OFFSET, signed("offset", entry.offset)?);
    builder.add_i64(slot::FILE_SIZE, signed("size", entry.size)?);
    add_some(builder, slot::FILE_LINKNAME, linkname);
    builder.add_i64(slot::FILE_MODE, entry.mode);
    builder.add_u32(slot::FILE_UID, entry.uid);
    builder.add_u32(slot::FILE_GID, entry.gid);
    add_some(builder, slot::FILE_UNAME, uname);
    add_some(builder, slot::FILE_GNAME, gname);
    add_some(builder, slot::FILE_MTIME, mtime);
    builder.add_i64(slot::FILE_DEVMAJOR, entry.devmajor);
    builder.add_i64(slot::FILE_DEVMINOR, entry.devminor);
    add_some(builder, slot::FILE_PAX, records);
    Ok(builder.end_table()?)
}

fn add_some(builder: &mut Builder, slot: usize, position: Option<Position>) {
    if let Some(position) = position {
        builder.add_reference(slot, position);
    }
}

fn tar_zinfo(span_size: u64, size: u64) -> Result<Vec<u8>, EncodeError> {
    let mut builder = Builder::new();
    builder.start_table(3);
    builder.add_i32(slot::TAR_VERSION, format::TAR_ZINFO_VERSION);
    builder.add_i64(slot::TAR_SPAN_SIZE, signed("span size", span_size)?);
    builder.add_i64(slot::TAR_SIZE, signed("size", size)?);
    let root = builder.end_table()?;
    Ok(builder.finish(root)?.head)
}

fn written(spans: &GzipSpans) -> &[crate::Checkpoint] {
    let skipped = usize::from(spans.first_is_implied).min(spans.checkpoints.len());
    &spans.checkpoints[skipped..]
}

fn checkpoints_size(spans: &GzipSpans) -> u64 {
    (format::CHECKPOINTS_HEADER_SIZE + written(spans).len() * format::CHECKPOINT_SIZE) as u64
}

fn write_checkpoints(spans: &GzipSpans, out: &mut dyn Write) -> io::Result<()> {
    let count = u32::try_from(spans.checkpoints.len()).unwrap_or(u32::MAX);
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&spans.span_size.to_le_bytes())?;
    for checkpoint in written(spans) {
        out.write_all(&checkpoint.compressed.to_le_bytes())?;
        out.write_all(&checkpoint.uncompressed.to_le_bytes())?;
        out.write_all(&[checkpoint.bits])?;
        out.write_all(checkpoint.window.bytes())?;
    }
    Ok(())
}
