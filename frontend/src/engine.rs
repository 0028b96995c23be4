//! The engine: what runs in the steps of a build. It says on standard error what it did, which is the step's log.

mod base;
mod layer;
mod policies;
mod push;
mod registry;
mod seen;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use sociable_oci::Descriptor;
use sociable_policy::size;
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::parts::Part;
use sociable_soci::{Cancel, Event, Progress, Run, chain};
use sociable_ztoc::Time;

use self::registry::Errand;
use crate::options;
use crate::task::{ANSWER_FILE, Made, Task, VARIABLE, place};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the task in {VARIABLE} is none of this version")]
    Task(#[source] serde_json::Error),
    #[error("the step's answer cannot be written")]
    Answer(#[source] serde_json::Error),
    #[error(transparent)]
    Soci(#[from] sociable_soci::Error),
    #[error(transparent)]
    Oci(#[from] sociable_oci::Error),
    #[error("{0}")]
    Reference(#[from] sociable_oci::registry::reference::ParseReferenceError),
    #[error("{0}")]
    Policy(String),
    #[error("the policies in {0} are not those that this step is to work with")]
    OtherPolicies(&'static str),
    #[error("{0} is no list of policies of this version")]
    PolicyList(String, #[source] serde_json::Error),
    #[error("{0} is no manifest of an image")]
    NoManifest(String),
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// Runs a step.
#[allow(clippy::print_stderr, reason = "the step's log")]
pub(crate) fn main(task: &OsStr) -> ExitCode {
    let task = serde_json::from_slice(task.as_encoded_bytes()).map_err(EngineError::Task);
    let errand = match &task {
        Ok(Task::Resolve { .. } | Task::Component { .. }) => Errand::Policy,
        _ => Errand::Image,
    };
    match task.and_then(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", options::in_a_build(&chain(&error)));
            if let Some(hint) = registry::hint(errand, &error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// For whoever runs the image by hand.
#[allow(clippy::print_stderr, reason = "for whoever runs the image by hand")]
pub(crate) fn explain() -> ExitCode {
    eprintln!(
        "This is a frontend for BuildKit, which starts it: \
         docker buildx build --build-arg BUILDKIT_SYNTAX=THIS-IMAGE --build-arg SOCI_OUTPUT=layout -o type=tar,dest=app.tar ."
    );
    ExitCode::from(2)
}

fn work(task: Task) -> Result<(), EngineError> {
    let cancel = Cancel::new();
    let run = Run {
        progress: &Log,
        cancel: &cancel,
        jobs: 0,
    };
    let answer = match task {
        Task::Layer {
            settings,
            level,
            epoch,
        } => made(layer::pack(&settings, level, epoch, run)?)?,
        Task::Base {
            settings,
            layer,
            diff_id,
            index,
            keep,
            from,
        } => {
            let settings = index.then_some(&settings);
            made(base::index(
                settings,
                &layer,
                diff_id,
                keep,
                from.as_ref(),
                run,
            )?)?
        }
        Task::Manifest {
            from,
            platform,
            gently,
        } => base::manifest(&from, platform.as_ref(), gently)?,
        Task::Resolve { from } => policies::resolve(&from)?,
        Task::Component { from } => policies::fetch(&from)?,
        Task::Policies { wanted, .. } => policies::make_ready(&wanted)?,
        Task::Push {
            repositories,
            under_their_tags,
            plain_http,
        } => {
            push::push(&repositories, under_their_tags, &plain_http, run)?;
            b"{}".to_vec()
        }
    };
    let path = Path::new(place::ANSWER).join(ANSWER_FILE);
    fs::write(&path, answer).map_err(|source| EngineError::Write {
        path: path.display().to_string(),
        source,
    })
}

fn made(part: Part) -> Result<Vec<u8>, EngineError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    let now = Time {
        seconds: i64::try_from(now).unwrap_or(0),
        nanos: 0,
    };
    let made = Made {
        part,
        created: now.to_rfc3339().unwrap_or_default(),
        seen: seen::now(),
    };
    serde_json::to_vec(&made).map_err(EngineError::Answer)
}

/// The step's log: a line for each layer.
struct Log;

impl Progress for Log {
    #[allow(clippy::print_stderr, reason = "the step's log")]
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Done { layer, outcome } => {
                if let Some(line) = line(layer, outcome) {
                    eprintln!("{line}");
                }
            }
            Event::Note(text) => eprintln!("note: {text}"),
            _ => {}
        }
    }
}

fn line(layer: &Descriptor, outcome: &LayerOutcome) -> Option<String> {
    let layer = format!("layer {} {}", layer.digest, size::show(layer.size));
    match outcome {
        LayerOutcome::Indexed(indexed) => Some(format!(
            "{layer}: {} of tar, {} entries, {} spans, zTOC {}",
            size::show(indexed.uncompressed_size),
            indexed.entries,
            indexed.spans,
            size::show(indexed.ztoc_size)
        )),
        LayerOutcome::Skipped(reason) => {
            Some(format!("{layer}: not indexed, {}", options::why(reason)))
        }
        LayerOutcome::Copied => None,
    }
}
