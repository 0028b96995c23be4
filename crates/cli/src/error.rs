//! How an error reads: `error: what, where, why`, then `hint: what to do`.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use sociable_layer::IndexError;
use sociable_oci::containerd::ContainerdError;
use sociable_oci::docker_daemon::DaemonError;
use sociable_soci::cache::CacheError;
use sociable_soci::outcome::SkipReason;
use sociable_soci::{Error, chain};

use crate::build::output::OutputError;
use crate::{progress, registry_hint, text};

/// Exit code when something failed.
const FAILED: u8 = 1;
/// Exit code for wrong usage: as clap's.
const USAGE: u8 = 2;
/// Exit code when the user interrupted: as shells count SIGINT.
const INTERRUPTED: u8 = 130;

/// An error that ends a command.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    code: u8,
    silent: bool,
    /// Whether it only says that there was nothing worth doing.
    pub(crate) nothing_to_do: bool,
}

impl CliError {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: FAILED,
            silent: false,
            nothing_to_do: false,
        }
    }

    /// An argument that is no good.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::failed(message)
        }
    }

    /// The user stopped it.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self {
            code: INTERRUPTED,
            ..Self::failed(message)
        }
    }

    /// The command has said all there is to say.
    pub(crate) fn said() -> Self {
        Self {
            silent: true,
            ..Self::failed("")
        }
    }

    /// As a program ended that has said why.
    pub(crate) fn exit(code: u8) -> Self {
        Self {
            code,
            ..Self::said()
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For `map_err`: an I/O error with its context.
    pub(crate) fn io(action: &'static str, place: impl Display) -> impl FnOnce(io::Error) -> Self {
        let place = place.to_string();
        move |error| Self::failed(format!("cannot {action} {place}: {error}"))
    }

    /// For what goes to standard output: a reader that went away is no failure.
    pub(crate) fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                ..Self::said()
            };
        }
        Self::io("write to", "standard output")(error)
    }

    /// Prints it: the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if !self.silent {
            let mut stderr = io::stderr().lock();
            // Nobody is left to be told that nobody can be told.
            let _ = writeln!(stderr, "error: {}", text::printable(&self.message));
            if let Some(hint) = &self.hint {
                let _ = writeln!(stderr, "hint: {hint}");
            }
        }
        ExitCode::from(self.code)
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let hint = match &error {
            Error::Oci(oci) if let sociable_oci::Error::Registry(error) = &**oci => {
                registry_hint::hint(error)
            }
            error => hint(error).map(str::to_owned),
        };
        let code = match error {
            Error::Cancelled => INTERRUPTED,
            _ if progress::interrupted() => INTERRUPTED,
            _ => FAILED,
        };
        Self {
            message: chain(&error),
            hint,
            code,
            silent: false,
            nothing_to_do: matches!(
                error,
                Error::NothingIndexed(_) | Error::Artifact { .. } | Error::NotAnImage { .. }
            ),
        }
    }
}

impl From<sociable_oci::Error> for CliError {
    fn from(error: sociable_oci::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        Self {
            hint: error.hint().map(str::to_owned),
            ..Self::usage(error.to_string())
        }
    }
}

impl From<CacheError> for CliError {
    fn from(error: CacheError) -> Self {
        Self::failed(chain(&error))
    }
}

fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::NothingIndexed(reasons)
            if reasons
                .iter()
                .any(|r| matches!(r, SkipReason::TooSmall { .. })) =>
        {
            "small layers are quicker to fetch whole; --min-layer-size 0 indexes them all the same"
        }
        Error::NothingIndexed(reasons)
            if reasons
                .iter()
                .any(|r| matches!(r, SkipReason::Policy { .. })) =>
        {
            "a policy decided so; without --policy selection=… layers are indexed by their size"
        }
        Error::NothingIndexed(_) => {
            "build the image with gzip layers (buildx: -o type=oci,compression=gzip)"
        }
        Error::Layer { source, .. } => index_hint(source)?,
        Error::NoPlatform { .. } => "name one of these with --platform, or take --all-platforms",
        Error::Moved { .. } => "run the command again, for what is there now",
        Error::PlainLayer { .. } => {
            "`sociable convert` compresses and indexes such layers in one pass"
        }
        Error::NoIndex { .. } => "make one with `sociable convert`",
        Error::Encode { .. } => "a larger --span-size makes a smaller zTOC",
        Error::Unseen { .. } => "only gzip layers and plain tars can be indexed",
        Error::Oci(oci) => oci_hint(oci)?,
        _ => return None,
    })
}

/// What to do about a layer that cannot be indexed.
pub(crate) fn index_hint(error: &IndexError) -> Option<&'static str> {
    Some(match error {
        IndexError::Sparse { .. } | IndexError::Unreadable(_) => {
            "--allow-unreadable writes the index that the SOCI tools would write"
        }
        IndexError::UnsupportedEntry { .. } => {
            "soci-snapshotter refuses such layers too; pack the layer without this entry"
        }
        IndexError::Limit { what, .. } if what.contains("entries") => {
            "--max-entries raises the limit; an entry takes some 300 bytes of memory"
        }
        IndexError::Limit { what, .. } if what.contains("spans") => "use a larger --span-size",
        IndexError::Limit { .. } => "if you trust the layer, --max-ratio raises the limit",
        IndexError::TrailingGarbage { .. } | IndexError::Truncated { .. } => {
            "fetch or build the layer again"
        }
        _ => return None,
    })
}

fn oci_hint(error: &sociable_oci::Error) -> Option<&'static str> {
    Some(match error {
        sociable_oci::Error::Verify { .. } | sociable_oci::Error::NoBlob { .. } => {
            "the source is damaged or incomplete; fetch it again"
        }
        sociable_oci::Error::Containerd(error) => containerd_hint(error)?,
        sociable_oci::Error::WhichImage { .. } => {
            "name an image after the file: docker-archive:FILE:REFERENCE"
        }
        sociable_oci::Error::Daemon { source, .. } => daemon_hint(source)?,
        _ => return None,
    })
}

fn containerd_hint(error: &ContainerdError) -> Option<&'static str> {
    Some(match error {
        ContainerdError::Connect { source, .. } => match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "the socket is root's, as a rule: run as root, or as a user that it belongs to"
            }
            _ => "is containerd running? --containerd-address names another socket",
        },
        ContainerdError::NoImage { found_in, .. } if !found_in.is_empty() => {
            "name the namespace with --containerd-namespace"
        }
        ContainerdError::NoImage { .. } => {
            "`ctr --namespace NAME images ls` lists images; --containerd-namespace names the namespace"
        }
        ContainerdError::BadNamespace { .. } => "`ctr namespaces ls` lists them",
        ContainerdError::DigestAsDestination { .. } => "name the new image by a tag",
        _ => return None,
    })
}

fn daemon_hint(error: &DaemonError) -> Option<&'static str> {
    Some(match error {
        DaemonError::Unreachable(_) => {
            "start Docker, or say with DOCKER_HOST where it listens (unix://PATH or tcp://HOST:PORT; contexts are not looked at)"
        }
        DaemonError::Forbidden(_) => {
            "run as root, or as a member of the group that owns the socket (mostly docker)"
        }
        DaemonError::Tls | DaemonError::Address(_) => {
            "forward its socket (ssh -L /tmp/docker.sock:/var/run/docker.sock HOST), and set DOCKER_HOST=unix:///tmp/docker.sock"
        }
        DaemonError::NoImage => "docker image ls lists what it has; docker pull gets an image",
        DaemonError::Store(_) => {
            "push the image to a registry instead, or turn on containerd's image store: \
             {\"features\": {\"containerd-snapshotter\": true}} in Docker's daemon.json"
        }
        _ => return None,
    })
}
