//! `docker sociable …`: a plugin of Docker's command line, if the program is called `docker-sociable`.
//!
//! Docker (`cli-plugins` of docker/cli) looks for `docker-*` in `~/.docker/cli-plugins` and others, asks each with
//! `docker-cli-plugin-metadata` what it is, and runs it with all words behind `docker`, its own options included:
//! `docker-sociable --context far sociable build .`, or `help sociable build`. What is meant for Docker goes back to the Docker
//! that `sociable build` runs.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::build::docker::Docker;
use crate::output;

/// What the program is called as a plugin.
const PROGRAM: &str = "docker-sociable";
/// What the plugin is called in docker's words.
const NAME: &str = "sociable";

/// Options of docker's own that take a value.
const VALUED: &[&str] = &[
    "--config",
    "--context",
    "-c",
    "--host",
    "-H",
    "--log-level",
    "-l",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// How the program was called.
pub(crate) struct Called {
    /// The command line as it would be without docker.
    pub(crate) words: Vec<OsString>,
    /// The docker that is meant.
    pub(crate) docker: Docker,
}

impl Called {
    /// Does what a plugin has to: `Err` if that was all.
    pub(crate) fn with(words: Vec<OsString>) -> Result<Self, ExitCode> {
        let program = words.first().map(Path::new).and_then(Path::file_stem);
        if program != Some(OsStr::new(PROGRAM)) {
            return Ok(Self {
                words,
                docker: Docker::default(),
            });
        }
        if words
            .get(1)
            .is_some_and(|word| word == "docker-cli-plugin-metadata")
        {
            return Err(match output::print_json(&metadata()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => error.report(),
            });
        }
        end_with_docker();
        Ok(plugged(&words))
    }
}

fn metadata() -> serde_json::Value {
    json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "Sociable",
        "Version": env!("CARGO_PKG_VERSION"),
        "ShortDescription": "Images that start before they are downloaded: SOCI indexes",
        "URL": env!("CARGO_PKG_REPOSITORY"),
    })
}

/// Parts docker's words from ours.
fn plugged(words: &[OsString]) -> Called {
    let mut options: Vec<OsString> = Vec::new();
    // Clap shows it as the program's name.
    let mut ours: Vec<OsString> = vec!["docker sociable".into()];
    let mut config = None;
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        match &*text {
            NAME => break,
            "help" | "--help" | "-h" => ours.push("help".into()),
            _ if !text.starts_with('-') => {
                // Called by hand, without docker's part.
                ours.push(word.clone());
                break;
            }
            _ => {
                options.push(word.clone());
                if let Some(dir) = text.strip_prefix("--config=") {
                    config = Some(PathBuf::from(dir));
                }
                if VALUED.contains(&&*text)
                    && let Some(value) = rest.next()
                {
                    options.push(value.clone());
                    if text == "--config" {
                        config = Some(value.into());
                    }
                }
            }
        }
    }
    ours.extend(rest.cloned());
    Called {
        words: ours,
        docker: Docker {
            program: std::env::var_os("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND")
                .filter(|program| !program.is_empty())
                .unwrap_or_else(|| "docker".into()),
            options,
            config: config
                .map(|dir| dir.join("config.json"))
                .filter(|file| file.is_file()),
        },
    }
}

/// Docker does not pass signals on where there is no terminal: it closes a socket.
fn end_with_docker() {
    use std::io::{ErrorKind, Read as _};

    let Some(mut docker) = std::env::var("DOCKER_CLI_PLUGIN_SOCKET")
        .ok()
        .and_then(|name| connect(&name))
    else {
        return;
    };
    std::thread::spawn(move || {
        loop {
            match docker.read(&mut [0]) {
                Ok(0) => return crate::progress::interrupt(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

/// As Go: `@NAME` is no file, but a name that Linux keeps.
fn connect(name: &str) -> Option<std::os::unix::net::UnixStream> {
    use std::os::unix::net::UnixStream;
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
        return UnixStream::connect_addr(&address).ok();
    }
    UnixStream::connect(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> (Vec<String>, Vec<String>) {
        let words = shlex::split(line).expect("a line");
        let called = Called::with(words.into_iter().map(OsString::from).collect());
        let Ok(called) = called else {
            panic!("{line}: a command");
        };
        let text = |words: Vec<OsString>| -> Vec<String> {
            words
                .into_iter()
                .map(|w| w.into_string().expect("text"))
                .collect()
        };
        (text(called.words), text(called.docker.options))
    }

    #[test]
    fn words_and_options_of_docker() {
        for (line, words, options) in [
            ("sociable build .", &["sociable", "build", "."][..], &[][..]),
            (
                "docker-sociable sociable build .",
                &["docker sociable", "build", "."],
                &[],
            ),
            (
                "/x/docker-sociable --context far -D sociable build -D .",
                &["docker sociable", "build", "-D", "."],
                &["--context", "far", "-D"],
            ),
            (
                "docker-sociable -H sociable --tlscert=x sociable ls",
                &["docker sociable", "ls"],
                &["-H", "sociable", "--tlscert=x"],
            ),
            (
                "docker-sociable help sociable build",
                &["docker sociable", "help", "build"],
                &[],
            ),
            (
                "docker-sociable sociable --help",
                &["docker sociable", "--help"],
                &[],
            ),
            ("docker-sociable sociable", &["docker sociable"], &[]),
            (
                "docker-sociable build .",
                &["docker sociable", "build", "."],
                &[],
            ),
        ] {
            let (had, with) = called(line);
            assert_eq!(
                (&had[..], &with[..]),
                (
                    &words.iter().map(ToString::to_string).collect::<Vec<_>>()[..],
                    &options.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn dockers_directory_has_dockers_credentials() {
        let dir = tempfile::tempdir().expect("a directory");
        let line = |flag: String| {
            let words = [
                "docker-sociable".into(),
                flag.into(),
                "sociable".into(),
                "ls".into(),
            ];
            plugged(&words).docker.config
        };
        let flag = format!("--config={}", dir.path().display());
        assert_eq!(line(flag.clone()), None);
        let file = dir.path().join("config.json");
        std::fs::write(&file, "{}").expect("write a file");
        assert_eq!(line(flag), Some(file));
    }

    #[test]
    fn docker_knows_us_by_this() {
        let metadata = metadata();
        assert_eq!(metadata["SchemaVersion"], "0.1.0");
        for field in ["Vendor", "Version", "ShortDescription", "URL"] {
            assert!(
                metadata[field]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{field}"
            );
        }
    }

    #[test]
    fn docker_is_heard_by_file_and_by_name() {
        use std::os::unix::net::UnixListener;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _listener = UnixListener::bind(&path).expect("listen");
        assert!(connect(path.to_str().expect("text")).is_some());
        assert!(connect("nowhere").is_none());
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt as _;
            let name = format!("sociable-test-{}", std::process::id());
            let address =
                std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
            let _listener = UnixListener::bind_addr(&address).expect("listen");
            assert!(connect(&format!("@{name}")).is_some());
        }
    }
}
