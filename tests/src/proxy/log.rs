//! What came.

use std::time::Instant;

use crate::http::{Request, Response};

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's head.
    pub request: Request,
    /// When it came.
    pub at: Instant,
    /// The head that was sent back; none if nothing was, or not yet.
    pub response: Option<Response>,
    /// Bytes of the request's body that came.
    pub up: u64,
    /// Bytes of the response's body that were sent.
    pub down: u64,
    /// The faults that were applied.
    pub fault: Option<String>,
}

impl Exchange {
    /// Whether it is of a method, or of one of several (`GET|HEAD`; `*` is any), on a path with a part.
    pub fn is(&self, method: &str, part: &str) -> bool {
        super::rule::on(&self.request, method, part)
    }

    /// The status that was sent; 0 if none was.
    pub fn status(&self) -> u16 {
        self.response.as_ref().map_or(0, |r| r.status)
    }
}

/// All that came, in order.
#[derive(Clone, Debug)]
pub struct Log(pub Vec<Exchange>);

impl Log {
    /// Those of a method (see [`Exchange::is`]) on a path with a part.
    pub fn of(&self, method: &str, part: &str) -> Vec<&Exchange> {
        self.0.iter().filter(|e| e.is(method, part)).collect()
    }

    /// How many of those there are.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.of(method, part).len()
    }

    /// All, as an iterator.
    pub fn iter(&self) -> std::slice::Iter<'_, Exchange> {
        self.0.iter()
    }

    /// How many requests a fault was applied to.
    pub fn faults(&self) -> usize {
        self.iter().filter(|e| e.fault.is_some()).count()
    }

    /// Whether any request named a secret where it must not: in an `Authorization` header.
    pub fn authorized(&self) -> Vec<&Exchange> {
        let with = |e: &&Exchange| e.request.headers.get("authorization").is_some();
        self.iter().filter(with).collect()
    }
}

impl<'a> IntoIterator for &'a Log {
    type Item = &'a Exchange;
    type IntoIter = std::slice::Iter<'a, Exchange>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Display for Log {
    /// A line a request: for the message of a failed assertion.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for e in self {
            let Exchange {
                request, up, down, ..
            } = e;
            let (method, target) = (&request.method, &request.target);
            write!(f, "  {method} {target} → {} ({up}↑ {down}↓)", e.status())?;
            match &e.fault {
                Some(fault) => writeln!(f, " [{fault}]")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
