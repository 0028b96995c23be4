//! What a component may use.

use wasmtime::ResourceLimiter;

/// What a component may use. Every limit is one of one instance, and so of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of one call, in millions, roughly: the same on every machine, so that a policy that answers on one
    /// answers on all. A thousand of them take about a second.
    pub fuel: u64,
    /// Memory, in bytes, all of an instance's memories together.
    pub memory: usize,
    /// Bytes of the values that one call returns or logs, as they lie in memory.
    pub output: usize,
    /// Lines that an instance may log; what is more is dropped, and so said.
    pub log_lines: usize,
}

impl Limits {
    /// What a component may use unless somebody says otherwise. Components from JavaScript and Python need 128 MiB for
    /// themselves.
    pub const DEFAULT: Self = Self {
        fuel: 20_000,
        memory: 256 << 20,
        output: 64 << 20,
        log_lines: 100,
    };
    /// Longest line that is logged, in bytes. The rest is cut off.
    pub const LOG_LINE: usize = 1000;
    /// Elements of tables, all of an instance's together.
    pub(crate) const TABLE_ELEMENTS: usize = 1_000_000;
    /// Core instances, memories and tables of an instance, of each so many.
    pub(crate) const INSTANCES: usize = 256;
    /// Native stack for the calls of a component, in bytes.
    pub(crate) const STACK: usize = 1 << 20;

    /// In wasmtime's own unit, instructions.
    pub(crate) fn instructions(&self) -> u64 {
        self.fuel.saturating_mul(1_000_000)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Refuses memory beyond the limit, and remembers that it did: all that a component shows of it is a trap.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: usize,
    used: usize,
    tables: usize,
    pub(crate) refused: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            used: 0,
            tables: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        let granted = used <= self.memory;
        if granted {
            self.used = used;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    // What each takes on the host is not in these numbers.
    fn instances(&self) -> usize {
        Limits::INSTANCES
    }

    fn memories(&self) -> usize {
        Limits::INSTANCES
    }

    fn tables(&self) -> usize {
        Limits::INSTANCES
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.tables.saturating_add(desired.saturating_sub(current));
        let granted = used <= Limits::TABLE_ELEMENTS;
        if granted {
            self.tables = used;
        }
        Ok(granted)
    }
}
