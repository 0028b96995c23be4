//! Buffers that are used again.
//!
//! Buffers wander from thread to thread. Allocators keep for each thread what it has freed, so
//! that giving buffers back to them would take several times the memory.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that nobody uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// An empty buffer with room for so many bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = self.with(Vec::pop).unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(capacity);
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        self.with(|buffers| buffers.push(buffer));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
