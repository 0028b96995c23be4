//! What is shown while a command works: bars on a terminal, lines elsewhere, on standard error.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sociable_oci::{Descriptor, Digest};
use sociable_policy_wasm::{Level, Logger};
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::progress::Work;
use sociable_soci::{Cancel, Event, Progress, Run};

use crate::args::{Output, Style};
use crate::text;

static CANCEL: Cancel = Cancel::new();

/// Whether the user wants to stop.
pub(crate) fn interrupted() -> bool {
    CANCEL.is_cancelled()
}

/// Stops the work as a signal would.
pub(crate) fn interrupt() {
    CANCEL.cancel();
}

/// Whether a program is awaited that has its own ideas of when to give up.
static AWAITING: AtomicBool = AtomicBool::new(false);

/// Waits for a program, however often the user wants to stop: a terminal's signals reach it as well.
pub(crate) fn awaiting<T>(wait: impl FnOnce() -> T) -> T {
    AWAITING.store(true, Ordering::Relaxed);
    let result = wait();
    AWAITING.store(false, Ordering::Relaxed);
    result
}

/// Prints what policies log.
struct PolicyLog {
    print: Box<dyn Fn(&str) + Send + Sync>,
    verbose: bool,
}

impl Logger for PolicyLog {
    fn line(&self, level: Level, policy: &str, line: &str) {
        if self.verbose || level != Level::Debug {
            (self.print)(&format!("{policy}: {line}"));
        }
    }
}

/// What a command shows.
pub(crate) struct Shown {
    started: Instant,
    read: AtomicU64,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    bars: Option<Bars>,
    lines: bool,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Shown {
    /// `bars`: whether there may be any; a program that draws its own would not know of them.
    pub(crate) fn start(output: &Output, bars: bool) -> Self {
        let style = match output.progress {
            _ if output.quiet || !bars => Style::None,
            Style::Auto if std::io::stderr().is_terminal() => Style::Bar,
            Style::Auto => Style::Plain,
            style => style,
        };
        // The first signal asks the work to stop and tidy up; the second does not ask.
        let handler = ctrlc::set_handler(|| {
            if CANCEL.is_cancelled() && !AWAITING.load(Ordering::Relaxed) {
                std::process::exit(130);
            }
            CANCEL.cancel();
        });
        let this = Self {
            started: Instant::now(),
            read: AtomicU64::new(0),
            quiet: output.quiet,
            verbose: output.verbose,
            bars: (style == Style::Bar).then(Bars::new),
            lines: style == Style::Plain,
        };
        if let Err(error) = handler {
            this.note(&format!("signals cannot be handled: {error}"));
        }
        this
    }

    /// What a run of the library needs.
    pub(crate) fn run(&self, jobs: usize) -> Run<'_> {
        Run {
            progress: self,
            cancel: &CANCEL,
            jobs,
        }
    }

    /// Says something on standard error, unless it should be quiet.
    pub(crate) fn note(&self, note: &str) {
        if !self.quiet {
            self.line(&format!("note: {}", text::printable(note)));
        }
    }

    /// Prints a line on standard error, past the bars.
    pub(crate) fn line(&self, line: &str) {
        let print = || {
            // A closed standard error is no reason to fail.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        match &self.bars {
            Some(bars) => bars.all.suspend(print),
            None => print(),
        }
    }

    /// Prints notes as [`Shown::note`] does, for as long as anybody likes.
    pub(crate) fn policy_notes(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bars = self.bars.as_ref().map(|bars| bars.all.clone());
        let quiet = self.quiet;
        move |note: &str| {
            let print = || {
                // A closed standard error is no reason to fail.
                let _ = writeln!(std::io::stderr().lock(), "note: {}", text::printable(note));
            };
            match &bars {
                _ if quiet => {}
                Some(bars) => bars.suspend(print),
                None => print(),
            }
        }
    }

    /// Prints what policies log: with `--quiet` nothing, without `--verbose` not what is for their authors.
    pub(crate) fn policy_log(&self) -> Arc<dyn Logger> {
        Arc::new(PolicyLog {
            print: Box::new(self.policy_notes()),
            verbose: self.verbose,
        })
    }

    /// Prints something else without the bars in between.
    pub(crate) fn suspended<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.all.suspend(print),
            None => print(),
        }
    }

    /// With -v: what was read, and how long it took.
    pub(crate) fn spent(&self) {
        if self.verbose {
            self.line(&format!(
                "read {} in {:.1} s",
                text::size(self.read.load(Ordering::Relaxed)),
                self.started.elapsed().as_secs_f64()
            ));
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            // Only tidying: a terminal that is gone needs none.
            let _ = bars.all.clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0));
        // Until it is known how much there is to do.
        total.set_style(style("{spinner} [{elapsed}] {bytes} {bytes_per_sec}"));
        total.enable_steady_tick(Duration::from_millis(100));
        Self {
            all,
            total,
            layers: Mutex::default(),
        }
    }

    fn layer(&self, layer: &Digest) -> Option<ProgressBar> {
        self.lock().get(layer).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, ProgressBar>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Templates are constants: one that does not parse shows bars as indicatif likes them.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn verb(work: Work) -> &'static str {
    match work {
        Work::Index => "indexing",
        Work::Pack => "packing",
        Work::Copy => "copying",
        Work::Verify => "verifying",
    }
}

fn done(layer: &Descriptor, outcome: &LayerOutcome) -> String {
    let head = format!("layer {} {}", layer.digest.short(), text::size(layer.size));
    match outcome {
        LayerOutcome::Indexed(indexed) => format!(
            "{head}: {}, zTOC {}{}",
            text::count(indexed.spans, "span"),
            text::size(indexed.ztoc_size),
            text::origin(indexed.origin)
        ),
        LayerOutcome::Skipped(reason) => format!("{head}: not indexed: {reason}"),
        // May be any blob of an image that is no layer.
        LayerOutcome::Copied => format!(
            "blob  {} {}: copied",
            layer.digest.short(),
            text::size(layer.size)
        ),
    }
}

impl Progress for Shown {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Note(note) => self.note(note),
            Event::Done { layer, outcome } => {
                if let Some(bars) = &self.bars
                    && let Some(bar) = bars.lock().remove(&layer.digest)
                {
                    bar.finish_and_clear();
                }
                if self.lines || self.verbose {
                    self.line(&done(layer, outcome));
                }
            }
            event => {
                if let Event::Bytes { bytes, .. } | Event::Input { bytes } = event {
                    self.read.fetch_add(*bytes, Ordering::Relaxed);
                }
                if let Some(bars) = &self.bars {
                    bars.event(event);
                }
            }
        }
    }
}

impl Bars {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Plan { bytes, .. } if *bytes > 0 => {
                self.total.inc_length(*bytes);
                self.total.set_style(style(
                    "{spinner} [{elapsed}] {wide_bar:.cyan/blue} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
                ));
            }
            Event::Start { layer, work } => {
                let bar = self.all.add(ProgressBar::new(layer.size));
                bar.set_style(style("  {msg} {bar:30} {bytes}/{total_bytes}"));
                bar.set_message(format!("{} {}", verb(*work), layer.digest.short()));
                self.lock().insert(layer.digest, bar);
            }
            Event::Bytes { layer, bytes } => {
                self.total.inc(*bytes);
                if let Some(bar) = self.layer(layer) {
                    bar.inc(*bytes);
                }
            }
            Event::Packed { tar, .. } => {
                if let Some(bar) = self.lock().remove(tar) {
                    bar.finish_and_clear();
                }
            }
            Event::Input { bytes } => self.total.inc(*bytes),
            _ => {}
        }
    }
}
