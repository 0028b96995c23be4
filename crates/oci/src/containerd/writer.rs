//! Writing one blob into containerd.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::api::{AbortRequest, WriteAction, WriteRequest, WriteResponse};
use super::error::{ContainerdError, Refusal};
use super::lease::Lease;
use crate::digest::{Digest, VerifyError};
use crate::error::{Error, Result};
use crate::sink::{BlobWriter, Hashing, Meter};

/// Bytes sent at once.
const CHUNK: usize = 1 << 20;
/// How long to wait for another process that writes the same blob.
const LOCKED: Duration = Duration::from_mins(10);

/// A blob on its way.
///
/// It has a name under which containerd lets only one client write at a time. A blob of known digest is named
/// by it: of several processes that write the same blob, one does and the others wait, and find it there. What an
/// interrupted run left under the name is not trusted and written again, as a crash of the machine may have
/// damaged what was not committed.
pub(super) struct ContainerdWriter {
    lease: Arc<Lease>,
    name: String,
    /// `None` when containerd has the blob, or the writing is over.
    session: Option<Session>,
    /// What was not sent yet.
    buffer: Vec<u8>,
    meter: Option<Meter>,
}

impl ContainerdWriter {
    /// `name` is for a blob of unknown digest.
    pub(super) fn begin(
        lease: Arc<Lease>,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
        name: impl FnOnce() -> String,
    ) -> Result<Self> {
        let name = match known {
            Some((digest, _)) => format!("sociable-{digest}"),
            None => name(),
        };
        let mut session = Session::open(&lease, &name, known);
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        while matches!(&session, Err(refusal) if is_locked(refusal)) && started.elapsed() < LOCKED {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
            session = Session::open(&lease, &name, known);
        }
        let session = match session {
            Ok(session) => Some(session),
            Err(refusal) if refusal.is_presence() => {
                if let Some((digest, _)) = known {
                    lease.hold(digest)?;
                }
                None
            }
            Err(refusal) => {
                let place = lease.client().place();
                return Err(Refusal::on("write a blob to", place)(refusal));
            }
        };
        Ok(Self {
            lease,
            name,
            session,
            buffer: Vec::new(),
            meter: Some(Meter::new(known, hashing)),
        })
    }

