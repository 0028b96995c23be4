//! Runs planners over made-up layers, as indexing and packing do: for tests, and to try a policy.

use super::{Ask, Candidate, Decision, SpanPlanner, SpanPolicy};
use crate::{Entry, Kind, Layer, PolicyError};

/// A file of so many bytes.
#[must_use]
pub fn file(path: &str, size: u64) -> Entry<'static> {
    Entry {
        path: path.to_owned().into(),
        kind: Kind::File,
        header: 0,
        data: 0,
        size,
        mode: 0o644,
        link: None,
    }
}

/// Entries where they lie in a tar, and the tar's size without its end marker.
#[must_use]
pub fn placed(entries: &[Entry<'static>]) -> (Vec<Entry<'static>>, u64) {
    let mut at = 0;
    let placed = entries.iter().map(|entry| {
        let mut entry = entry.clone();
        (entry.header, entry.data) = (at, at + 512);
        at = entry.end();
        entry
    });
    let placed = placed.collect();
    (placed, at)
}

fn layer(packing: bool) -> Layer {
    Layer {
        packing,
        ..Layer::packed("", 4 << 20)
    }
}

/// A planner being asked.
struct Trial {
    planner: Box<dyn SpanPlanner>,
    ask: Ask,
    asked_at: u64,
    spans: Vec<u64>,
}

impl Trial {
    fn new(policy: &dyn SpanPolicy, packing: bool) -> Result<Self, PolicyError> {
        let mut planner = policy.planner(&layer(packing))?;
        Ok(Self {
            ask: planner.start()?,
            planner,
            asked_at: 0,
            spans: vec![0],
        })
    }

    /// Where it wants to be asked in any case.
    fn due(&self) -> u64 {
        self.asked_at.saturating_add(self.ask.after.max(1))
    }

    fn decide(&mut self, at: u64, next: u64, known: u64) -> Result<(), PolicyError> {
        let since_cut = at - self.spans.last().copied().unwrap_or(0);
        let Decision { cut, ask } = self.planner.decide(&Candidate {
            compressed: 0,
            uncompressed: at,
            since_cut,
            next,
            known,
        })?;
        (self.ask, self.asked_at) = (ask, at);
        if cut {
            self.spans.push(at);
        }
        Ok(())
    }
}

/// Where the spans begin of a layer with a block end every `block` bytes.
///
/// # Errors
/// The policy's.
pub fn indexed(
    policy: &dyn SpanPolicy,
    entries: &[Entry<'static>],
    block: u64,
) -> Result<Vec<u64>, PolicyError> {
    let (entries, size) = placed(entries);
    let mut trial = Trial::new(policy, false)?;
    let mut told = entries.iter().peekable();
    for at in (1..size / block).map(|number| number * block) {
        if at < trial.due() && !trial.ask.at_entries {
            continue;
        }
        let ahead = trial.planner.look_ahead();
        let (next, known) = match ahead {
            None => (at, at),
            Some(ahead) => (at + block, at.saturating_add(ahead.max(block)).min(size)),
        };
        while let Some(entry) = told.next_if(|entry| entry.data <= known) {
            trial.planner.entry(entry)?;
        }
        trial.decide(at, next, known)?;
    }
    Ok(trial.spans)
}

/// Where the spans begin of a layer that is packed.
///
/// # Errors
/// The policy's.
pub fn packed(
    policy: &dyn SpanPolicy,
    entries: &[Entry<'static>],
) -> Result<Vec<u64>, PolicyError> {
    let (entries, size) = placed(entries);
    let mut trial = Trial::new(policy, true)?;
    for (number, entry) in entries.iter().enumerate() {
        trial.planner.entry(entry)?;
        let here = entry.header;
        if here > 0 && (trial.ask.at_entries || trial.due() == here) {
            trial.decide(here, here, here)?;
        }
        let end = entries.get(number + 1).map_or(size, |next| next.header);
        while trial.due() < end {
            let here = trial.due();
            trial.decide(here, here, here)?;
        }
    }
    Ok(trial.spans)
}
