//! From bytes to content, whatever the bytes are.

use crate::flatbuffer::view::{Malformed, Table};
use crate::format::{self, CHECKPOINT_SIZE, CHECKPOINTS_HEADER_SIZE, slot};
use crate::{
    CheckError, Checkpoint, Entry, EntryKind, GzipSpans, ParseSha256Error, Sha256, Spans, TarSpans,
    Time, Window, Ztoc,
};

/// Why bytes are not a zTOC that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a FlatBuffer of this form.
    #[error("not a zTOC: {0}")]
    Malformed(#[from] Malformed),
    /// A part that every zTOC has is missing.
    #[error("not a zTOC: its {0} is missing")]
    Missing(&'static str),
    /// The version is not `0.9`.
    #[error("version {0:?} of the zTOC format is not known; 0.9 is")]
    Version(bstr::BString),
    /// The compression algorithm is neither gzip nor uncompressed.
    #[error("compression algorithm {0} is not known; 1 (gzip) and 2 (uncompressed) are")]
    Algorithm(i8),
    /// A number that must not be negative is.
    #[error("{what} is negative: {value}")]
    Negative {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// An entry's type is not known.
    #[error("entry {index} ({name:?}) has the unknown type {kind:?}")]
    EntryKind {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: bstr::BString,
        /// The type as written.
        kind: bstr::BString,
    },
    /// An entry's time is not RFC 3339.
    #[error("entry {index} ({name:?}) has the malformed time {time:?}")]
    EntryTime {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: bstr::BString,
        /// The time as written.
        time: bstr::BString,
    },
    /// An entry's PAX records are not sorted, or name a key twice.
    #[error("entry {index} ({name:?}) has PAX records out of order at key {key:?}")]
    PaxOrder {
        /// Number of the entry, from 0.
        index: usize,
        /// Its name.
        name: bstr::BString,
        /// The key out of order.
        key: bstr::BString,
    },
    /// A span's digest is not one.
    #[error("digest of span {span}: {source}")]
    SpanDigest {
        /// Number of the span, from 0.
        span: usize,
        /// What is wrong with it.
        source: ParseSha256Error,
    },
    /// The checkpoints' size is not that of as many as they claim to be.
    #[error("{size} bytes of checkpoints cannot hold the {count} they claim")]
    CheckpointSize {
        /// Bytes there are.
        size: usize,
        /// Checkpoints claimed.
        count: i32,
    },
    /// The uncompressed layer's checkpoint record has another version than 2.
    #[error("version {0} of an uncompressed layer's span record is not known; 2 is")]
    TarZinfoVersion(i32),
    /// The number of the last span, the checkpoints and the digests do not agree.
    #[error(
        "the last span is number {max_span_id}, but there are {checkpoints} checkpoints and {digests} digests"
    )]
    SpanCount {
        /// Number of the last span as stated.
        max_span_id: i32,
        /// Checkpoints (for an uncompressed layer: spans its size makes).
        checkpoints: u64,
        /// Digests.
        digests: usize,
    },
    /// A size is stated twice, differently.
    #[error("the layer's size is {outer} bytes in one place and {inner} in another")]
    SizeMismatch {
        /// Size in the zTOC.
        outer: u64,
        /// Size in the uncompressed layer's span record.
        inner: u64,
    },
    /// Decoded, but breaks a rule that readers rely on.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl Ztoc {
    /// Reads a zTOC and [checks](Ztoc::check) it.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics, and needs memory in proportion to `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let ztoc = Self::decode_unchecked(bytes)?;
        ztoc.check()?;
        Ok(ztoc)
    }

    /// Reads a zTOC without [checking](Ztoc::check) its rules: for looking at a broken one.
    ///
    /// # Errors
    /// [`DecodeError`], all but [`DecodeError::Check`].
    pub fn decode_unchecked(bytes: &[u8]) -> Result<Self, DecodeError> {
        let root = Table::root(bytes)?;
        let version = root.bytes(slot::ZTOC_VERSION, "version")?;
        if version != format::VERSION.as_bytes() {
            return Err(DecodeError::Version(
                version[..version.len().min(100)].into(),
            ));
        }
        let compressed_size = unsigned(
            "compressed size",
            root.i64(slot::ZTOC_COMPRESSED_SIZE, "compressed size")?,
        )?;
        let toc = root.table(slot::ZTOC_TOC, "table of contents")?;
        let compression = root.table(slot::ZTOC_COMPRESSION, "compression info")?;
        let compression = compression.ok_or(DecodeError::Missing("compression info"))?;
        Ok(Self {
            build_tool_identifier: root.bytes(slot::ZTOC_TOOL, "build tool identifier")?.into(),
            compressed_size,
            uncompressed_size: unsigned(
                "uncompressed size",
                root.i64(slot::ZTOC_UNCOMPRESSED_SIZE, "uncompressed size")?,
            )?,
            entries: entries(&toc.ok_or(DecodeError::Missing("table of contents"))?)?,
            spans: spans(&compression, compressed_size)?,
        })
    }
}

