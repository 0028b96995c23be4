//! What a layer may make us do.

/// Bounds on memory and time, whatever a layer contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most tar entries. Each needs some 300 bytes of memory while its layer is indexed.
    pub entries: usize,
    /// Most uncompressed bytes for each compressed byte, once a layer yields more than
    /// [`Limits::free_bytes`]. DEFLATE reaches 1,032 at most.
    pub ratio: u64,
    /// Uncompressed bytes for which the ratio is not looked at.
    pub free_bytes: u64,
    /// Most spans of a gzip layer. The format's end is at 65,500 spans (2 GiB).
    pub spans: usize,
    /// Most spans of a plain tar, which need 80 bytes each.
    pub plain_spans: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_500_000,
            ratio: 500,
            free_bytes: 1 << 30,
            spans: 65_000,
            plain_spans: 4_000_000,
        }
    }
}
