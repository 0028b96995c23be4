//! A component's answers as those of the traits.

use std::sync::Arc;

use sociable_policy::compression::{Choice, CompressionPolicy, Format, Levels, Sample};
use sociable_policy::order::OrderPolicy;
use sociable_policy::prefetch::{PrefetchPolicy, Target};
use sociable_policy::selection::{SelectionPolicy, Verdict};
use sociable_policy::{
    Ask, Candidate, Decision, Entry, Layer, PolicyError, SpanPlanner, SpanPolicy,
};

use crate::bindings::{compression, order, prefetch, selection, span, types};
use crate::instance::{Instance, printable};
use crate::{Loaded, facts};

/// A policy with the indices of the functions of one interface.
macro_rules! adapter {
    ($name:ident, $interface:ident, $what:literal) => {
        #[doc = $what]
        pub(crate) struct $name {
            loaded: Arc<Loaded>,
            indices: Arc<$interface::GuestIndices>,
        }

        impl $name {
            pub(crate) fn new(loaded: Arc<Loaded>, indices: $interface::GuestIndices) -> Self {
                Self {
                    loaded,
                    indices: Arc::new(indices),
                }
            }

            /// An instance for one layer, and the functions in it.
            fn begin(&self) -> Result<(Instance, $interface::Guest), PolicyError> {
                let mut instance = self.loaded.instance()?;
                let guest = instance.ask("start", |store, instance| {
                    self.indices.load(store, instance)
                })?;
                Ok((instance, guest))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.loaded.fmt(f)
            }
        }
    };
}

adapter!(Spans, span, "Decides where spans begin.");
adapter!(Order, order, "Orders entries.");
adapter!(
    Compression,
    compression,
    "Decides how layers are compressed."
);
adapter!(Selection, selection, "Selects layers.");
adapter!(Prefetch, prefetch, "Chooses what is fetched first.");

impl SpanPolicy for Spans {
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        let (mut instance, guest) = self.begin()?;
        let layer = facts::layer(layer);
        let opening = instance.ask("span.start", |store, _| guest.call_start(store, &layer))?;
        let opening = opening.map_err(|why| instance.refused("span.start", why))?;
        Ok(Box::new(Planner {
            instance,
            guest,
            first: ask(opening.ask),
            look_ahead: opening.look_ahead,
            entries: Vec::new(),
        }))
    }

    fn identity(&self) -> String {
        self.loaded.identity.clone()
    }
}

struct Planner {
    instance: Instance,
    guest: span::Guest,
    first: Ask,
    look_ahead: Option<u64>,
    /// What came up since the last question.
    entries: Vec<types::Entry>,
}

fn ask(ask: span::Ask) -> Ask {
    Ask {
        after: ask.after,
        at_entries: ask.at_entries,
    }
}

impl SpanPlanner for Planner {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        Ok(self.first)
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        let entries = std::mem::take(&mut self.entries);
        let at = span::Candidate {
            compressed: at.compressed,
            uncompressed: at.uncompressed,
            since_cut: at.since_cut,
            next: at.next,
            known: at.known,
        };
        let guest = &self.guest;
        let answer = self.instance.ask("span.decide", |store, _| {
            guest.call_decide(store, &entries, at)
        })?;
        let answer = answer.map_err(|why| self.instance.refused("span.decide", why))?;
        Ok(Decision {
            cut: answer.cut,
            ask: ask(answer.ask),
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        self.entries.push(facts::entry(entry));
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        true
    }

    fn look_ahead(&self) -> Option<u64> {
        self.look_ahead
    }
}

impl OrderPolicy for Order {
    fn arrange(&self, layer: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
        let (mut instance, guest) = self.begin()?;
        let (layer, entries) = (facts::layer(layer), facts::entries(entries));
        let order = instance.ask("order.arrange", |store, _| {
            guest.call_arrange(store, &layer, &entries)
        })?;
        order.map_err(|why| instance.refused("order.arrange", why))
    }

    fn name(&self) -> &str {
        &self.loaded.name
    }

    fn identity(&self) -> String {
        self.loaded.identity.clone()
    }
}

impl CompressionPolicy for Compression {
    fn levels(&self, layer: &Layer) -> Result<Box<dyn Levels>, PolicyError> {
        let (instance, guest) = self.begin()?;
        Ok(Box::new(FileLevels {
            loaded: Arc::clone(&self.loaded),
            instance,
            guest,
            layer: facts::layer(layer),
        }))
    }

    fn identity(&self) -> String {
        self.loaded.identity.clone()
    }
}

struct FileLevels {
    loaded: Arc<Loaded>,
    instance: Instance,
    guest: compression::Guest,
    layer: types::Layer,
}

impl Levels for FileLevels {
    fn name(&self) -> &str {
        &self.loaded.name
    }

    fn layer(&mut self) -> Result<Option<Choice>, PolicyError> {
        let (guest, layer) = (&self.guest, &self.layer);
        let choice = self.instance.ask("compression.choose", |store, _| {
            guest.call_choose(store, layer)
        })?;
        let choice = choice.map_err(|why| self.instance.refused("compression.choose", why))?;
        Ok(choice.map(|choice| Choice {
            format: match choice.format {
                compression::Format::Gzip => Format::Gzip,
                compression::Format::Zstd => Format::Zstd,
                compression::Format::None => Format::None,
            },
            level: choice.level,
        }))
    }

    fn file(&mut self, entry: &Entry<'_>, sample: Sample) -> Result<Option<u8>, PolicyError> {
        let guest = &self.guest;
        let entry = facts::entry(entry);
        let sample = compression::Sample {
            bytes: sample.bytes,
            deflated: sample.deflated,
        };
        let level = self.instance.ask("compression.file", |store, _| {
            guest.call_file(store, &entry, sample)
        })?;
        level.map_err(|why| self.instance.refused("compression.file", why))
    }
}

impl SelectionPolicy for Selection {
    fn select(&self, layer: &Layer) -> Result<Verdict, PolicyError> {
        let (mut instance, guest) = self.begin()?;
        let layer = facts::layer(layer);
        let verdict = instance.ask("selection.select", |store, _| {
            guest.call_select(store, &layer)
        })?;
        let verdict = verdict.map_err(|why| instance.refused("selection.select", why))?;
        Ok(Verdict {
            index: verdict.index,
            reason: printable(&verdict.reason),
        })
    }

    fn identity(&self) -> String {
        self.loaded.identity.clone()
    }
}

impl PrefetchPolicy for Prefetch {
    fn choose(
        &self,
        layer: &Layer,
        entries: &[Entry<'_>],
        spans: &[u64],
    ) -> Result<Vec<Target>, PolicyError> {
        let (mut instance, guest) = self.begin()?;
        let (layer, entries) = (facts::layer(layer), facts::entries(entries));
        let targets = instance.ask("prefetch.choose", |store, _| {
            guest.call_choose(store, &layer, &entries, spans)
        })?;
        let targets = targets.map_err(|why| instance.refused("prefetch.choose", why))?;
        let target = |target: prefetch::Target| match target {
            prefetch::Target::File(index) if (index as usize) < entries.len() => {
                Ok(Target::File(index))
            }
            prefetch::Target::Span(span) if (span as usize) < spans.len() => Ok(Target::Span(span)),
            other => {
                let why = format!(
                    "{other:?} is not there: the layer has {} entries and {} spans",
                    entries.len(),
                    spans.len()
                );
                Err(instance.refused("prefetch.choose", why))
            }
        };
        targets.into_iter().map(target).collect()
    }

    fn identity(&self) -> String {
        self.loaded.identity.clone()
    }
}