    fn place(&self) -> String {
        self.lease.client().place().to_owned()
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session
            && !self.buffer.is_empty()
        {
            let data = Bytes::from(std::mem::take(&mut self.buffer));
            session
                .write(&self.lease, &self.name, data)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn complete(
        mut self,
        expected: Option<&Digest>,
        trusted: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let place = self.place();
        self.flush().map_err(Error::io("write a blob to", &place))?;
        let Some(meter) = self.meter.take() else {
            return Err(Error::Incomplete {
                place,
                why: "a blob was completed twice".to_owned(),
            });
        };
        let (digest, size) = meter.finish(&place, expected, trusted)?;
        let Some(session) = &mut self.session else {
            return Ok((digest, size));
        };
        match session.commit(&self.lease, &self.name, &digest, size) {
            // The lease has what was committed under it.
            Ok(()) => self.session = None,
            // Somebody else was faster.
            Err(refusal) if refusal.is_presence() => {
                self.abandon();
                self.lease.hold(&digest)?;
            }
            Err(refusal) => return Err(refused(refusal, place, digest, size)),
        }
        Ok((digest, size))
    }

    /// Ends the writing, and takes what was written away.
    fn abandon(&mut self) {
        if self.session.take().is_some() {
            // What remains is garbage, and collected some day.
            let _ = self.lease.client().call_briefly(AbortRequest {
                r#ref: self.name.clone(),
            });
        }
    }
}

/// Why a commit failed: containerd hashes for itself.
fn refused(refusal: Refusal, place: String, expected: Digest, size: u64) -> Error {
    let found = refusal
        .message()
        .split([' ', ',', ':'])
        .collect::<Vec<_>>()
        .windows(2)
        .filter_map(|pair| format!("{}:{}", pair[0], pair[1]).parse::<Digest>().ok())
        .find(|digest| *digest != expected);
    match found {
        Some(actual) if refusal.code() == Code::FailedPrecondition => Error::Verify {
            place,
            source: VerifyError::Digest {
                expected: Box::new(expected),
                actual: Box::new(actual),
                size,
            },
        },
        _ => ContainerdError::Refused {
            action: "complete a blob in",
            place,
            source: refusal,
        }
        .into(),
    }
}

/// As containerd's own clients tell it (`core/content`, `OpenWriter`): the store says "ref … locked".
fn is_locked(refusal: &Refusal) -> bool {
    refusal.code() == Code::Unavailable && refusal.message().contains("locked")
}

impl Write for ContainerdWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(meter) = &mut self.meter else {
            return Err(io::Error::other("the blob is complete"));
        };
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        meter.admit(bytes.len())?;
        meter.wrote(bytes);
        if self.session.is_some() {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= CHUNK {
                self.send()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl BlobWriter for ContainerdWriter {
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.complete(expected, None)
    }

    fn commit_trusted(self: Box<Self>, digest: &Digest, size: u64) -> Result<()> {
        self.complete(None, Some((digest, size))).map(drop)
    }
}

impl Drop for ContainerdWriter {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A conversation about one blob: each question is answered before the next.
struct Session {
    questions: mpsc::Sender<WriteRequest>,
    answers: Streaming<WriteResponse>,
    expected: String,
    total: i64,
    /// How much was sent.
    offset: i64,
    /// Whether containerd has all bytes from elsewhere (another namespace), so that they need not be sent.
    complete: bool,
}

impl Session {
    fn open(lease: &Lease, name: &str, known: Option<(&Digest, u64)>) -> Result<Self, Refusal> {
        let (questions, waiting) = mpsc::channel(1);
        let (expected, total) = match known {
            Some((digest, size)) => (digest.to_string(), number(size)),
            None => Default::default(),
        };
        let first = WriteRequest {
            action: WriteAction::Stat.into(),
            r#ref: name.to_owned(),
            total,
            expected: expected.clone(),
            ..WriteRequest::default()
        };
        questions.try_send(first).map_err(|_| Refusal::end())?;
        let answers = lease
            .client()
            .write(ReceiverStream::new(waiting), lease.id())?;
        let mut session = Self {
            questions,
            answers,
            expected,
            total,
            offset: 0,
            complete: false,
        };
        let answer = session.answer(lease)?;
        session.complete = total > 0 && answer.offset == total;
        Ok(session)
    }

    fn answer(&mut self, lease: &Lease) -> Result<WriteResponse, Refusal> {
        lease
            .client()
            .wait(self.answers.message())?
            .ok_or_else(Refusal::end)
    }

    fn ask(&mut self, lease: &Lease, question: WriteRequest) -> Result<WriteResponse, Refusal> {
        // If nobody listens any more, the answer says why.
        let _ = self.questions.try_send(question);
        self.answer(lease)
    }

    fn write(&mut self, lease: &Lease, name: &str, data: Bytes) -> Result<(), Refusal> {
        let after = self.offset + number(data.len() as u64);
        if !self.complete {
            // An offset of 0 discards what is left of an earlier attempt.
            let question = WriteRequest {
                action: WriteAction::Write.into(),
                r#ref: name.to_owned(),
                total: self.total,
                expected: self.expected.clone(),
                offset: self.offset,
                data,
            };
            let answer = self.ask(lease, question)?;
            if answer.offset != after {
                return Err(Refusal::misplaced(after, answer.offset));
            }
        }
        self.offset = after;
        Ok(())
    }

    fn commit(
        &mut self,
        lease: &Lease,
        name: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Refusal> {
        let question = WriteRequest {
            action: WriteAction::Commit.into(),
            r#ref: name.to_owned(),
            total: number(size),
            expected: digest.to_string(),
            offset: self.offset,
            data: Bytes::new(),
        };
        self.ask(lease, question).map(drop)
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
