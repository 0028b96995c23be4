//! How a command is run, stopped and waited for.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sociable_policy::Trace;

use crate::error::step;
use crate::inside::{self, Workload};
use crate::root::Root;
use crate::served::Served;
use crate::{Error, Recorder, Result};

/// How often is looked whether the command has ended, or should.
const TICK: Duration = Duration::from_millis(10);

/// How a command is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many bytes the kernel may read that nobody asked for; 0 records what was asked for, in whole pages.
    pub read_ahead: u32,
    /// When to stop a command that does not end by itself.
    pub stop_after: Option<Duration>,
    /// How long a stopped command has to end before it is killed.
    pub grace: Duration,
    /// Asked again and again: whether to stop now.
    pub interrupted: fn() -> bool,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// What was read until the command ended or was stopped.
    pub trace: Trace,
    /// How the command ended.
    pub status: ExitStatus,
    /// Whether it was stopped.
    pub stopped: bool,
}

/// Runs a command in a root and records what it reads of it.
///
/// # Errors
/// [`Error`]; a command that fails is none.
pub fn run(root: Arc<dyn Root>, workload: &Workload, options: &Options) -> Result<Ended> {
    let recorder = Arc::new(Recorder::new());
    let served = Served::new(root, Arc::clone(&recorder), options.read_ahead);
    let base = tempfile::Builder::new().prefix("sociable-trace-").tempdir();
    let base = base.map_err(step("make a temporary directory"))?;
    let (send, device) = mpsc::channel();
    let mut child = thread::scope(|scope| {
        // Its namespace is the command's: see `inside`.
        let starting = scope.spawn(|| {
            let serve = |device| {
                // Only fails when the other side has failed, and says so itself.
                let _ = send.send(device);
                Ok(())
            };
            let entered = inside::enter(base.path(), serve);
            drop(send);
            entered.and_then(|()| inside::start(workload))
        });
        // Ends by itself when the last process in the namespace has ended.
        let session = device.recv().map(|device| served.start(device));
        let child = starting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if let Ok(session) = session {
            session?;
        }
        Ok::<_, Error>(child)
    })?;
    let stopped = wait(&mut child, options, &recorder)?;
    let status = child.wait().map_err(step("wait for the command"))?;
    Ok(Ended {
        trace: recorder.trace(Some(workload.text())),
        status,
        stopped,
    })
}

/// Waits until the command has ended, or stops it: whether it was stopped.
fn wait(child: &mut Child, options: &Options, recorder: &Recorder) -> Result<bool> {
    let started = Instant::now();
    let mut stopped: Option<Instant> = None;
    let mut killed = false;
    while child
        .try_wait()
        .map_err(step("wait for the command"))?
        .is_none()
    {
        match stopped {
            None => {
                let late = options
                    .stop_after
                    .is_some_and(|limit| started.elapsed() >= limit);
                if late || (options.interrupted)() {
                    // What it reads to end is no part of its start.
                    recorder.stop();
                    signal(child, Signal::TERM);
                    stopped = Some(Instant::now());
                }
            }
            Some(since) if !killed && since.elapsed() >= options.grace => {
                signal(child, Signal::KILL);
                killed = true;
            }
            Some(_) => {}
        }
        thread::sleep(TICK);
    }
    recorder.stop();
    Ok(stopped.is_some())
}

fn signal(child: &Child, signal: Signal) {
    if let Some(process) = Pid::from_raw(child.id().cast_signed()) {
        // It may have ended by now, which is all that is wanted.
        let _ = kill_process(process, signal);
    }
}