fn unsigned(what: &'static str, value: i64) -> Result<u64, DecodeError> {
    u64::try_from(value).map_err(|_| DecodeError::Negative { what, value })
}

fn entries(toc: &Table<'_>) -> Result<Vec<Entry>, DecodeError> {
    let vector = toc.vector(slot::TOC_ENTRIES, "entries")?;
    (0..vector.len())
        .map(|index| entry(index, &vector.table(index, "entry")?))
        .collect()
}

fn entry(index: usize, table: &Table<'_>) -> Result<Entry, DecodeError> {
    let name: bstr::BString = table.bytes(slot::FILE_NAME, "name")?.into();
    let kind = table.bytes(slot::FILE_TYPE, "type")?;
    let kind = EntryKind::from_bytes(kind).ok_or_else(|| DecodeError::EntryKind {
        index,
        name: name.clone(),
        kind: kind[..kind.len().min(100)].into(),
    })?;
    let time = table.bytes(slot::FILE_MTIME, "modification time")?;
    let mtime = if time.is_empty() {
        None
    } else {
        Some(
            Time::parse_rfc3339(time).ok_or_else(|| DecodeError::EntryTime {
                index,
                name: name.clone(),
                time: time[..time.len().min(100)].into(),
            })?,
        )
    };
    let records = table.vector(slot::FILE_PAX, "PAX records")?;
    let mut pax_records: Vec<(bstr::BString, bstr::BString)> = Vec::new();
    for number in 0..records.len() {
        let record = records.table(number, "PAX record")?;
        let key: bstr::BString = record.bytes(slot::PAX_KEY, "PAX key")?.into();
        if pax_records.last().is_some_and(|(last, _)| *last >= key) {
            return Err(DecodeError::PaxOrder { index, name, key });
        }
        pax_records.push((key, record.bytes(slot::PAX_VALUE, "PAX value")?.into()));
    }
    Ok(Entry {
        kind,
        offset: unsigned(
            "offset of an entry",
            table.i64(slot::FILE_OFFSET, "offset")?,
        )?,
        size: unsigned("size of an entry", table.i64(slot::FILE_SIZE, "size")?)?,
        linkname: table.bytes(slot::FILE_LINKNAME, "link target")?.into(),
        mode: table.i64(slot::FILE_MODE, "mode")?,
        uid: table.u32(slot::FILE_UID, "uid")?,
        gid: table.u32(slot::FILE_GID, "gid")?,
        uname: table.bytes(slot::FILE_UNAME, "user name")?.into(),
        gname: table.bytes(slot::FILE_GNAME, "group name")?.into(),
        mtime,
        devmajor: table.i64(slot::FILE_DEVMAJOR, "device major")?,
        devminor: table.i64(slot::FILE_DEVMINOR, "device minor")?,
        pax_records,
        name,
    })
}

