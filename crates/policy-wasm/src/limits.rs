//! What a component may use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sociable_policy::size;
use wasmtime::ResourceLimiter;

/// What a component may use. Every limit is one of one instance, and so of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of one call, in millions, roughly: the same on every machine, so that a policy that answers on one
    /// answers on all. A thousand of them take about a second. All calls together may use [`Self::CALLS`] times as many.
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
    /// How many calls that use all their instructions an instance may make.
    pub const CALLS: u64 = 10;
    /// Instructions that a call counts for beside its own: what the host does for it takes time, too, and a policy that wants to
    /// be asked at every byte would keep it busy for hours.
    pub const CALL: u64 = 10_000;
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

const MIB: u64 = 1 << 20;

/// Which limits are others than the usual, as people write it: `fuel=MILLIONS,memory=SIZE,output=SIZE`, with any of the three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// [`Limits::fuel`], in millions of instructions.
    pub fuel: Option<u64>,
    /// [`Limits::memory`], in bytes.
    pub memory: Option<u64>,
    /// [`Limits::output`], in bytes.
    pub output: Option<u64>,
}

impl Bounds {
    /// The usual limits.
    pub const USUAL: Self = Self {
        fuel: Some(Limits::DEFAULT.fuel),
        memory: Some(Limits::DEFAULT.memory as u64),
        output: Some(Limits::DEFAULT.output as u64),
    };

    /// The limits, with the usual ones where nothing else is said.
    #[must_use]
    pub fn limits(self) -> Limits {
        let usual = Limits::DEFAULT;
        let bytes = |bound: Option<u64>, usual| {
            bound.map_or(usual, |size| usize::try_from(size).unwrap_or(usize::MAX))
        };
        Limits {
            fuel: self.fuel.unwrap_or(usual.fuel),
            memory: bytes(self.memory, usual.memory),
            output: bytes(self.output, usual.output),
            ..usual
        }
    }

    /// These, and those of others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            fuel: self.fuel.or(others.fuel),
            memory: self.memory.or(others.memory),
            output: self.output.or(others.output),
        }
    }

    /// Whether none is above the usual.
    #[must_use]
    pub fn only_lower(self) -> bool {
        let (these, usual) = (self.limits(), Limits::DEFAULT);
        these.fuel <= usual.fuel && these.memory <= usual.memory && these.output <= usual.output
    }
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bounds = Self::default();
        for pair in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let wrong = || {
                format!(
                    "{pair:?} is none of fuel=MILLIONS, memory=SIZE, output=SIZE with more than 0"
                )
            };
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let (bound, value) = match name {
                "fuel" => (&mut bounds.fuel, value.parse().ok()),
                "memory" => (&mut bounds.memory, size::parse(value).ok()),
                "output" => (&mut bounds.output, size::parse(value).ok()),
                _ => return Err(wrong()),
            };
            *bound = value.filter(|value| *value > 0);
            bound.ok_or_else(wrong)?;
        }
        Ok(bounds)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: u64| match bytes % MIB {
            0 => format!("{}MiB", bytes / MIB),
            _ => bytes.to_string(),
        };
        let said = [
            self.fuel.map(|fuel| format!("fuel={fuel}")),
            self.memory.map(|bytes| format!("memory={}", size(bytes))),
            self.output.map(|bytes| format!("output={}", size(bytes))),
        ];
        let said: Vec<_> = said.into_iter().flatten().collect();
        f.write_str(&said.join(","))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_as_people_write_them() {
        let bounds: Bounds = "fuel=500, memory=65536KiB".parse().expect("bounds");
        let expected = Bounds {
            fuel: Some(500),
            memory: Some(64 << 20),
            output: None,
        };
        assert_eq!(bounds, expected);
        assert_eq!(bounds.to_string(), "fuel=500,memory=64MiB");
        assert_eq!(bounds.to_string().parse(), Ok(bounds));
        let limits = bounds.limits();
        assert_eq!((limits.fuel, limits.memory), (500, 64 << 20));
        assert_eq!(limits.output, Limits::DEFAULT.output);
        assert!(bounds.only_lower());
        let more: Bounds = "fuel=7,output=1GiB".parse().expect("bounds");
        assert!(!more.only_lower());
        assert_eq!(bounds.or(more).fuel, Some(500));
        assert_eq!(bounds.or(more).output, Some(1 << 30));
        assert_eq!("".parse(), Ok(Bounds::default()));
        for wrong in ["fuel", "fuel=0", "memory=0", "time=3", "output=much"] {
            assert!(wrong.parse::<Bounds>().is_err(), "{wrong}");
        }
    }
}
