//! A blob as a writer (distribution-spec 1.1, "Pushing blobs"): `POST` opens a session, `PATCH` carries bytes, `PUT` with the
//! digest ends it.
//!
//! | the blob | how |
//! |---|---|
//! | at most [`CHUNK`] bytes | kept, and sent with the `PUT` |
//! | can be read again | one `PATCH`, streamed as it is written: what every registry takes, and what docker does |
//! | cannot be read again, or the registry takes no large body (413) | a `PATCH` for each chunk, which is kept until it has arrived |
//! | the registry takes no `PATCH` | all of it with the `PUT`, streamed; what cannot be read again waits in a temporary file |
//!
//! When a connection breaks, the registry is asked how far it came, and what it lacks is read again. When it has lost
//! the session, everything is.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use url::Url;

use super::client::{Access, Client, Request, failed, location, pause, refusal, transport};
use super::error::{Failure, RegistryError};
use super::piece::{PIECE, Pieces};
use super::reference::RepositoryName;
use super::source::{exists, header};
use crate::digest::Digest;
use crate::document::Descriptor;
use crate::error::{Error, Result};
use crate::sink::{BlobWriter, Hashing, Meter};
use crate::source::Source;

/// Bytes of a chunk, and of a blob that is kept and sent at once.
pub(super) const CHUNK: usize = 4 << 20;
/// Longest chunk that a registry may ask for (`OCI-Chunk-Min-Length`).
const LARGEST_CHUNK: usize = 32 << 20;
/// Pieces that wait for a connection.
const WAITING: usize = 3;
/// What has to arrive before the count of failures begins anew.
const PROGRESS: u64 = 4 << 20;
/// How long a registry may take to answer a body that it has got whole.
const LONG_ANSWER: Duration = Duration::from_mins(15);

/// A blob on its way to a registry.
pub(super) struct Upload<'a> {
    client: Arc<Client>,
    repository: RepositoryName,
    meter: Option<Meter>,
    size: Option<u64>,
    /// Known at the beginning, or at the end.
    digest: Option<Digest>,
    /// From where it can be read again.
    again: Option<Again<'a>>,
    session: Url,
    way: Way,
    /// Bytes that we were given.
    position: u64,
    failures: u32,
    failed_at: u64,
    /// How often everything was sent from the beginning again.
    restarts: u32,
    /// Whether the registry has ever taken anything with a `PATCH`.
    patched: bool,
    /// Whether the registry takes a blob in one piece only: with the `PUT`.
    whole: bool,
    done: bool,
    pieces: Pieces,
    /// Room for what is kept.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where what was written can be read again.
pub(super) enum Again<'a> {
    Bytes(&'a [u8]),
    Source(&'a dyn Source, Box<Descriptor>),
    /// A file without a name, which is not sent before all of the blob is in it.
    Spool(File),
}

impl Again<'_> {
    fn read_from(&self, offset: u64) -> Result<Box<dyn Read + '_>, String> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let missing = bytes.get(start..).unwrap_or_default();
                Ok(Box::new(missing))
            }
            Self::Source(source, blob) => source
                .blob_from(blob, offset)
                .map(|reader| reader as Box<dyn Read>)
                .map_err(|error| error.to_string()),
            Self::Spool(file) => {
                let mut file = file;
                file.seek(io::SeekFrom::Start(offset))
                    .map_err(|error| error.to_string())?;
                Ok(Box::new(file))
            }
        }
    }
}

enum Way {
    /// `offset` bytes have arrived, and these follow.
    Chunks {
        offset: u64,
        kept: BytesMut,
        size: usize,
    },
    Stream(Running),
    /// Between two connections.
    Broken,
}

/// A request on its way.
struct Running {
    body: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<Response, Failure>>,
}

/// An open session.
struct Session {
    url: Url,
    least: usize,
}

