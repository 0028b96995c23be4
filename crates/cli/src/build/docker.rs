//! Docker's command line, run.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::CliError;
use crate::progress;

/// Which docker, and how it is spoken to.
#[derive(Debug)]
pub(crate) struct Docker {
    pub(crate) program: OsString,
    /// Its own options, in front of any command.
    pub(crate) options: Vec<OsString>,
    /// The file of credentials that these options lead to.
    pub(crate) config: Option<PathBuf>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            program: "docker".into(),
            options: Vec::new(),
            config: None,
        }
    }
}

/// Between the end of a program and our notice of it.
const TICK: Duration = Duration::from_millis(20);
/// How long docker may take to end by itself once the user wants to stop.
const GRACE: Duration = Duration::from_secs(2);

impl Docker {
    /// The words in front of those of a build.
    pub(crate) fn before(&self) -> impl Iterator<Item = &OsStr> {
        let build = ["buildx", "build"].map(OsStr::new);
        [&*self.program]
            .into_iter()
            .chain(self.options.iter().map(|option| &**option))
            .chain(build)
    }

    /// `docker buildx build`.
    pub(crate) fn build(&self) -> Command {
        let mut command = self.command();
        command.args(["buildx", "build"]);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // What docker tells its plugin is for us.
        command
            .args(&self.options)
            .env_remove("DOCKER_CLI_PLUGIN_SOCKET")
            .env_remove("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND");
        command
    }

    /// What a command prints, and how it ends; it reads nothing.
    fn asked(&self, words: &[&OsStr]) -> std::io::Result<Output> {
        let mut command = self.command();
        command.args(words).stdin(Stdio::null());
        command.output()
    }

    /// # Errors
    /// When docker or its plugin buildx is missing.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        match self.asked(&["buildx".as_ref(), "version".as_ref()]) {
            Ok(version) if version.status.success() => Ok(()),
            Ok(_) => Err(CliError::failed("docker has no buildx, which builds images").hint(
                "install Docker's plugin (package docker-buildx-plugin, or docker-buildx in Debian); `docker buildx version` shows it",
            )),
            Err(error) => Err(self.cannot_run(error)),
        }
    }

    fn cannot_run(&self, error: std::io::Error) -> CliError {
        let program = self.program.to_string_lossy().into_owned();
        if error.kind() == ErrorKind::NotFound {
            return CliError::failed(format!("{program} is not installed, or not in PATH"))
                .hint("install Docker's command line with buildx (packages docker-ce-cli and docker-buildx-plugin); a daemon need not run here if a builder elsewhere is used");
        }
        CliError::io("run", program)(error)
    }

    /// What to do about a build that failed because there is no builder: docker has said why.
    pub(crate) fn hint(&self, builder: Option<&OsStr>) -> Option<&'static str> {
        let words: Vec<&OsStr> = ["buildx".as_ref(), "inspect".as_ref()]
            .into_iter()
            .chain(builder)
            .collect();
        let about = self.asked(&words).ok()?;
        // It succeeds, and tells errors of builders among what they are.
        let reached =
            about.status.success() && !about.stdout.lines().any(|line| line.starts_with(b"Error:"));
        (!reached).then_some(
            "the builder cannot be reached: start Docker, or say where it is (DOCKER_HOST, docker context use), \
             or take another builder (docker buildx ls) with --builder",
        )
    }

    /// Runs a command to its end. A terminal's Ctrl-C reaches docker as it reaches us; a signal for us alone is passed on.
    pub(crate) fn run(&self, mut command: Command) -> Result<ExitStatus, CliError> {
        let mut child = command.spawn().map_err(|error| self.cannot_run(error))?;
        progress::awaiting(|| wait(&mut child)).map_err(CliError::io("wait for", "docker"))
    }
}

fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    let mut interrupted = None;
    let mut passed_on = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if progress::interrupted() && !passed_on {
            let since: Instant = *interrupted.get_or_insert_with(Instant::now);
            if since.elapsed() >= GRACE {
                passed_on = true;
                // One that is gone meanwhile needs none.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
        }
        std::thread::sleep(TICK);
    }
}

/// How we end where docker ended so.
pub(crate) fn ending(status: ExitStatus) -> Result<(), CliError> {
    if progress::interrupted() {
        return Err(CliError::exit(130));
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(CliError::exit(u8::try_from(code).unwrap_or(1))),
        // As shells count.
        (None, Some(signal)) => Err(CliError::exit(u8::try_from(128 + signal).unwrap_or(1))),
        (None, None) => Err(CliError::exit(1)),
    }
}
