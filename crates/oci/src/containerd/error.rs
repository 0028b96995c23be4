//! What goes wrong between containerd and this program.

use std::fmt;
use std::io;

use crate::error::Error;

/// Why an image in containerd cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerdError {
    /// No socket, nobody behind it, or no permission.
    #[error("cannot connect to containerd at {address}")]
    Connect {
        /// The socket.
        address: String,
        /// Why; its kind tells the three apart.
        source: io::Error,
    },
    /// A namespace that cannot be.
    #[error(
        "{namespace:?} is no namespace of containerd: letters and digits, separated by - . or _"
    )]
    BadNamespace {
        /// What was asked for.
        namespace: String,
    },
    /// There is no such image.
    #[error("{place} has no image {}{}", tried.join(" or "), elsewhere(*images, found_in, namespaces))]
    NoImage {
        /// Socket and namespace.
        place: String,
        /// The names that were looked for.
        tried: Vec<String>,
        /// How many images the namespace has.
        images: usize,
        /// Namespaces that have such an image.
        found_in: Vec<String>,
        /// All namespaces.
        namespaces: Vec<String>,
    },
    /// A destination with a digest, which names what is there already.
    #[error("{reference:?} has a digest, so it cannot name an image that is yet to be made")]
    DigestAsDestination {
        /// The reference.
        reference: String,
    },
    /// containerd refused, or broke off.
    #[error("cannot {action} {place}")]
    Refused {
        /// What was to be done, such as `read a blob from`.
        action: &'static str,
        /// Socket and namespace.
        place: String,
        /// What containerd said.
        source: Refusal,
    },
    /// An answer that makes no sense.
    #[error("containerd at {place} gave an answer that cannot be used: {why}")]
    BadAnswer {
        /// Socket and namespace.
        place: String,
        /// What is wrong.
        why: String,
    },
}

fn elsewhere(images: usize, found_in: &[String], namespaces: &[String]) -> String {
    if !found_in.is_empty() {
        return match found_in {
            [one] => format!("; the namespace {one} has it"),
            several => format!("; the namespaces {} have it", several.join(", ")),
        };
    }
    match (images, namespaces) {
        (0, []) => ": it has no namespaces yet".to_owned(),
        (0, namespaces) => format!(
            ": this namespace is empty; there {} {}",
            if namespaces.len() == 1 { "is" } else { "are" },
            namespaces.join(", ")
        ),
        _ => String::new(),
    }
}

/// What containerd said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: tonic::Code,
    message: String,
}

impl Refusal {
    pub(super) fn code(&self) -> tonic::Code {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether containerd has not got what was asked for.
    pub(super) fn is_absence(&self) -> bool {
        self.code == tonic::Code::NotFound
    }

    /// Whether what was to be made is there already.
    pub(super) fn is_presence(&self) -> bool {
        self.code == tonic::Code::AlreadyExists
    }

    pub(super) fn timeout(seconds: u64) -> Self {
        Self {
            code: tonic::Code::DeadlineExceeded,
            message: format!("no answer within {seconds} s"),
        }
    }

    pub(super) fn misplaced(expected: i64, actual: i64) -> Self {
        Self {
            code: tonic::Code::DataLoss,
            message: format!("it has {actual} bytes after {expected} were sent"),
        }
    }

    pub(super) fn end() -> Self {
        Self {
            code: tonic::Code::Unavailable,
            message: "it ended the conversation".to_owned(),
        }
    }

    /// For `map_err`: what was to be done, and where.
    pub(super) fn on(action: &'static str, place: &str) -> impl FnOnce(Self) -> Error {
        let place = place.to_owned();
        move |source| {
            ContainerdError::Refused {
                action,
                place,
                source,
            }
            .into()
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return fmt::Display::fmt(&self.code, f);
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        // What broke a connection is further down the chain; the layers between repeat it, or say nothing.
        let mut message = status.message().to_owned();
        let mut next = std::error::Error::source(&status);
        while let Some(cause) = next {
            let text = cause.to_string();
            if text != "transport error" && !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            next = cause.source();
        }
        Self {
            code: status.code(),
            message,
        }
    }
}

impl From<ContainerdError> for Error {
    fn from(error: ContainerdError) -> Self {
        Self::Containerd(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_not_there() {
        let list = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let error = |images, found_in: &[&str], namespaces: &[&str]| {
            ContainerdError::NoImage {
                place: "containerd at s (namespace n)".to_owned(),
                tried: list(&["app", "docker.io/library/app:latest"]),
                images,
                found_in: list(found_in),
                namespaces: list(namespaces),
            }
            .to_string()
        };
        let start =
            "containerd at s (namespace n) has no image app or docker.io/library/app:latest";
        assert_eq!(error(3, &[], &["n"]), start);
        assert_eq!(
            error(3, &["k8s.io"], &["n", "k8s.io"]),
            format!("{start}; the namespace k8s.io has it")
        );
        assert_eq!(
            error(3, &["k8s.io", "moby"], &[]),
            format!("{start}; the namespaces k8s.io, moby have it")
        );
        assert_eq!(
            error(0, &[], &["k8s.io", "moby"]),
            format!("{start}: this namespace is empty; there are k8s.io, moby")
        );
    }
}
