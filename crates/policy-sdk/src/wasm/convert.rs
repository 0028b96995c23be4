//! Generated types into those of this crate, and back. Texts and lists are moved.

pub(super) use super::compression::exports::sociable::policy::compression::{
    Choice, Format, Sample,
};
pub(super) use super::plugin::exports::sociable::policy::plugin::Description;
pub(super) use super::plugin::sociable::policy::log::Level;
pub(super) use super::prefetch::exports::sociable::policy::prefetch::Target;
pub(super) use super::selection::exports::sociable::policy::selection::Verdict;
pub(super) use super::span::exports::sociable::policy::span::{Ask, Candidate, Decision, Opening};
use super::types::{Entry, Kind, Layer};

pub(super) fn entries(entries: Vec<Entry>) -> Vec<crate::Entry> {
    entries.into_iter().map(Into::into).collect()
}

impl From<Layer> for crate::Layer {
    fn from(layer: Layer) -> Self {
        Self {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type,
            span_size: layer.span_size,
            min_layer_size: layer.min_layer_size,
            packing: layer.packing,
        }
    }
}

impl From<Entry> for crate::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            path: entry.path,
            kind: entry.kind.into(),
            header: entry.header,
            data: entry.data,
            size: entry.size,
            mode: entry.mode,
            link: entry.link,
        }
    }
}

impl From<Kind> for crate::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::HardLink => Self::HardLink,
            Kind::Symlink => Self::Symlink,
            Kind::CharDevice => Self::CharDevice,
            Kind::BlockDevice => Self::BlockDevice,
            Kind::Directory => Self::Directory,
            Kind::Fifo => Self::Fifo,
        }
    }
}

impl From<crate::Description> for Description {
    fn from(description: crate::Description) -> Self {
        Self {
            name: description.name.to_owned(),
            version: description.version.to_owned(),
            summary: description.summary.to_owned(),
            parameters: description.parameters.to_owned(),
        }
    }
}

impl From<crate::Level> for Level {
    fn from(level: crate::Level) -> Self {
        match level {
            crate::Level::Debug => Self::Debug,
            crate::Level::Info => Self::Info,
            crate::Level::Warn => Self::Warn,
        }
    }
}

impl From<Candidate> for crate::Candidate {
    fn from(at: Candidate) -> Self {
        Self {
            compressed: at.compressed,
            uncompressed: at.uncompressed,
            since_cut: at.since_cut,
            next: at.next,
            known: at.known,
        }
    }
}

impl From<crate::Ask> for Ask {
    fn from(ask: crate::Ask) -> Self {
        Self {
            after: ask.after,
            at_entries: ask.at_entries,
        }
    }
}

impl From<crate::Opening> for Opening {
    fn from(opening: crate::Opening) -> Self {
        Self {
            ask: opening.ask.into(),
            look_ahead: opening.look_ahead,
        }
    }
}

impl From<crate::Decision> for Decision {
    fn from(decision: crate::Decision) -> Self {
        Self {
            cut: decision.cut,
            ask: decision.ask.into(),
        }
    }
}

impl From<crate::Choice> for Choice {
    fn from(choice: crate::Choice) -> Self {
        Self {
            format: match choice.format {
                crate::Format::Gzip => Format::Gzip,
                crate::Format::Zstd => Format::Zstd,
                crate::Format::None => Format::None,
            },
            level: choice.level,
        }
    }
}

impl From<Sample> for crate::Sample {
    fn from(sample: Sample) -> Self {
        Self {
            bytes: sample.bytes,
            deflated: sample.deflated,
        }
    }
}

impl From<crate::Verdict> for Verdict {
    fn from(verdict: crate::Verdict) -> Self {
        Self {
            index: verdict.index,
            reason: verdict.reason,
        }
    }
}

impl From<crate::Target> for Target {
    fn from(target: crate::Target) -> Self {
        match target {
            crate::Target::File(file) => Self::File(file),
            crate::Target::Span(span) => Self::Span(span),
        }
    }
}
