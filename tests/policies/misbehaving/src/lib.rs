//! A policy that misbehaves as its parameters say: see [`Deed`].

use std::cell::Cell;
use std::hint::black_box;

use serde::Deserialize;
use sociable_policy_sdk::{
    Ask, Candidate, Choice, Compression, Decision, Description, Entry, Error, Format, Layer, Level,
    Opening, Order, Parameters, Planner, Plugin, Prefetch, Result, Sample, Selection, Span, Target,
    Verdict, log, order,
};

/// What is long, in bytes, and what is many.
const HUGE: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Nothing wrong: spans of the size that was asked for, the order as it was, levels as they were.
    #[default]
    Behave,
    /// Never returns.
    Loop,
    /// Asks for memory until there is none.
    Allocate,
    /// Panics, after a line that says so.
    Panic,
    /// Calls itself until there is no stack.
    Recurse,
    /// Answers with an error, which has control characters.
    Refuse,
    /// Answers with an error of 16 MiB.
    RefuseAtLength,
    /// Says 100,000 lines, and behaves.
    Flood,
    /// Says one line of 16 MiB, and behaves.
    LogAtLength,
    /// Answers with lists of 16 million, and texts of 16 MiB.
    Huge,
    /// Names entries and spans that are not there, levels that do not exist, and places that never come.
    Beyond,
    /// An order in which the first entry comes twice, and the last is missing. Asks to be asked again after 0 bytes.
    Repeat,
    /// An order without the last entry.
    Omit,
    /// An order from the end: what is in a directory before it.
    Reverse,
    /// Anything that is allowed, at random: the same for the same `seed` and the same questions.
    AtRandom,
    /// Answers that depend on how often this instance was asked.
    Count,
    /// Layers without compression.
    Plain,
    /// Layers with zstd.
    Zstd,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Misbehaving {
    #[serde(default, rename = "do")]
    deed: Deed,
    #[serde(rename = "in")]
    place: Option<String>,
    #[serde(default = "one")]
    seed: u64,
    #[serde(skip)]
    asked: Cell<u64>,
}

fn one() -> u64 {
    1
}

impl Misbehaving {
    /// What to do at `place`; what is no matter of the answer is done already.
    fn deed(&self, place: &str) -> Result<Deed> {
        self.asked.set(self.asked.get() + 1);
        let everywhere = place != "plugin.configure";
        if !self
            .place
            .as_deref()
            .map_or(everywhere, |chosen| chosen == place)
        {
            return Ok(Deed::Behave);
        }
        match self.deed {
            Deed::Loop => loop {
                black_box(());
            },
            Deed::Allocate => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1u8; 1 << 20]));
                }
            }
            Deed::Panic => panic!("as the parameters say,\nin {place}"),
            Deed::Recurse => {
                black_box(recurse(1));
            }
            Deed::Refuse => return Err(Error::new("\x1b[31mno\x07\nand no again")),
            Deed::RefuseAtLength => return Err(Error::new("no".repeat(HUGE / 2))),
            Deed::Flood => {
                for line in 0..100_000 {
                    log(Level::Warn, &format!("\x1b[2Jline {line}\r\n"));
                }
            }
            Deed::LogAtLength => log(Level::Warn, &"x".repeat(HUGE)),
            _ => {}
        }
        Ok(self.deed)
    }

    fn random(&self) -> Random {
        Random(self.seed | 1)
    }
}

/// With small frames, so that it is the stack of calls that ends first.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    recurse(black_box(depth) + 1) ^ black_box(depth)
}

/// Xorshift.
#[derive(Debug, Clone, Copy)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn ask(&mut self) -> Ask {
        let most = 1 << self.below(24);
        Ask {
            after: 1 + self.below(most),
            at_entries: self.below(2) == 0,
        }
    }
}

impl Plugin for Misbehaving {
    const DESCRIPTION: Description = Description {
        name: "misbehaving",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Misbehaves as its parameters say",
        parameters: include_str!("../parameters.json"),
    };

    fn configure(parameters: Parameters<'_>) -> Result<Self> {
        let policy: Self = parameters.parse()?;
        policy.deed("plugin.configure")?;
        Ok(policy)
    }
}

/// What a planner knows: the policy, as its parameters say, and the size of spans.
struct Spans {
    policy: Misbehaving,
    span_size: u64,
    random: Random,
}

impl Span for Misbehaving {
    type Planner = Spans;

    fn start(&self, layer: &Layer) -> Result<(Spans, Opening)> {
        let deed = self.deed("span.start")?;
        let mut planner = Spans {
            policy: Self {
                deed: self.deed,
                place: self.place.clone(),
                seed: self.seed,
                asked: self.asked.clone(),
            },
            span_size: layer.span_size,
            random: self.random(),
        };
        let ask = planner.ask(deed);
        let look_ahead = match deed {
            Deed::Beyond => Some(u64::MAX),
            Deed::AtRandom if self.seed % 2 == 1 => Some(planner.random.below(2 << 20)),
            _ => None,
        };
        Ok((planner, Opening { ask, look_ahead }))
    }
}

