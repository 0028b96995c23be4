//! Where an image is: `oci:DIR[:TAG]` and its relatives, with skopeo's names (containers-transports(5)), and containerd.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::access::Access;
use crate::containerd::{ContainerdSink, ContainerdSource};
use crate::docker_archive::DockerArchive;
use crate::docker_daemon::{Daemon, DockerDaemonSink};
use crate::error::{Error, Result};
use crate::oci_archive::{OciArchive, OciArchiveSink};
use crate::oci_dir::{OciDir, OciDirSink};
use crate::oci_stream::OciStreamSink;
use crate::registry::Reference;
use crate::registry::reference::ParseReferenceError;
use crate::sink::Sink;
use crate::source::Source;

/// A parsed transport string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// `oci:DIR[:TAG]`, a layout directory.
    OciDir {
        /// The directory.
        path: PathBuf,
        /// The tag.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`, a tar of a layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The tag.
        tag: Option<String>,
    },
    /// `docker://REFERENCE`, an image in a registry.
    Registry(Reference),
    /// `containerd:REFERENCE`, an image in containerd's store.
    Containerd {
        /// The image's name, as containerd or Docker spell it.
        reference: String,
    },
    /// `docker-archive:FILE[:REFERENCE]`, what `docker save` writes.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which image in it, if there are several.
        reference: Option<String>,
    },
    /// `docker-daemon:REFERENCE`, an image of a running Docker.
    DockerDaemon {
        /// Name or ID of the image.
        reference: String,
    },
    /// `-`, a streamed oci-archive on standard input or output.
    Stream,
}

/// What this version reads and writes, for messages.
pub const SUPPORTED: &str = "docker://HOST/REPO[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE], \
     docker-daemon:REFERENCE, containerd:REFERENCE and - (an oci-archive on standard input or output)";

/// Transports that exist elsewhere: skopeo's.
const ELSEWHERE: &[&str] = &[
    "dir",
    "containers-storage",
    "ostree",
    "sif",
    "tarball",
    "atomic",
];

/// Why a text is no [`Transport`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTransportError {
    /// A known transport that is still to come.
    #[error(
        "{text:?}: the transport {name:?} is not supported yet by this version, which knows {SUPPORTED}"
    )]
    NotYet {
        /// The text.
        text: String,
        /// The transport.
        name: String,
    },
    /// Something in front of a colon that is no transport.
    #[error("{text:?}: there is no transport {name:?}; this version knows {SUPPORTED}")]
    Unknown {
        /// The text.
        text: String,
        /// What stands in front of the colon.
        name: String,
    },
    /// No transport at all.
    #[error(
        "{text:?} has no transport in front: did you mean oci:{text}? This version knows {SUPPORTED}"
    )]
    Missing {
        /// The text.
        text: String,
    },
    /// A transport and no path.
    #[error("{text:?} has no path after the transport; this version knows {SUPPORTED}")]
    NoPath {
        /// The text.
        text: String,
    },
    /// Something behind `docker://` that is no reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// `docker:` without the slashes.
    #[error("{text:?}: a registry's image is written with slashes, docker://{rest}")]
    NoSlashes {
        /// The text.
        text: String,
        /// What stands behind the colon.
        rest: String,
    },
    /// `containerd:` and nothing else, or something that no terminal should see.
    #[error("{text:?} has no image name after the transport; this version knows {SUPPORTED}")]
    NoReference {
        /// The text.
        text: String,
    },
    /// Not the name of an image.
    #[error(
        "{text:?}: {reference:?} is no name or ID of an image in a Docker daemon: NAME[:TAG] or sha256:ID"
    )]
    BadReference {
        /// The text.
        text: String,
        /// The name.
        reference: String,
    },
    /// A tag with forbidden characters.
    #[error(
        "{text:?}: the tag {tag:?} is not allowed: letters and digits, separated by - . _ : @ + /, as the image-spec has it"
    )]
    BadTag {
        /// The text.
        text: String,
        /// The tag.
        tag: String,
    },
}

