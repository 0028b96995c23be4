//! What is in a file of the cache:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SOCICAC` and the version of this table, 1 |
//! | 4 | length of the header, little endian, as all numbers here |
//! | 8 | length of the zTOC |
//! | 32 | SHA-256 of the zTOC |
//! | 32 | SHA-256 of all that is before, and of the header |
//! | … | the header, JSON: the key, and what the caller wants to know without decoding ([`Header`]) |
//! | … | the zTOC |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Serialize};
use sociable_oci::{Algorithm, Digest, Hasher};

use super::{CHUNK, CacheError, Cached, Key};

/// Longest header in bytes, key included.
pub const MAX_HEADER: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"SOCICAC\x01";
/// Bytes before the header.
const FIXED: usize = 8 + 4 + 8 + 32 + 32;
/// Of these, those that the checksum covers.
const CHECKED: usize = FIXED - 32;

/// What is known of a cached zTOC without decoding it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// Size of the layer as stored, in bytes.
    pub layer_size: u64,
    /// Digest of the uncompressed layer, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// Whatever else the caller wants to find again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub note: BTreeMap<String, String>,
}

/// The header as written.
#[derive(Serialize, Deserialize)]
struct Stored {
    layer: Digest,
    options: String,
    #[serde(flatten)]
    header: Header,
}

/// What comes before the zTOC.
pub(super) struct Front {
    header: Vec<u8>,
    header_length: u32,
}

impl Front {
    pub(super) fn new(key: &Key, header: &Header) -> Result<Self, CacheError> {
        let stored = Stored {
            layer: *key.layer(),
            options: key.options().to_owned(),
            header: header.clone(),
        };
        let header = serde_json::to_vec(&stored).map_err(|e| CacheError::Content(e.into()))?;
        let length = header.len();
        let header_length = u32::try_from(length)
            .ok()
            .filter(|_| length <= MAX_HEADER)
            .ok_or(CacheError::HeaderTooLong { length })?;
        Ok(Self {
            header,
            header_length,
        })
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> u64 {
        (FIXED + self.header.len()) as u64
    }

    /// Its bytes, before a zTOC of that size and digest.
    pub(super) fn bytes(&self, size: u64, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.header.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.header_length.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(digest.as_bytes());
        let sum = checksum(&bytes, &self.header);
        bytes.extend_from_slice(sum.as_bytes());
        bytes.extend_from_slice(&self.header);
        bytes
    }
}

/// Reads all of a file; a hit if every byte is right, and the zTOC that of `key`.
pub(super) fn check(mut file: File, key: &Key) -> Option<Cached> {
    let mut fixed = [0; FIXED];
    file.read_exact(&mut fixed).ok()?;
    let mut rest = &fixed[..];
    if *take(&mut rest)? != MAGIC {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(*take(&mut rest)?)).ok()?;
    let size = u64::from_le_bytes(*take(&mut rest)?);
    let digest = Digest::from_sha256(*take(&mut rest)?);
    let sum = Digest::from_sha256(*take(&mut rest)?);
    if length > MAX_HEADER {
        return None;
    }
    let start = (FIXED + length) as u64;
    if start.checked_add(size) != Some(file.metadata().ok()?.len()) {
        return None;
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header).ok()?;
    if checksum(&fixed[..CHECKED], &header) != sum {
        return None;
    }
    let stored: Stored = serde_json::from_slice(&header).ok()?;
    if stored.layer != *key.layer() || stored.options != key.options() {
        return None;
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut chunk = vec![0; CHUNK];
    let mut remaining = size;
    while remaining > 0 {
        let part = usize::try_from(remaining).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact(&mut chunk[..part]).ok()?;
        hasher.update(&chunk[..part]);
        remaining -= part as u64;
    }
    (hasher.finish() == digest).then_some(Cached {
        header: stored.header,
        digest,
        size,
        start,
        file,
    })
}

/// Reads a number or digest off the front.
fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

/// The digest of the fixed part, as far as it goes, and of the header.
fn checksum(fixed: &[u8], header: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(fixed);
    hasher.update(header);
    hasher.finish()
}
