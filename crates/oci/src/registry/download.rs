//! A blob as a reader: a range request goes on where a connection broke.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Method, Response};
use url::Url;

use super::client::{Access, Client, Request, failed, pause, transport};
use super::error::{Failure, RegistryError};
use super::reference::RepositoryName;
use crate::error::Error;

/// Fewer bytes than this in a second, for the whole of the idle timeout, and a connection has stalled.
const SLOWEST: u64 = 512;
/// What has to come before the count of failures begins anew.
const PROGRESS: u64 = 256 << 10;

/// A blob on its way. Nothing is verified here.
pub(super) struct Download {
    client: Arc<Client>,
    repository: RepositoryName,
    url: Url,
    size: u64,
    position: u64,
    response: Option<Response>,
    chunk: Bytes,
    failures: u32,
    /// Where the last failure was.
    failed_at: u64,
    slow: Slowness,
}

impl Download {
    /// Asks for a blob (of `size` bytes) from `offset` on.
    pub(super) fn start(
        client: &Arc<Client>,
        repository: &RepositoryName,
        url: Url,
        size: u64,
        offset: u64,
    ) -> Result<Self, RegistryError> {
        let mut this = Self {
            client: Arc::clone(client),
            repository: repository.clone(),
            url,
            size,
            position: offset,
            response: None,
            chunk: Bytes::new(),
            failures: 0,
            failed_at: 0,
            slow: Slowness::new(client.options.idle_timeout),
        };
        if offset < size {
            client.block(async {
                match this.open().await {
                    Ok(()) => Ok(()),
                    Err(Err(error)) => Err(error),
                    Err(Ok(broken)) => this.again(broken).await,
                }
            })?;
        }
        Ok(this)
    }

    /// Connects anew, at `position`. `Err(Ok(…))` is what broke on the way there; `Err(Err(…))` was given up.
    async fn open(&mut self) -> Result<(), Result<Failure, RegistryError>> {
        let (response, mut skip) = self
            .client
            .range(&self.repository, &self.url, self.position, None)
            .await
            .map_err(Err)?;
        self.response = Some(response);
        // A registry without ranges sends everything again.
        while skip > 0 {
            let broken = match self.next().await {
                Ok(Some(chunk)) => {
                    let known = usize::try_from(skip).map_or(chunk.len(), |n| n.min(chunk.len()));
                    skip -= known as u64;
                    self.chunk = chunk.slice(known..);
                    continue;
                }
                Ok(None) => Failure::Transport {
                    connecting: false,
                    why: format!("the connection ended before byte {}", self.position),
                },
                Err(failure) => failure,
            };
            self.response = None;
            self.chunk = Bytes::new();
            return Err(Ok(broken));
        }
        Ok(())
    }

    fn fail(&self, failure: Failure) -> RegistryError {
        let attempts = self.failures + 1;
        failed(&Method::GET, &self.url, &self.repository, attempts, failure)
    }

    /// The next bytes of the connection.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let began = Instant::now();
        let idle = self.client.options.idle_timeout;
        let chunk = self
            .client
            .watched(tokio::time::timeout(idle, response.chunk()))
            .await?
            .map_err(|_| Failure::Stalled(idle))?
            .map_err(transport)?;
        let count = chunk.as_ref().map_or(0, Bytes::len) as u64;
        self.slow.waited(began.elapsed(), count)?;
        Ok(chunk)
    }

    /// Fills `self.chunk`, over as many connections as that takes.
    async fn fill(&mut self) -> Result<(), RegistryError> {
        loop {
            let failure = match self.next().await {
                Ok(Some(chunk)) => {
                    self.chunk = chunk;
                    return Ok(());
                }
                Ok(None) => Failure::Transport {
                    connecting: false,
                    why: format!(
                        "the connection ended at byte {} of {}",
                        self.position, self.size
                    ),
                },
                Err(failure) => failure,
            };
            self.again(failure).await?;
            if !self.chunk.is_empty() {
                return Ok(());
            }
        }
    }

    /// Connects anew after a failure, as often as that may be done.
    async fn again(&mut self, mut failure: Failure) -> Result<(), RegistryError> {
        loop {
            self.response = None;
            if self.position - self.failed_at.min(self.position) >= PROGRESS {
                self.failures = 0;
            }
            self.failed_at = self.position;
            if !failure.may_pass() || self.failures >= self.client.options.retries {
                return Err(self.fail(failure));
            }
            self.failures += 1;
            let wait = pause(self.failures);
            let client = Arc::clone(&self.client);
            client.sleep(wait).await.map_err(|f| self.fail(f))?;
            self.slow = Slowness::new(client.options.idle_timeout);
            match self.open().await {
                Ok(()) => return Ok(()),
                Err(Ok(broken)) => failure = broken,
                Err(Err(error)) => return Err(error),
            }
        }
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.position >= self.size && self.chunk.is_empty()) {
            // A blob that is longer than its descriptor says is found out by asking once more.
            return match self.response.take() {
                Some(_) if buffer.is_empty() => Ok(0),
                Some(mut response) => {
                    let client = Arc::clone(&self.client);
                    let more = client.block(async {
                        tokio::time::timeout(Duration::from_secs(10), response.chunk()).await
                    });
                    if let Ok(Ok(Some(more))) = more {
                        let n = more.len().min(buffer.len());
                        buffer[..n].copy_from_slice(&more[..n]);
                        return Ok(n);
                    }
                    Ok(0)
                }
                None => Ok(0),
            };
        }
        if self.chunk.is_empty() {
            let client = Arc::clone(&self.client);
            client
                .block(self.fill())
                .map_err(|error| io::Error::other(Error::from(error)))?;
        }
        let n = self.chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.chunk[..n]);
        self.chunk.advance(n);
        self.position += n as u64;
        Ok(n)
    }
}