impl FromStr for Transport {
    type Err = ParseTransportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || text.to_owned();
        if text == "-" {
            return Ok(Self::Stream);
        }
        let Some((name, rest)) = text.split_once(':') else {
            return Err(ParseTransportError::Missing { text: owned() });
        };
        match name {
            "docker" => {
                let reference = rest.strip_prefix("//");
                let reference = reference.ok_or_else(|| ParseTransportError::NoSlashes {
                    text: owned(),
                    rest: rest.trim_start_matches('/').to_owned(),
                })?;
                return Ok(Self::Registry(reference.parse()?));
            }
            "containerd" if rest.is_empty() || rest.contains(char::is_control) => {
                return Err(ParseTransportError::NoReference { text: owned() });
            }
            "containerd" => {
                return Ok(Self::Containerd {
                    reference: rest.to_owned(),
                });
            }
            "docker-daemon" => return daemon(text, rest),
            "oci" | "oci-archive" | "docker-archive" => {}
            _ if ELSEWHERE.contains(&name) => {
                return Err(ParseTransportError::NotYet {
                    text: owned(),
                    name: name.to_owned(),
                });
            }
            _ if name.is_empty() || name.contains(['/', '.']) => {
                return Err(ParseTransportError::Missing { text: owned() });
            }
            _ => {
                return Err(ParseTransportError::Unknown {
                    text: owned(),
                    name: name.to_owned(),
                });
            }
        }
        // As containers/image does it: the path ends at the first colon, the rest is the tag, which may hold more.
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if !tag.is_empty() => (path, Some(tag)),
            Some((path, _)) => (path, None),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(ParseTransportError::NoPath { text: owned() });
        }
        if name == "docker-archive" {
            return Ok(Self::DockerArchive {
                path: PathBuf::from(path),
                reference: tag.map(str::to_owned),
            });
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ParseTransportError::BadTag {
                text: owned(),
                tag: tag.to_owned(),
            });
        }
        let (path, tag) = (PathBuf::from(path), tag.map(str::to_owned));
        Ok(if name == "oci" {
            Self::OciDir { path, tag }
        } else {
            Self::OciArchive { path, tag }
        })
    }
}

/// Docker's names and IDs go into the path of a request, and are checked for what has no place in one.
fn daemon(text: &str, reference: &str) -> Result<Transport, ParseTransportError> {
    let named = reference
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b));
    let plain = !reference
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."));
    if !named || !plain || reference.starts_with(['-', ':', '@']) {
        return Err(ParseTransportError::BadReference {
            text: text.to_owned(),
            reference: reference.to_owned(),
        });
    }
    Ok(Transport::DockerDaemon {
        reference: reference.to_owned(),
    })
}

/// Whether Docker takes a reference for the ID of an image.
fn is_id(reference: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    reference.strip_prefix("sha256:").is_some_and(hex) || (reference.len() == 64 && hex(reference))
}

