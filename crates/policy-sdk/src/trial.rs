//! Runs policies of spans over made-up layers, as Sociable does: for native tests.
//!
//! ```
//! # use sociable_policy_sdk::*;
//! # struct Quarter;
//! # impl Plugin for Quarter {
//! #     const DESCRIPTION: Description = Description { name: "quarter", version: "1.0.0", summary: "", parameters: "" };
//! #     fn configure(_: Parameters<'_>) -> Result<Self> { Ok(Self) }
//! # }
//! # impl Planner for Quarter {
//! #     fn decide(&mut self, _: &[Entry], _: &Candidate) -> Result<Decision> { Ok(Decision { cut: true, ask: ASK }) }
//! # }
//! # const ASK: Ask = Ask { after: 1 << 20, at_entries: false };
//! # impl Span for Quarter {
//! #     type Planner = Self;
//! #     fn start(&self, _: &Layer) -> Result<(Self, Opening)> { Ok((Self, Opening { ask: ASK, look_ahead: None })) }
//! # }
//! let policy = Quarter::configure(Parameters::new("{}"))?;
//! let spans = trial::packed(&policy, &[trial::file("usr/bin/app", 4 << 20)])?;
//! assert_eq!(spans, [0, 1 << 20, 2 << 20, 3 << 20, 4 << 20]);
//! # Ok::<(), Error>(())
//! ```

use crate::{Ask, Candidate, Entry, Kind, Layer, Planner, Result, Span};

/// A layer with spans of 4 MiB asked for.
#[must_use]
pub fn layer(packing: bool) -> Layer {
    let known = !packing;
    Layer {
        digest: known.then(|| format!("sha256:{}", "0".repeat(64))),
        size: known.then_some(16 << 20),
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        span_size: 4 << 20,
        min_layer_size: 10 << 20,
        packing,
    }
}

/// A file of so many bytes.
#[must_use]
pub fn file(path: &str, size: u64) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: Kind::File,
        header: 0,
        data: 0,
        size,
        mode: 0o644,
        link: None,
    }
}

/// A directory.
#[must_use]
pub fn directory(path: &str) -> Entry {
    Entry {
        kind: Kind::Directory,
        mode: 0o755,
        ..file(path, 0)
    }
}

/// Another name of `target`.
#[must_use]
pub fn hard_link(path: &str, target: &str) -> Entry {
    Entry {
        kind: Kind::HardLink,
        link: Some(target.to_owned()),
        ..file(path, 0)
    }
}

/// The entries one behind the other in a tar, with a header of 512 bytes each.
#[must_use]
pub fn placed(entries: &[Entry]) -> Vec<Entry> {
    let mut at = 0;
    let place = |entry: &Entry| {
        let placed = Entry {
            header: at,
            data: at + 512,
            ..entry.clone()
        };
        at = placed.end();
        placed
    };
    entries.iter().map(place).collect()
}

/// Where spans begin, in uncompressed bytes, when a layer of these entries is packed.
///
/// # Errors
/// The policy's.
pub fn packed<P: Span>(policy: &P, entries: &[Entry]) -> Result<Vec<u64>> {
    let entries = placed(entries);
    let mut run = Run::new(policy, true)?;
    for entry in &entries {
        run.told.push(entry.clone());
        if entry.header > 0 && (run.ask.at_entries || run.asked_at + run.ask.after == entry.header)
        {
            run.decide(entry.header, entry.header, entry.header)?;
        }
        while run.asked_at + run.ask.after < entry.end() {
            let at = run.asked_at + run.ask.after;
            run.decide(at, at, at)?;
        }
    }
    Ok(run.spans)
}

/// Where spans begin, in uncompressed bytes, when a layer of these entries is indexed in which a deflate block ends every `block`
/// uncompressed bytes.
///
/// # Errors
/// The policy's.
pub fn indexed<P: Span>(policy: &P, entries: &[Entry], block: u64) -> Result<Vec<u64>> {
    let entries = placed(entries);
    let size = entries.last().map_or(0, Entry::end);
    let mut run = Run::new(policy, false)?;
    let mut coming = entries.into_iter().peekable();
    for at in (1..size / block).map(|number| number * block) {
        if at < run.asked_at.saturating_add(run.ask.after) && !run.ask.at_entries {
            continue;
        }
        let next = at + block;
        let (next, known) = match run.look_ahead {
            Some(ahead) => (next, next.max(at + ahead.min(1 << 20))),
            None => (at, at),
        };
        while let Some(entry) = coming.next_if(|entry| entry.data <= known) {
            run.told.push(entry);
        }
        run.decide(at, next, known)?;
    }
    Ok(run.spans)
}

/// A planner at work.
struct Run<P> {
    planner: P,
    ask: Ask,
    look_ahead: Option<u64>,
    asked_at: u64,
    told: Vec<Entry>,
    spans: Vec<u64>,
}

impl<P: Planner> Run<P> {
    fn new<S: Span<Planner = P>>(policy: &S, packing: bool) -> Result<Self> {
        let (planner, opening) = policy.start(&layer(packing))?;
        Ok(Self {
            planner,
            ask: opening.ask,
            look_ahead: opening.look_ahead,
            asked_at: 0,
            told: Vec::new(),
            spans: vec![0],
        })
    }

    fn decide(&mut self, at: u64, next: u64, known: u64) -> Result<()> {
        let candidate = Candidate {
            compressed: 0,
            uncompressed: at,
            since_cut: at - self.spans.last().unwrap_or(&0),
            next,
            known,
        };
        let entries = std::mem::take(&mut self.told);
        let decision = self.planner.decide(&entries, &candidate)?;
        if decision.ask.after == 0 {
            return Err(crate::Error::new(
                "a decision asks to be asked again after 0 bytes",
            ));
        }
        (self.ask, self.asked_at) = (decision.ask, at);
        if decision.cut {
            self.spans.push(at);
        }
        Ok(())
    }
}
