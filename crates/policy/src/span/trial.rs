//! Runs planners over made-up layers, as indexing and packing do.

use super::{Ask, Candidate, SpanPolicy};
use crate::{Entry, Kind, Layer};

pub(super) fn file(path: &str, size: u64) -> Entry<'static> {
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

fn placed(entries: &[Entry<'static>]) -> (Vec<Entry<'static>>, u64) {
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

/// Spans of a layer with a block end every `block` bytes.
pub(super) fn indexed(policy: &dyn SpanPolicy, entries: &[Entry<'static>], block: u64) -> Vec<u64> {
    let (entries, size) = placed(entries);
    let mut planner = policy.planner(&layer(false)).unwrap();
    let mut ask = planner.start().unwrap();
    let mut asked_at = 0;
    let mut spans = vec![0];
    let mut told = entries.iter().peekable();
    for at in (1..size / block).map(|block_number| block_number * block) {
        let due = asked_at + ask.after;
        if at < due && !ask.at_entries {
            continue;
        }
        let next = at + block;
        let known = planner
            .look_ahead()
            .map_or(at, |ahead| next.max(at + ahead));
        while let Some(entry) = told.next_if(|entry| entry.data <= known) {
            planner.entry(entry).unwrap();
        }
        let since_cut = at - spans.last().unwrap();
        let candidate = Candidate {
            compressed: 0,
            uncompressed: at,
            since_cut,
            next: next.min(known),
            known,
        };
        let decision = planner.decide(&candidate).unwrap();
        (ask, asked_at) = (decision.ask, at);
        if decision.cut {
            spans.push(at);
        }
    }
    spans
}

/// Spans of a layer that is packed.
pub(super) fn packed(policy: &dyn SpanPolicy, entries: &[Entry<'static>]) -> Vec<u64> {
    let (entries, size) = placed(entries);
    let mut planner = policy.planner(&layer(true)).unwrap();
    let mut ask = planner.start().unwrap();
    let (mut asked_at, mut spans) = (0, vec![0]);
    let mut decide = |planner: &mut dyn super::SpanPlanner, ask: &mut Ask, at: u64, next: u64| {
        let since_cut = at - spans.last().unwrap();
        let candidate = Candidate {
            compressed: 0,
            uncompressed: at,
            since_cut,
            next,
            known: next,
        };
        let decision = planner.decide(&candidate).unwrap();
        *ask = decision.ask;
        if decision.cut {
            spans.push(at);
        }
    };
    for (number, entry) in entries.iter().enumerate() {
        planner.entry(entry).unwrap();
        if entry.header > 0 && (ask.at_entries || asked_at + ask.after == entry.header) {
            decide(&mut *planner, &mut ask, entry.header, entry.header);
            asked_at = entry.header;
        }
        let end = entries.get(number + 1).map_or(size, |next| next.header);
        while asked_at + ask.after < end {
            asked_at += ask.after;
            decide(&mut *planner, &mut ask, asked_at, asked_at);
        }
    }
    spans
}