impl<'a> Upload<'a> {
    pub(super) fn start(
        client: &Arc<Client>,
        repository: &RepositoryName,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
        again: Option<Again<'a>>,
    ) -> Result<Self> {
        let size = known.map(|(_, size)| size);
        let small = size.is_some_and(|size| size <= CHUNK as u64);
        let room = if again.is_none() && size.is_none_or(|size| size > PIECE as u64) {
            client
                .block(client.watched(client.room()))
                .map_err(|failure| interrupted(client, repository, failure))?
        } else {
            None
        };
        let session = client.block(open(client, repository))?;
        let mut this = Self {
            client: Arc::clone(client),
            repository: repository.clone(),
            meter: Some(Meter::new(known, hashing)),
            size,
            digest: known.map(|(digest, _)| *digest),
            again,
            session: session.url,
            way: Way::Broken,
            position: 0,
            failures: 0,
            failed_at: 0,
            restarts: 0,
            patched: false,
            whole: client.takes_no_patch(&repository.registry),
            done: false,
            pieces: Pieces::default(),
            _room: room,
        };
        this.way = if this.again.is_some() && !small && (this.whole || session.least <= CHUNK) {
            this.stream(0)
        } else {
            let size = session.least.clamp(CHUNK, LARGEST_CHUNK);
            let room = this.size.map_or(size, |known| {
                usize::try_from(known).map_or(size, |known| known.min(size))
            });
            Way::Chunks {
                offset: 0,
                kept: BytesMut::with_capacity(room),
                size,
            }
        };
        Ok(this)
    }

    /// What carries the bytes.
    fn method(&self) -> Method {
        if self.whole {
            Method::PUT
        } else {
            Method::PATCH
        }
    }

    fn failed(&self, failure: Failure) -> RegistryError {
        failed(
            &self.method(),
            &self.session,
            &self.repository,
            self.failures + 1,
            failure,
        )
    }