fn spans(table: &Table<'_>, compressed_size: u64) -> Result<Spans, DecodeError> {
    let vector = table.vector(slot::COMPRESSION_DIGESTS, "span digests")?;
    let digests = (0..vector.len())
        .map(|span| {
            let text = String::from_utf8_lossy(vector.bytes(span, "span digest")?);
            text.parse()
                .map_err(|source| DecodeError::SpanDigest { span, source })
        })
        .collect::<Result<Vec<Sha256>, DecodeError>>()?;
    let max_span_id = table.i32(slot::COMPRESSION_MAX_SPAN, "number of the last span")?;
    let bytes = table.bytes(slot::COMPRESSION_CHECKPOINTS, "checkpoints")?;
    let algorithm = table.i8(
        slot::COMPRESSION_ALGORITHM,
        format::ALGORITHM_GZIP,
        "compression algorithm",
    )?;
    let (count, spans) = match algorithm {
        format::ALGORITHM_GZIP => {
            let spans = gzip_spans(bytes, digests)?;
            (spans.checkpoints.len() as u64, Spans::Gzip(spans))
        }
        format::ALGORITHM_UNCOMPRESSED => {
            let (count, spans) = tar_spans(bytes, digests, compressed_size)?;
            (count, Spans::Uncompressed(spans))
        }
        other => return Err(DecodeError::Algorithm(other)),
    };
    let stated = i64::from(max_span_id) + 1;
    if u64::try_from(stated) != Ok(count) || spans.len() as u64 != count {
        let digests = spans.len();
        return Err(DecodeError::SpanCount {
            max_span_id,
            checkpoints: count,
            digests,
        });
    }
    Ok(spans)
}

fn gzip_spans(bytes: &[u8], digests: Vec<Sha256>) -> Result<GzipSpans, DecodeError> {
    let size = bytes.len();
    let Some((header, packed)) = bytes.split_at_checked(CHECKPOINTS_HEADER_SIZE) else {
        return Err(DecodeError::CheckpointSize { size, count: 0 });
    };
    let count = i32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let span_size = int64(&header[4..]);
    let (records, rest) = packed.as_chunks::<CHECKPOINT_SIZE>();
    let claimed = usize::try_from(count).unwrap_or(0);
    let first_is_implied = claimed > 0 && records.len() + 1 == claimed;
    if !rest.is_empty() || claimed == 0 || !(first_is_implied || records.len() == claimed) {
        return Err(DecodeError::CheckpointSize { size, count });
    }
    let mut checkpoints = Vec::with_capacity(claimed);
    if first_is_implied {
        checkpoints.push(Checkpoint {
            compressed: format::IMPLIED_FIRST_CHECKPOINT,
            uncompressed: 0,
            bits: 0,
            window: Window::ending_with(&[]),
        });
    }
    for record in records {
        checkpoints.push(Checkpoint {
            compressed: unsigned("offset of a checkpoint", int64(record))?,
            uncompressed: unsigned("offset of a checkpoint", int64(&record[8..]))?,
            bits: record[16],
            window: Window::ending_with(&record[17..]),
        });
    }
    Ok(GzipSpans {
        span_size,
        checkpoints,
        digests,
        first_is_implied,
    })
}

fn int64(bytes: &[u8]) -> i64 {
    bytes
        .first_chunk()
        .map_or(0, |eight| i64::from_le_bytes(*eight))
}

fn tar_spans(
    bytes: &[u8],
    digests: Vec<Sha256>,
    compressed_size: u64,
) -> Result<(u64, TarSpans), DecodeError> {
    let zinfo = Table::root(bytes)?;
    let version = zinfo.i32(slot::TAR_VERSION, "version")?;
    if version != format::TAR_ZINFO_VERSION {
        return Err(DecodeError::TarZinfoVersion(version));
    }
    let span_size = unsigned("span size", zinfo.i64(slot::TAR_SPAN_SIZE, "span size")?)?;
    let inner = unsigned(
        "size of the tar",
        zinfo.i64(slot::TAR_SIZE, "size of the tar")?,
    )?;
    if inner != compressed_size {
        return Err(DecodeError::SizeMismatch {
            outer: compressed_size,
            inner,
        });
    }
    if span_size == 0 {
        return Err(CheckError::SpanSize.into());
    }
    Ok((inner.div_ceil(span_size), TarSpans { span_size, digests }))
}
