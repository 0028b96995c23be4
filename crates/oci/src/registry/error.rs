//! What goes wrong between this program and a registry.

use std::fmt;
use std::time::Duration;

/// A request that failed for good.
///
/// Its message names the request; queries are cut off, as they may hold secrets.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url} failed{}: {failure}", tries(*.attempts))]
pub struct RegistryError {
    /// The host as the user named it.
    pub host: String,
    /// The method.
    pub method: String,
    /// The URL, without its query.
    pub url: String,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it failed.
    pub failure: Failure,
}

fn tries(attempts: u32) -> String {
    match attempts {
        0 | 1 => String::new(),
        n => format!(" {n} times"),
    }
}

/// Why a request failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The registry said no.
    Status {
        /// The HTTP status.
        code: u16,
        /// What it said of it.
        errors: Vec<ApiError>,
    },
    /// There was no answer, or it broke off.
    Transport {
        /// Whether no connection could be made.
        connecting: bool,
        /// What the library below says.
        why: String,
    },
    /// Both sides could not agree on an encrypted connection: no TLS there, or a certificate that nobody trusts.
    Tls(String),
    /// Next to nothing came for so long.
    Stalled(Duration),
    /// The registry asks to wait for longer than the user wants to.
    Wait(Duration),
    /// It redirects on and on, or to where one must not go.
    Redirect(String),
    /// The answer breaks the protocol.
    Answer(String),
    /// No credentials could be had.
    Credentials(String),
    /// The user wanted to stop.
    Interrupted,
}

/// One entry of a registry's error body (distribution-spec, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN`, …
    pub code: String,
    /// In words.
    pub message: String,
}

/// Most of a registry's own words that are repeated in a message.
const MAX_WORDS: usize = 300;

impl ApiError {
    /// Reads an error body; one of another form gives nothing.
    pub(crate) fn parse(body: &[u8]) -> Vec<Self> {
        #[derive(serde::Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<Entry>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: Option<String>,
        }
        let short = |text: String| text.chars().take(MAX_WORDS).collect::<String>();
        serde_json::from_slice::<Body>(body)
            .map(|body| {
                body.errors
                    .into_iter()
                    .take(3)
                    .map(|entry| Self {
                        code: short(entry.code),
                        message: short(entry.message.unwrap_or_default()),
                    })
                    .collect()
            })
            .unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, errors } => {
                let name = reqwest::StatusCode::from_u16(*code)
                    .ok()
                    .and_then(|status| status.canonical_reason())
                    .unwrap_or("unknown status");
                write!(f, "{code} {name}")?;
                for error in errors {
                    write!(f, ": {}", error.code)?;
                    if !error.message.is_empty() {
                        write!(f, ": {}", error.message)?;
                    }
                }
                Ok(())
            }
            Self::Stalled(after) => write!(
                f,
                "it stalled: next to nothing came for {} s",
                after.as_secs()
            ),
            Self::Wait(wait) => write!(f, "the registry asks to wait for {} s", wait.as_secs()),
            Self::Transport { why, .. }
            | Self::Tls(why)
            | Self::Redirect(why)
            | Self::Answer(why)
            | Self::Credentials(why) => f.write_str(why),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl Failure {
    /// The HTTP status, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the registry's words contain one of these.
    #[must_use]
    pub fn says(&self, words: &[&str]) -> bool {
        let Self::Status { errors, .. } = self else {
            return false;
        };
        errors.iter().any(|error| {
            words
                .iter()
                .any(|word| error.code.contains(word) || error.message.contains(word))
        })
    }

    /// Whether the same request may well succeed a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Status { code, .. } => {
                matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            Self::Transport { .. } | Self::Stalled(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says() {
        let body = br#"{"errors":[{"code":"TAG_INVALID","message":"immutable","detail":{}},{"code":"X"}]}"#;
        let failure = Failure::Status {
            code: 400,
            errors: ApiError::parse(body),
        };
        assert_eq!(
            failure.to_string(),
            "400 Bad Request: TAG_INVALID: immutable: X"
        );
        assert!(failure.says(&["immutable"]) && !failure.says(&["other"]));
        assert!(ApiError::parse(b"<html>").is_empty());
        assert!(ApiError::parse(br#"{"errors":[{"code":"A","message":null}]}"#).len() == 1);
    }
}