impl Spans {
    fn ask(&mut self, deed: Deed) -> Ask {
        let after = match deed {
            Deed::Beyond => u64::MAX,
            Deed::Repeat => 0,
            Deed::AtRandom => return self.random.ask(),
            _ => self.span_size,
        };
        Ask {
            after,
            at_entries: false,
        }
    }
}

impl Planner for Spans {
    fn decide(&mut self, _: &[Entry], at: &Candidate) -> Result<Decision> {
        let deed = self.policy.deed("span.decide")?;
        let cut = match deed {
            Deed::AtRandom => self.random.below(2) == 0,
            Deed::Count => self.policy.asked.get().is_multiple_of(2),
            _ => at.since_cut >= self.span_size,
        };
        Ok(Decision {
            cut,
            ask: self.ask(deed),
        })
    }
}

impl Order for Misbehaving {
    fn arrange(&self, _: &Layer, entries: &[Entry]) -> Result<Vec<u32>> {
        let deed = self.deed("order.arrange")?;
        let mut order = order::settled(entries, []);
        match deed {
            Deed::Huge => order = vec![0; HUGE],
            Deed::Beyond => {
                order.pop();
                order.push(u32::MAX);
            }
            Deed::Repeat => {
                order.pop();
                order.insert(0, 0);
            }
            Deed::Omit => {
                order.pop();
            }
            Deed::Reverse => order.reverse(),
            Deed::AtRandom => {
                let mut random = self.random();
                let mut places: Vec<_> = (0..entries.len()).collect();
                places.sort_by_cached_key(|_| random.below(u64::MAX));
                order = order::settled(entries, places);
            }
            Deed::Count => {
                let first = usize::try_from(self.asked.get())? % entries.len().max(1);
                order = order::settled(entries, (first..entries.len()).rev());
            }
            _ => {}
        }
        Ok(order)
    }
}

impl Compression for Misbehaving {
    fn layer(&self, _: &Layer) -> Result<Option<Choice>> {
        let (format, level) = match self.deed("compression.choose")? {
            Deed::Beyond => (Format::Gzip, 200),
            Deed::AtRandom => {
                let mut random = self.random();
                let format = match random.below(4) {
                    0 => Format::None,
                    _ => Format::Gzip,
                };
                (format, u8::try_from(random.below(10))?)
            }
            Deed::Plain => (Format::None, 0),
            Deed::Zstd => (Format::Zstd, 3),
            _ => return Ok(None),
        };
        Ok(Some(Choice { format, level }))
    }

    fn file(&self, _: &Layer, entry: &Entry, _: Sample) -> Result<Option<u8>> {
        Ok(match self.deed("compression.file")? {
            Deed::Beyond => Some(200),
            Deed::AtRandom => {
                let mut random = Random(self.seed.wrapping_add(entry.header) | 1);
                random.below(7);
                u8::try_from(random.below(11))
                    .ok()
                    .filter(|level| *level < 10)
            }
            Deed::Count => Some(u8::try_from(self.asked.get() % 10)?),
            _ => None,
        })
    }
}

impl Selection for Misbehaving {
    fn select(&self, layer: &Layer) -> Result<Verdict> {
        let deed = self.deed("selection.select")?;
        Ok(Verdict {
            index: match deed {
                Deed::AtRandom => self.random().below(2) == 0,
                _ => layer.size.is_none_or(|size| size >= layer.min_layer_size),
            },
            reason: match deed {
                Deed::Huge => "x".repeat(HUGE),
                Deed::Count => format!("asked {} times", self.asked.get()),
                _ => "as it would be".to_owned(),
            },
        })
    }
}

impl Prefetch for Misbehaving {
    fn choose(&self, _: &Layer, entries: &[Entry], spans: &[u64]) -> Result<Vec<Target>> {
        let deed = self.deed("prefetch.choose")?;
        let (entries, spans) = (u32::try_from(entries.len())?, u32::try_from(spans.len())?);
        Ok(match deed {
            Deed::Huge => vec![Target::Span(0); HUGE],
            Deed::Beyond => vec![Target::File(entries), Target::Span(spans)],
            Deed::Repeat => vec![Target::Span(0); 2],
            Deed::AtRandom => {
                let mut random = self.random();
                let mut below = |end: u32| {
                    let number = random.below(u64::from(end));
                    u32::try_from(number).unwrap_or(0)
                };
                (0..5)
                    .map(|n| {
                        if n % 2 == 0 && entries > 0 {
                            Target::File(below(entries))
                        } else {
                            Target::Span(below(spans))
                        }
                    })
                    .collect()
            }
            _ => Vec::new(),
        })
    }
}

sociable_policy_sdk::export!(Misbehaving: span, order, compression, selection, prefetch);