    /// Begins a request whose body follows.
    fn stream(&self, offset: u64) -> Way {
        let (body, receiver) = mpsc::channel::<Bytes>(WAITING);
        let client = Arc::clone(&self.client);
        let repository = self.repository.clone();
        let method = self.method();
        let url = match self.digest {
            Some(digest) if self.whole => ending(&self.session, &digest),
            _ => self.session.clone(),
        };
        let size = self.size;
        let answer = self.client.spawn(async move {
            let mut headers = octets();
            if let Some(size) = size {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(size - offset));
                if offset > 0 {
                    insert_range(&mut headers, offset, size);
                }
            }
            let scopes = [Access::Push.scope(&repository)];
            let headers = client
                .watched(client.authorized(&repository, &url, &scopes, headers))
                .await??;
            let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
                let piece = receiver.recv().await?;
                Some((Ok::<_, Infallible>(piece), receiver))
            });
            client
                .http(&url)
                .request(method, url.clone())
                .headers(headers)
                .body(reqwest::Body::wrap_stream(stream))
                .send()
                .await
                .map_err(transport)
        });
        Way::Stream(Running { body, answer })
    }

    /// Gives bytes to the running request.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let Way::Stream(running) = &self.way else {
            return Ok(());
        };
        let idle = self.client.options.idle_timeout;
        for piece in bytes.chunks(PIECE) {
            let piece = self.pieces.copy(piece);
            let sent = self.client.block(async {
                let sent = tokio::time::timeout(idle, running.body.send(piece));
                self.client.watched(sent).await
            });
            match sent {
                Ok(Ok(Ok(()))) => {}
                Ok(Err(_)) => return Err(self.failed(Failure::Stalled(idle))),
                Err(failure) => return Err(self.failed(failure)),
                Ok(Ok(Err(_))) => {
                    let failure = match self.answer(Duration::from_secs(10)) {
                        Err(failure) => failure,
                        Ok(_) => Failure::Answer(
                            "the registry answered before it had the whole body".to_owned(),
                        ),
                    };
                    return Err(self.failed(failure));
                }
            }
        }
        Ok(())
    }

    /// The answer to the running request, which ends here.
    fn answer(&mut self, patience: Duration) -> Result<Response, Failure> {
        let Way::Stream(running) = std::mem::replace(&mut self.way, Way::Broken) else {
            return Err(Failure::Answer("there is no upload".to_owned()));
        };
        drop(running.body);
        let taken = if self.whole { 201 } else { 202 };
        let abort = running.answer.abort_handle();
        let answer = self.client.block(async {
            let answer = self
                .client
                .watched(tokio::time::timeout(patience, running.answer))
                .await?;
            match answer {
                Ok(Ok(Ok(response))) if response.status().as_u16() == taken => Ok(response),
                Ok(Ok(Ok(response))) => Err(refusal(response).await),
                Ok(Ok(Err(failure))) => Err(failure),
                Ok(Err(_)) => Err(Failure::Answer("the upload was given up".to_owned())),
                Err(_) => Err(Failure::Stalled(patience)),
            }
        });
        abort.abort();
        answer
    }

    /// Goes on after a failure: from where the registry is, or from the beginning.
    fn recover(&mut self, mut error: RegistryError) -> Result<(), RegistryError> {
        loop {
            if let Way::Stream(running) = &self.way {
                running.answer.abort();
                self.way = Way::Broken;
            }
            let code = error.failure.status();
            let turned = self.turn_to_one_piece(&error);
            // A token may have expired, a session been lost, a body been too large, an offset been misunderstood.
            let ours = turned
                || matches!(code, Some(401 | 404 | 416))
                || (code == Some(413) && !self.whole)
                // Late bytes of a connection that broke may have come between.
                || (code == Some(400) && self.failures > 0 && self.restarts == 0);
            // What is sent from the beginning again and again is no progress.
            if self.restarts == 0 && self.position.saturating_sub(self.failed_at) >= PROGRESS {
                self.failures = 0;
            }
            self.failed_at = self.position;
            if !(error.failure.may_pass() || ours) || self.failures >= self.client.options.retries {
                return Err(error);
            }
            self.failures += 1;
            if !turned {
                let wait = pause(self.failures);
                let waited = self.client.block(self.client.sleep(wait));
                waited.map_err(|failure| self.failed(failure))?;
            }

            let arrived = match code {
                Some(400 | 404 | 413 | 416) => None,
                _ if self.whole => None,
                _ => self.client.block(self.arrived()),
            };
            self.patched |= arrived.as_ref().is_some_and(|(offset, _)| *offset > 0);
            // A registry that answers each chunk is not lost as far as one whose answer to all never comes.
            let chunked = matches!(self.way, Way::Chunks { .. })
                || (!self.whole && (code == Some(413) || self.restarts > 0));
            let offset = match arrived.filter(|(offset, _)| *offset <= self.position) {
                Some((offset, session)) => {
                    self.session = session;
                    offset
                }
                None => match self.client.block(open(&self.client, &self.repository)) {
                    Ok(session) => {
                        self.session = session.url;
                        self.restarts += 1;
                        0
                    }
                    Err(next) => {
                        // `open` has tried often enough.
                        return Err(next);
                    }
                },
            };
            match self.go_on(offset, chunked) {
                Ok(()) => return Ok(()),
                Err(Ok(next)) => error = next,
                Err(Err(unreadable)) => {
                    return Err(self.failed(Failure::Transport {
                        connecting: false,
                        why: format!(
                            "{error}; and what is missing cannot be read again: {unreadable}"
                        ),
                    }));
                }
            }
        }
    }

    /// Sends everything with the `PUT` from now on, if a `PATCH` was refused as such; whether that is new. A registry that does
    /// not say so, and twice took nothing, gets no third `PATCH` either.
    fn turn_to_one_piece(&mut self, error: &RegistryError) -> bool {
        if self.whole || self.patched || error.method != "PATCH" {
            return false;
        }
        let refused = matches!(error.failure.status(), Some(405 | 415 | 501))
            || error.failure.says(&["UNSUPPORTED"]);
        let lost = matches!(error.failure, Failure::Transport { .. })
            || error.failure.status() == Some(404);
        self.whole = refused || (lost && self.failures > 0);
        if refused {
            self.client.learn_no_patch(&self.repository.registry);
        }
        if self.whole && self.again.is_some() {
            // What was kept of it can be read again.
            self.way = Way::Broken;
        }
        self.whole
    }

    /// Keeps what cannot be read again in a file, where the registry wants all of it at once and it is too much for memory.
    fn spool(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Chunks { kept, size, .. } if self.whole && kept.len() >= *size => {
                let mut file = tempfile::tempfile()?;
                file.write_all(kept)?;
                self.again = Some(Again::Spool(file));
                self.way = Way::Broken;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Sends again what the registry lacks: from `offset` to where we are.
    fn go_on(&mut self, offset: u64, chunked: bool) -> Result<(), Result<RegistryError, String>> {
        if let Way::Chunks {
            offset: begin,
            kept,
            ..
        } = &mut self.way
        {
            let known = *begin..=*begin + kept.len() as u64;
            if known.contains(&offset) {
                let arrived = usize::try_from(offset - *begin).unwrap_or(kept.len());
                let _ = kept.split_to(arrived);
                *begin = offset;
                return Ok(());
            }
        }
        // All of it has arrived, only the answer has not: an empty `PATCH` means nothing to anybody.
        if offset == self.position && self.size == Some(offset) {
            self.way = Way::Chunks {
                offset,
                kept: BytesMut::new(),
                size: CHUNK,
            };
            return Ok(());
        }
        let Some(again) = self.again.take() else {
            return Err(Err(
                "the image comes as a stream; run the command again, what has arrived is kept"
                    .to_owned(),
            ));
        };
        self.way = if chunked {
            Way::Chunks {
                offset,
                kept: BytesMut::new(),
                size: CHUNK,
            }
        } else {
            self.stream(offset)
        };
        let sent = self.send_again(&again, offset);
        self.again = Some(again);
        sent
    }

    /// Reads from `offset` to where we are once more, and sends it.
    fn send_again(
        &mut self,
        again: &Again<'_>,
        offset: u64,
    ) -> Result<(), Result<RegistryError, String>> {
        if offset == self.position {
            return Ok(());
        }
        let mut missing = again
            .read_from(offset)
            .map_err(Err)?
            .take(self.position - offset);
        let mut piece = vec![0; PIECE];
        loop {
            let count = missing
                .read(&mut piece)
                .map_err(|error| Err(error.to_string()))?;
            if count == 0 {
                return Ok(());
            }
            let sent = match &mut self.way {
                Way::Chunks { kept, .. } => {
                    kept.extend_from_slice(&piece[..count]);
                    self.send_chunks()
                }
                _ => self.feed(&piece[..count]),
            };
            sent.map_err(Ok)?;
        }
    }

    /// How many bytes the registry has, and where the session goes on; `None` if it does not know the session any more.
    async fn arrived(&self) -> Option<(u64, Url)> {
        let request = Request::new(
            Method::GET,
            self.session.clone(),
            &self.repository,
            Access::Push,
            &[200, 202, 204],
        );
        let response = self.client.send(&request).await.ok()?;
        let range = header(&response, RANGE.as_str())?;
        let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
        let last: u64 = last.parse().ok()?;
        // "0-0" stands for nothing, too.
        let count = if last == 0 { 0 } else { last + 1 };
        Some((count, next_session(&response, &self.session)))
    }

    /// Sends full chunks.
    fn send_chunks(&mut self) -> Result<(), RegistryError> {
        loop {
            let Way::Chunks { kept, size, .. } = &self.way else {
                return Ok(());
            };
            if self.whole || kept.len() < *size {
                return Ok(());
            }
            let size = *size;
            self.send_chunk(size)?;
        }
    }

    /// Sends the first `len` kept bytes as one chunk.
    fn send_chunk(&mut self, len: usize) -> Result<(), RegistryError> {
        let Way::Chunks { offset, kept, .. } = &mut self.way else {
            return Ok(());
        };
        let chunk = kept.split_to(len.min(kept.len())).freeze();
        let end = *offset + chunk.len() as u64;
        let mut request = Request::new(
            Method::PATCH,
            self.session.clone(),
            &self.repository,
            Access::Push,
            &[202],
        )
        .slow()
        .body(chunk.clone());
        request.headers = octets();
        insert_range(&mut request.headers, *offset, end);
        // A chunk that arrived although its answer did not is not to be sent again.
        match self.client.block(self.client.send_once(&request)) {
            Ok(response) => {
                self.session = next_session(&response, &self.session);
                self.patched = true;
                *offset = end;
                Ok(())
            }
            Err(error) => {
                let mut whole = BytesMut::with_capacity(chunk.len() + kept.len());
                whole.extend_from_slice(&chunk);
                whole.extend_from_slice(kept);
                *kept = whole;
                Err(error)
            }
        }
    }

    /// Everything has been written: the registry gets the digest.
    fn end(&mut self, digest: &Digest) -> Result<(), RegistryError> {
        self.digest = Some(*digest);
        self.size = Some(self.position);
        loop {
            match self.try_end(digest) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // The answer may have been lost, and the work been done.
                    let blob = Descriptor::new("", *digest, self.position);
                    let there = exists(&self.client, &self.repository, &blob, Access::Push);
                    if there.is_ok_and(|there| there.is_of(self.position)) {
                        return Ok(());
                    }
                    self.recover(error)?;
                }
            }
        }
    }

    fn try_end(&mut self, digest: &Digest) -> Result<(), RegistryError> {
        if matches!(self.again, Some(Again::Spool(_))) && matches!(self.way, Way::Broken) {
            self.go_on(0, false)
                .map_err(|error| error.unwrap_or_else(|why| self.failed(Failure::Answer(why))))?;
        }
        if matches!(self.way, Way::Stream(_)) {
            match self.answer(LONG_ANSWER) {
                Ok(_) if self.whole => {
                    self.done = true;
                    return Ok(());
                }
                Ok(response) => {
                    self.session = next_session(&response, &self.session);
                    // Whatever follows begins from what the registry has.
                    self.way = Way::Chunks {
                        offset: self.position,
                        kept: BytesMut::new(),
                        size: CHUNK,
                    };
                }
                Err(failure) => return Err(self.failed(failure)),
            }
        }
        let mut body = Bytes::new();
        if let Way::Chunks { offset, kept, .. } = &self.way {
            if *offset == 0 {
                // Kept until the answer has come.
                body = kept.clone().freeze();
            } else if !kept.is_empty() {
                let len = kept.len();
                self.send_chunk(len)?;
            }
        }
        let url = ending(&self.session, digest);
        let mut request = Request::new(Method::PUT, url, &self.repository, Access::Push, &[201])
            .slow()
            .body(body.clone());
        if !body.is_empty() {
            request.headers = octets();
        }
        self.client.block(self.client.send_once(&request))?;
        self.done = true;
        Ok(())
    }
}

