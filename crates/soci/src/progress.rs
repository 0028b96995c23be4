//! What a run tells while it works, and how it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use sociable_oci::{Descriptor, Digest};

use crate::outcome::LayerOutcome;

/// What a run does with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reads it to index it (and copies it in the same pass where the destination lacks it).
    Index,
    /// Packs a plain tar, and indexes the layer that comes of it.
    Pack,
    /// Copies it.
    Copy,
    /// Reads it to check what an index claims.
    Verify,
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The work ahead: so many layers and bytes will be read. May come more than once, each adding to the last.
    Plan {
        /// Layers.
        layers: usize,
        /// Their (compressed) bytes; for a directory that is packed, its files' bytes.
        bytes: u64,
    },
    /// A layer's turn has come.
    Start {
        /// The layer.
        layer: &'a Descriptor,
        /// What is done with it.
        work: Work,
    },
    /// Bytes of a layer were read: so many more.
    Bytes {
        /// The layer.
        layer: &'a Digest,
        /// How many since the last time.
        bytes: u64,
    },
    /// A plain tar has become a layer, which will be done when it is known what it is for.
    Packed {
        /// What was started.
        tar: &'a Digest,
        /// What came of it.
        layer: &'a Descriptor,
    },
    /// A layer is done.
    Done {
        /// The layer.
        layer: &'a Descriptor,
        /// What became of it.
        outcome: &'a LayerOutcome,
    },
    /// Bytes were read of what is no layer of an image: a directory that is packed, a layer by itself.
    Input {
        /// How many since the last time.
        bytes: u64,
    },
    /// Something a person should know, though the run goes on.
    Note(&'a str),
}

/// Takes what a run tells. Called from several threads, often: be quick.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event<'_>) {}
}

/// A request to stop, which a signal handler can make.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Nothing was asked yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What every run needs beside its input and options.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Who may stop it.
    pub cancel: &'a Cancel,
    /// Layers at once; 0 means as many as there are processors, at most [`MAX_LAYERS_AT_ONCE`].
    pub jobs: usize,
}

/// Most layers indexed at once: from registry to registry each takes about 10 MiB beside its zTOC, and all of them at most 64 MiB.
pub const MAX_LAYERS_AT_ONCE: usize = 6;

impl Run<'_> {
    /// How many of `layers` to work on at once.
    #[must_use]
    pub fn layers_at_once(&self, layers: usize) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if self.jobs == 0 {
            processors()
        } else {
            self.jobs
        };
        jobs.clamp(1, MAX_LAYERS_AT_ONCE).min(layers.max(1))
    }

    pub(crate) fn note(&self, text: &str) {
        self.progress.event(&Event::Note(text));
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}