/// Tells a slow connection from one that only pretends to be alive. Only the time spent waiting counts.
struct Slowness {
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Slowness {
    fn new(window: Duration) -> Self {
        Self {
            window,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    fn waited(&mut self, time: Duration, bytes: u64) -> Result<(), Failure> {
        self.waited += time;
        self.bytes += bytes;
        if self.waited < self.window {
            return Ok(());
        }
        let least = SLOWEST.saturating_mul(self.window.as_secs());
        let stalled = self.bytes < least;
        let window = self.window;
        *self = Self::new(window);
        if stalled {
            return Err(Failure::Stalled(window));
        }
        Ok(())
    }
}

impl Client {
    /// Asks for bytes of a blob from `offset` on, up to `end` (exclusive) if given. Also says how many bytes before
    /// `offset` will come first: a registry without ranges sends everything.
    pub(super) async fn range(
        &self,
        repository: &RepositoryName,
        url: &Url,
        offset: u64,
        end: Option<u64>,
    ) -> Result<(Response, u64), RegistryError> {
        let whole = offset == 0 && end.is_none();
        let expect: &[u16] = if whole { &[200] } else { &[200, 206] };
        let mut request = Request::new(Method::GET, url.clone(), repository, Access::Pull, expect)
            .header(ACCEPT_ENCODING, "identity");
        if !whole {
            let last = end.map_or_else(String::new, |end| (end - 1).to_string());
            request = request.header(RANGE, &format!("bytes={offset}-{last}"));
        }
        let mut wrong = 0;
        loop {
            let response = self.send(&request).await?;
            if response.status().as_u16() == 200 {
                return Ok((response, offset));
            }
            match content_range(&response) {
                Some((first, last)) if first == offset && end.is_none_or(|end| last < end) => {
                    return Ok((response, 0));
                }
                found => {
                    wrong += 1;
                    let failure = Failure::Answer(format!(
                        "asked for bytes from {offset} on, the registry answers with {}",
                        found.map_or_else(
                            || "a range it does not name".to_owned(),
                            |(first, last)| format!("bytes {first} to {last}")
                        )
                    ));
                    if wrong > self.options.retries {
                        return Err(failed(&Method::GET, url, repository, wrong, failure));
                    }
                    self.sleep(pause(wrong))
                        .await
                        .map_err(|f| request.failed(f))?;
                }
            }
        }
    }
}

/// First and last byte of `Content-Range: bytes 0-9/10`.
fn content_range(response: &Response) -> Option<(u64, u64)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, _) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_not_stalled() {
        let window = Duration::from_secs(10);
        let mut slow = Slowness::new(window);
        assert!(slow.waited(Duration::from_secs(9), 10).is_ok());
        assert!(slow.waited(Duration::from_secs(2), 8000).is_ok());
        assert!(slow.waited(Duration::from_secs(9), 10).is_ok());
        assert!(slow.waited(Duration::from_secs(2), 10).is_err());
    }
}