/// Somebody stopped us before there was a request to blame.
fn interrupted(client: &Client, repository: &RepositoryName, failure: Failure) -> Error {
    match client.url(repository, "blobs/uploads/") {
        Ok(url) => failed(&Method::POST, &url, repository, 0, failure).into(),
        Err(error) => error.into(),
    }
}

/// Where a session is ended.
fn ending(session: &Url, digest: &Digest) -> Url {
    let mut url = session.clone();
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    url
}

fn octets() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers
}

/// `Content-Range: FIRST-LAST`, in the form of the distribution-spec.
fn insert_range(headers: &mut HeaderMap, begin: u64, end: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("{begin}-{}", end.saturating_sub(1))) {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// Where the session goes on; a registry that does not say means the same place.
fn next_session(response: &Response, session: &Url) -> Url {
    location(response).unwrap_or_else(|_| session.clone())
}

/// Opens a session.
async fn open(client: &Client, repository: &RepositoryName) -> Result<Session, RegistryError> {
    let url = client.url(repository, "blobs/uploads/")?;
    let request = Request::new(Method::POST, url, repository, Access::Push, &[202]);
    let response = client.send(&request).await?;
    session_of(&response).map_err(|failure| request.failed(failure))
}

fn session_of(response: &Response) -> Result<Session, Failure> {
    let least = header(response, "oci-chunk-min-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    Ok(Session {
        url: location(response)?,
        least,
    })
}

