//! Why a build failed.

use bollard_buildkit_proto::google::rpc;
use prost::Message as _;

use crate::llb::GraphError;

/// Why a build failed. What BuildKit said goes back to BuildKit unchanged, so that the user sees the step, its output and
/// the line of the Dockerfile, as without a frontend of one's own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// BuildKit answered with an error.
    #[error("{}: {}", asked, status.message)]
    BuildKit {
        /// What was asked.
        asked: &'static str,
        /// The answer, with all its details.
        status: Box<rpc::Status>,
    },
    /// There is no BuildKit at the other end.
    #[error("cannot talk with BuildKit")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer that breaks the protocol.
    #[error("BuildKit's answer to {asked} is wrong: {why}")]
    Answer {
        /// What was asked.
        asked: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A graph that cannot be read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What the frontend itself has to say.
    #[error("{0}")]
    Message(String),
}

/// gRPC's code for whatever has no other.
const UNKNOWN: i32 = 2;

impl Error {
    /// What a frontend has to say to its user.
    #[must_use]
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    pub(crate) fn of(asked: &'static str, status: &tonic::Status) -> Self {
        // The details hold a whole status, as gRPC has it; where there are none, code and message are all there is.
        let status = rpc::Status::decode(status.details())
            .ok()
            .filter(|detailed| !detailed.message.is_empty())
            .unwrap_or_else(|| rpc::Status {
                code: status.code() as i32,
                message: status.message().to_owned(),
                details: Vec::new(),
            });
        Self::BuildKit {
            asked,
            status: Box::new(status),
        }
    }

    /// What is returned to BuildKit.
    #[must_use]
    pub fn into_status(self) -> rpc::Status {
        match self {
            Self::BuildKit { status, .. } => *status,
            other => rpc::Status {
                code: UNKNOWN,
                message: chain(&other),
                details: Vec::new(),
            },
        }
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Any;

    #[test]
    fn details_go_back_as_they_came() {
        let original = rpc::Status {
            code: 13,
            message: "process \"/bin/sh -c false\" did not complete".to_owned(),
            details: vec![Any {
                type_url: "github.com/moby/buildkit/errdefs.Source+json".to_owned(),
                value: b"{}".to_vec(),
            }],
        };
        let status = tonic::Status::with_details(
            tonic::Code::Internal,
            "short",
            original.encode_to_vec().into(),
        );
        assert_eq!(Error::of("Solve", &status).into_status(), original);
    }

    #[test]
    fn without_details_there_is_a_code_and_a_message() {
        let status = Error::of("Solve", &tonic::Status::cancelled("context canceled"));
        let status = status.into_status();
        assert_eq!((status.code, &*status.message), (1, "context canceled"));
        let own = Error::message("no such option").into_status();
        assert_eq!((own.code, &*own.message), (2, "no such option"));
    }
}
