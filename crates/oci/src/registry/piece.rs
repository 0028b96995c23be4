//! Buffers that go to a connection and come back: made and freed anew for every piece they would scatter the heap.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a buffer.
pub(super) const PIECE: usize = 128 << 10;

/// Buffers that are not in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pieces {
    /// A copy of at most [`PIECE`] bytes; its buffer comes back when the last clone is dropped.
    pub(super) fn copy(&self, bytes: &[u8]) -> Bytes {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = free.unwrap_or_else(|| Vec::with_capacity(PIECE));
        buffer.clear();
        buffer.extend_from_slice(bytes);
        Bytes::from_owner(Lent {
            buffer,
            home: self.clone(),
        })
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Pieces,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let pieces = Pieces::default();
        let a = pieces.copy(b"hello");
        let again = a.clone();
        drop(a);
        assert_eq!(again, b"hello"[..]);
        assert_eq!(pieces.0.lock().unwrap().len(), 0);
        drop(again);
        assert_eq!(pieces.0.lock().unwrap().len(), 1);
        assert_eq!(pieces.copy(b"x"), b"x"[..]);
    }
}