/// Asks the registry to take a blob over from another of its repositories; whether it did.
pub(super) fn mount(
    client: &Arc<Client>,
    repository: &RepositoryName,
    from: &RepositoryName,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    let mut url = client.url(repository, "blobs/uploads/")?;
    url.query_pairs_mut()
        .append_pair("mount", &digest.to_string())
        .append_pair("from", &from.repository);
    let mut request = Request::new(
        Method::POST,
        url,
        repository,
        Access::Push,
        // Others refuse instead of opening a session.
        &[201, 202, 400, 403, 404, 405],
    );
    request.scopes.push(Access::Pull.scope(from));
    client.block(async {
        let response = match client.send(&request).await {
            // Who may not read there has to upload.
            Err(error)
                if matches!(error.failure, Failure::Credentials(_))
                    || error.failure.status() == Some(401) =>
            {
                return Ok(false);
            }
            response => response?,
        };
        if response.status().as_u16() == 202
            && let Ok(session) = session_of(&response)
        {
            cancel(client, repository, session.url).await;
        }
        Ok(response.status().as_u16() == 201)
    })
}

/// Closes a session that is not wanted any more; a registry that does not care forgets it later.
async fn cancel(client: &Client, repository: &RepositoryName, session: Url) {
    let request = Request::new(
        Method::DELETE,
        session,
        repository,
        Access::Push,
        &[200, 202, 204],
    );
    let _ = tokio::time::timeout(Duration::from_secs(5), client.send_once(&request)).await;
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let to_io = |error: RegistryError| io::Error::other(Error::from(error));
        if let Some(meter) = &mut self.meter {
            meter.admit(bytes.len())?;
        }
        let mut bytes = bytes;
        if let Some(Again::Spool(file)) = &mut self.again {
            file.write_all(bytes)?;
            self.position += bytes.len() as u64;
            if let Some(meter) = &mut self.meter {
                meter.wrote(bytes);
            }
            return Ok(bytes.len());
        }
        match &mut self.way {
            Way::Chunks { kept, size, .. } => {
                // No more than fills the chunk: the caller comes again with the rest.
                bytes = &bytes[..bytes.len().min(size.saturating_sub(kept.len()).max(1))];
                kept.extend_from_slice(bytes);
                self.position += bytes.len() as u64;
                while let Err(error) = self.send_chunks() {
                    self.recover(error).map_err(to_io)?;
                }
                self.spool()?;
            }
            Way::Stream(_) => {
                while let Err(error) = self.feed(bytes) {
                    self.recover(error).map_err(to_io)?;
                    if let Way::Chunks { kept, .. } = &mut self.way {
                        kept.extend_from_slice(bytes);
                        break;
                    }
                }
                self.position += bytes.len() as u64;
                while let Err(error) = self.send_chunks() {
                    self.recover(error).map_err(to_io)?;
                }
            }
            Way::Broken => return Err(io::Error::other("the upload has failed")),
        }
        if let Some(meter) = &mut self.meter {
            meter.wrote(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload<'_> {
    fn place(&self) -> String {
        format!("docker://{}", self.repository)
    }

    fn complete(
        mut self: Box<Self>,
        expected: Option<&Digest>,
        trusted: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64)> {
        let place = self.place();
        let Some(meter) = self.meter.take() else {
            return Err(Error::NotHashed { place });
        };
        let (digest, size) = meter.finish(&place, expected, trusted)?;
        self.end(&digest)?;
        self.client.remember(&self.repository, &digest);
        Ok((digest, size))
    }
}

impl BlobWriter for Upload<'_> {
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.complete(expected, None)
    }

    fn commit_trusted(self: Box<Self>, digest: &Digest, size: u64) -> Result<()> {
        self.complete(None, Some((digest, size))).map(|_| ())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Way::Stream(running) = &self.way {
            running.answer.abort();
        }
        if !self.done {
            let client = Arc::clone(&self.client);
            let cancelled = cancel(&client, &self.repository, self.session.clone());
            client.block(cancelled);
        }
    }
}
