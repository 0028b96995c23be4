//! Which requests, and what becomes of them.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::http::Request;

/// A whole answer, in the place of the registry's.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An error as the distribution spec spells it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let errors = serde_json::json!({"errors": [{"code": code, "message": message}]});
        let mut answer = Self::status(status).with("Content-Type", "application/json");
        answer.body = errors.to_string().into_bytes();
        answer
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The registry is not asked.
    Answer(Answer),
    /// The connection is reset after so many bytes of the response's body.
    CutResponse {
        /// Bytes.
        after: u64,
    },
    /// The connection is reset after so many bytes of the request's body, and the registry never sees its end.
    CutRequest {
        /// Bytes.
        after: u64,
    },
    /// After so many bytes of the request's body nobody takes any more, and the connection stays open.
    StallRequest {
        /// Bytes.
        after: u64,
    },
    /// The request's body is taken in small pieces.
    DripRequest {
        /// Bytes of a piece.
        piece: usize,
        /// The time between two.
        pause: Duration,
    },
    /// The registry does what was asked, and the connection is reset before it says so.
    LoseAnswer,
    /// Nothing comes after so many bytes of the response's body, and the connection stays open.
    Stall {
        /// Bytes.
        after: u64,
    },
    /// The response's body comes in small pieces.
    Drip {
        /// Bytes of a piece.
        piece: usize,
        /// The time between two.
        pause: Duration,
    },
    /// One bit of the response's body is another.
    Flip {
        /// Which byte.
        at: u64,
    },
    /// The response's body is shorter by so many bytes, and its head says so.
    Truncate {
        /// Bytes.
        by: u64,
    },
    /// The response's body is longer by so many zeros, and its head says so.
    Extend {
        /// Bytes.
        by: u64,
    },
    /// The head claims so many bytes more than come.
    ClaimMore {
        /// Bytes.
        by: u64,
    },
    /// `Range` is ignored, as a registry may that does not know it.
    NoRange,
    /// The answer to `Range` is another range, and says so.
    WrongRange,
    /// A header of the response is left out.
    Without(&'static str),
    /// The response's body is another one; `HEAD` still tells of the registry's.
    Instead(Vec<u8>),
    /// The upload session is gone, and stays so.
    LoseUpload,
    /// Sent to another `HOST:PORT`, same path.
    RedirectTo(String),
    /// Sent to itself.
    RedirectLoop,
    /// A mount is not done: an upload begins instead, as the specification allows.
    RefuseMount,
    /// A body of more than so many bytes is refused.
    BodyLimit(u64),
    /// A tag that is there already stays as it is, and may be written once more as such; the words are those of ECR.
    ImmutableTags,
    /// Uploads are taken whole or not at all.
    NoPatch,
}

impl Fault {
    /// A status and an error code that fits.
    pub fn status(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "NAME_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self::Answer(Answer::error(
            status,
            code,
            "this is what the test asked for",
        ))
    }
}

type Condition = Box<dyn Fn(&Request) -> bool + Send>;

/// A fault and when it happens.
pub struct Rule {
    method: String,
    part: String,
    condition: Option<Condition>,
    times: Range<usize>,
    each_path: bool,
    seen: HashMap<String, usize>,
    fault: Fault,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method,
            part,
            fault,
            ..
        } = self;
        write!(f, "{method} {part}: {fault:?}")
    }
}

/// See [`super::Exchange::is`].
pub(super) fn on(request: &Request, method: &str, part: &str) -> bool {
    let mut methods = method.split('|');
    methods.any(|m| m == "*" || m == request.method) && request.path().contains(part)
}

impl Rule {
    /// For requests of a method, or of one of several (`GET|HEAD`; `*` is any), on a path with a part: every one of them,
    /// unless the methods below say otherwise.
    pub fn on(method: &str, part: &str) -> Self {
        Self {
            method: method.to_owned(),
            part: part.to_owned(),
            condition: None,
            times: 0..usize::MAX,
            each_path: false,
            seen: HashMap::new(),
            fault: Fault::status(500),
        }
    }

    /// Only those of which this is true.
    #[must_use]
    pub fn only(mut self, condition: impl Fn(&Request) -> bool + Send + 'static) -> Self {
        self.condition = Some(Box::new(condition));
        self
    }

    /// Only the first `n` of them.
    #[must_use]
    pub fn first(mut self, n: usize) -> Self {
        self.times = 0..n;
        self
    }

    /// Only the `n`th of them, from 1.
    #[must_use]
    pub fn nth(mut self, n: usize) -> Self {
        self.times = n - 1..n;
        self
    }

    /// Those after the first `n`.
    #[must_use]
    pub fn after(mut self, n: usize) -> Self {
        self.times = n..usize::MAX;
        self
    }

    /// Counts for each path of its own.
    #[must_use]
    pub fn each_path(mut self) -> Self {
        self.each_path = true;
        self
    }

    /// What happens.
    #[must_use]
    pub fn does(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// The fault, if this request is to suffer it.
    pub(super) fn apply(&mut self, request: &Request) -> Option<Fault> {
        let matches = on(request, &self.method, &self.part)
            && self.condition.as_ref().is_none_or(|c| c(request));
        if !matches {
            return None;
        }
        let key = if self.each_path { request.path() } else { "" };
        let seen = self.seen.entry(key.to_owned()).or_default();
        *seen += 1;
        self.times
            .contains(&(*seen - 1))
            .then(|| self.fault.clone())
    }
}
