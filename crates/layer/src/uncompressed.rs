//! Indexing of plain tar layers: spans of equal size.

use std::io::Read;

use sociable_ztoc::{Spans, TarSpans, Ztoc};

use crate::IndexError;
use crate::digests::{Cut, Hasher};
use crate::index::{IndexOptions, Indexed, read_ahead};
use crate::pool::Pool;
use crate::table::Table;

pub(crate) fn index(
    blob: impl Read + Send,
    options: &IndexOptions<'_>,
) -> Result<Indexed, IndexError> {
    let span_size = options.span_size;
    if span_size == 0 {
        return Err(IndexError::SpanSize);
    }
    let mut table = Table::new(options.limits, options.allow_unreadable, false);
    let digests = std::thread::scope(|scope| {
        let pool = Pool::default();
        let chunks = read_ahead(scope, blob, pool.clone())?;
        let hasher = Hasher::start(scope, pool).map_err(IndexError::Thread)?;
        let mut offset = 0u64;
        let mut spans = 0u64;
        for chunk in &chunks {
            let chunk = chunk?;
            table.feed(&chunk, offset)?;
            let end = offset + chunk.len() as u64;
            let mut cuts = Vec::new();
            while let Some(start) = spans.checked_mul(span_size).filter(|&start| start < end) {
                let limit = options.limits.plain_spans;
                if spans >= limit {
                    return Err(IndexError::Limit {
                        what: "spans",
                        limit,
                        offset,
                    });
                }
                let at = usize::try_from(start - offset).unwrap_or(0);
                cuts.push(Cut {
                    at,
                    shares_byte: false,
                });
                spans += 1;
            }
            offset = end;
            hasher.chunk(chunk, cuts);
        }
        Ok::<_, IndexError>(hasher.finish())
    })?;
    let (entries, uncompressed_size) = table.finish()?;
    Ok(Indexed {
        ztoc: Ztoc {
            build_tool_identifier: options.build_tool_identifier.clone(),
            compressed_size: digests.size,
            uncompressed_size,
            entries,
            spans: Spans::Uncompressed(TarSpans {
                span_size,
                digests: digests.spans,
            }),
        },
        digest: digests.blob,
        size: digests.size,
        diff_id: options.diff_id.then_some(digests.blob),
    })
}