/// The grammar of `org.opencontainers.image.ref.name` (image-spec, `annotations.md`).
fn is_tag(tag: &str) -> bool {
    tag.split('/').all(|component| {
        let bytes = component.as_bytes();
        let mut separators = 0;
        let legal = bytes.iter().enumerate().all(|(i, b)| {
            if b.is_ascii_alphanumeric() {
                separators = 0;
                return true;
            }
            separators += 1;
            // "--" is one separator.
            b"-._:@+".contains(b)
                && (separators == 1 || (separators == 2 && *b == b'-' && bytes[i - 1] == b'-'))
        });
        legal && separators == 0 && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
    })
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, path, tag) = match self {
            Self::Stream => return f.write_str("-"),
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::DockerDaemon { reference } => return write!(f, "docker-daemon:{reference}"),
            Self::DockerArchive { path, reference } => ("docker-archive", path, reference),
            Self::OciDir { path, tag } => ("oci", path, tag),
            Self::OciArchive { path, tag } => ("oci-archive", path, tag),
            Self::Containerd { reference } => return write!(f, "containerd:{reference}"),
        };
        write!(f, "{name}:{}", path.display())?;
        tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl Transport {
    /// The tag that selects an image from `index.json`. Docker's transports offer one image only.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::OciDir { tag, .. } | Self::OciArchive { tag, .. } => tag.as_deref(),
            Self::Registry(_)
            | Self::Containerd { .. }
            | Self::DockerArchive { .. }
            | Self::DockerDaemon { .. }
            | Self::Stream => None,
        }
    }

    /// The path, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::OciDir { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => Some(path),
            Self::Registry(_)
            | Self::Containerd { .. }
            | Self::DockerDaemon { .. }
            | Self::Stream => None,
        }
    }

    /// Whether two name the same place, so that an image would be changed where it is.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry(a), Self::Registry(b)) => a.name == b.name && a.tag == b.tag,
            (Self::Containerd { reference: a }, Self::Containerd { reference: b })
            | (Self::DockerDaemon { reference: a }, Self::DockerDaemon { reference: b }) => a == b,
            _ => self.path().is_some() && self.path() == other.path(),
        }
    }

    /// Whether layers are stored as plain tars there because of how the place stores layers, and not because somebody
    /// wanted them plain: such layers are packed before they go elsewhere.
    #[must_use]
    pub fn has_plain_layers(&self) -> bool {
        matches!(self, Self::DockerArchive { .. } | Self::DockerDaemon { .. })
    }

    /// Opens the image for reading; `None` for [`Transport::Stream`] and [`Transport::DockerDaemon`], which have no
    /// random access and are read with [`crate::oci_stream::StreamReader`].
    ///
    /// # Errors
    /// When there is no such image.
    pub fn open(&self, access: &Access) -> Result<Option<Box<dyn Source>>> {
        Ok(match self {
            Self::OciDir { path, .. } => Some(Box::new(OciDir::open(path)?)),
            Self::OciArchive { path, .. } => Some(Box::new(OciArchive::open(path)?)),
            Self::Registry(reference) => Some(Box::new(access.registries()?.source(reference))),
            Self::Containerd { reference } => Some(Box::new(ContainerdSource::open(
                reference,
                &access.containerd,
            )?)),
            Self::DockerArchive { path, reference } => {
                Some(Box::new(DockerArchive::open(path, reference.as_deref())?))
            }
            Self::DockerDaemon { .. } | Self::Stream => None,
        })
    }

    /// Opens the stream of a [`Transport::DockerDaemon`]; `None` for others. Standard input is for the caller to open.
    ///
    /// # Errors
    /// When there is no daemon, or no such image in it.
    pub fn export(&self) -> Result<Option<Box<dyn Read + Send>>> {
        Ok(match self {
            Self::DockerDaemon { reference } => {
                Some(Box::new(Daemon::from_env(reference, "read")?.export()?))
            }
            _ => None,
        })
    }

    /// Opens the destination for writing; the stream is standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(&self, access: &Access) -> Result<Box<dyn Sink>, Error> {
        Ok(match self {
            Self::OciDir { path, .. } => Box::new(OciDirSink::create(path)?),
            Self::OciArchive { path, .. } => Box::new(OciArchiveSink::create(path)?),
            Self::Registry(reference) => Box::new(access.registries()?.sink(reference)?),
            Self::Containerd { reference } => {
                Box::new(ContainerdSink::create(reference, &access.containerd)?)
            }
            Self::DockerArchive { .. } => {
                return Err(Error::ReadOnly {
                    place: self.to_string(),
                    why: "a Docker archive has no image index, and so no place for a SOCI index; write an \
                          oci-archive:FILE, which `docker load` takes too",
                });
            }
            Self::DockerDaemon { reference } if reference.contains('@') || is_id(reference) => {
                return Err(Error::ReadOnly {
                    place: self.to_string(),
                    why: "an image's digest comes of what is written; give it a name",
                });
            }
            Self::DockerDaemon { reference } => Box::new(DockerDaemonSink::create(
                Daemon::from_env(reference, "load")?,
            )?),
            Self::Stream => {
                const NAME: &str = "standard output";
                // Past the standard library's line buffering, which is for text.
                let stdout = std::io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(Error::io("open", NAME))?;
                Box::new(OciStreamSink::new(File::from(stdout), NAME)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_and_printed() {
        for (text, path, tag) in [
            ("oci:dir", "dir", None),
            ("oci:a/b:v1", "a/b", Some("v1")),
            ("oci:a:example.com/x:v1", "a", Some("example.com/x:v1")),
            ("oci-archive:/x/y.tar", "/x/y.tar", None),
            ("oci-archive:y.tar:a--b", "y.tar", Some("a--b")),
        ] {
            let parsed: Transport = text.parse().unwrap();
            assert_eq!(parsed.path(), Some(Path::new(path)));
            assert_eq!(parsed.tag(), tag);
            assert_eq!(parsed.to_string(), text);
        }
        let parsed: Transport = "containerd:example.com:5000/app:1".parse().unwrap();
        assert_eq!(parsed.to_string(), "containerd:example.com:5000/app:1");
        assert_eq!((parsed.path(), parsed.tag()), (None, None));
        assert_eq!("-".parse(), Ok(Transport::Stream));
        for (text, path, reference) in [
            ("docker-archive:a.tar", "a.tar", None),
            ("docker-archive:/a/b.tar:app:1", "/a/b.tar", Some("app:1")),
            (
                "docker-archive:b.tar:localhost:5000/x:y",
                "b.tar",
                Some("localhost:5000/x:y"),
            ),
            ("docker-archive:b.tar:@1", "b.tar", Some("@1")),
        ] {
            let parsed: Transport = text.parse().unwrap();
            assert_eq!(
                parsed,
                Transport::DockerArchive {
                    path: path.into(),
                    reference: reference.map(str::to_owned)
                }
            );
            assert_eq!(parsed.to_string(), text);
            assert!(parsed.has_plain_layers());
            let error = parsed.create(&Access::default()).err().unwrap().to_string();
            assert!(error.contains("write an oci-archive:FILE"), "{error}");
        }
        for reference in ["app", "example.com:5000/a/b:c", "sha256:00", "a@sha256:00"] {
            let text = format!("docker-daemon:{reference}");
            let parsed: Transport = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert!(parsed.has_plain_layers());
        }
        for id in ["sha256:00", "a@sha256:00"] {
            let parsed: Transport = format!("docker-daemon:{id}").parse().unwrap();
            let error = parsed.create(&Access::default()).err().unwrap().to_string();
            assert!(error.contains("give it a name"), "{error}");
        }
        assert_eq!("oci:dir:".parse::<Transport>().unwrap().tag(), None);
    }

    #[test]
    fn refused_with_a_way_out() {
        for (text, words) in [
            (
                "sif:alpine",
                "not supported yet by this version, which knows docker://HOST",
            ),
            ("docker:alpine", "docker://alpine"),
            ("docker://", "no image reference"),
            ("docker://A", "no image reference"),
            ("containerd:", "no image name"),
            ("containerd:a\nb", "no image name"),
            ("dir:x", "not supported yet"),
            ("alpine:latest", "there is no transport \"alpine\""),
            ("some/path", "did you mean oci:some/path?"),
            ("./x:y", "did you mean oci:./x:y?"),
            ("path", "did you mean oci:path?"),
            ("", "no transport"),
            ("oci:", "no path"),
            ("oci::v1", "no path"),
            ("docker-archive:", "no path"),
            ("docker-daemon:", "no name or ID"),
            ("docker-daemon:a b", "no name or ID"),
            ("docker-daemon:a/../b", "no name or ID"),
            ("docker-daemon:a?x", "no name or ID"),
            ("docker-daemon:/a", "no name or ID"),
            ("oci:x:-", "tag"),
            ("oci:x:a---b", "tag"),
            ("oci:x:a..b", "tag"),
            ("oci:x:a/", "tag"),
            ("oci:x:a b", "tag"),
        ] {
            let error = text.parse::<Transport>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
