//! A registry that has one image, for a lazy start of it: what is asked of its layers is noted.
//!
//! It reads from any [`Source`], a registry as well: credentials, certificates and redirects are the source's. Nothing can
//! be written to it, and whatever repository and tag is asked for, it is this image.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Cursor, Read};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sociable_oci::{Descriptor, Digest, Document, Index, Source, Walk, media_type};
use sociable_soci::image::PlatformImage;
use sociable_soci::{Image, Version, chain, found};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::Result;
use crate::error::step;
use crate::requests::Request;

/// How often is looked whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of a body that are sent at a time.
const CHUNK: usize = 128 << 10;

/// A registry of one image.
pub struct Registry {
    source: Box<dyn Source>,
    /// What a tag leads to.
    root: Descriptor,
    known: HashMap<Digest, Descriptor>,
    layers: Vec<Digest>,
    /// SOCI indexes v1, which only referrers lead to.
    referrers: Vec<Descriptor>,
    requests: Mutex<Vec<Request>>,
}

type Body = StreamBody<ReceiverStream<io::Result<Frame<Bytes>>>>;

/// What is answered.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: u64,
    body: Box<dyn Read + Send>,
}

impl Registry {
    /// Looks up all that belongs to the image.
    ///
    /// # Errors
    /// [`crate::Error::Image`].
    pub fn open(source: Box<dyn Source>, image: &Image, of: &PlatformImage) -> Result<Self> {
        let root = match &image.roots()[..] {
            [root] => root.clone(),
            _ => of.descriptor.clone(),
        };
        let mut roots = vec![root.clone(), of.descriptor.clone()];
        let mut referrers = Vec::new();
        for index in found::indexes(&*source, image, of)? {
            roots.push(index.descriptor.clone());
            if index.index.version == Version::V1 {
                referrers.push(index.descriptor);
            }
        }
        let mut known = HashMap::new();
        // What is listed but not there is never asked for: other platforms.
        for step in Walk::new(&*source, roots).flatten() {
            if let Some(Document::Manifest(manifest)) = step.document {
                let blobs = manifest.layers.into_iter().chain([manifest.config]);
                known.extend(blobs.map(|blob| (blob.digest, blob)));
            }
            known.insert(step.descriptor.digest, step.descriptor);
        }
        Ok(Self {
            source,
            root,
            known,
            layers: of
                .manifest
                .layers
                .iter()
                .map(|layer| layer.digest)
                .collect(),
            referrers,
            requests: Mutex::default(),
        })
    }

    /// Answers requests until it is told to stop; then, the ranges of layers that were asked for, in order.
    ///
    /// # Errors
    /// [`crate::Error::Step`] when connections cannot be taken.
    pub fn serve(self, listener: TcpListener, interrupted: fn() -> bool) -> Result<Vec<Request>> {
        let this = Arc::new(self);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(step("start a registry"))?;
        runtime.block_on(Arc::clone(&this).listen(listener, interrupted))?;
        // Answers that nobody waits for any more may still be on their way.
        runtime.shutdown_background();
        Ok(std::mem::take(
            &mut *this.requests.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    async fn listen(
        self: Arc<Self>,
        listener: TcpListener,
        interrupted: fn() -> bool,
    ) -> Result<()> {
        listener.set_nonblocking(true).map_err(step("listen"))?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(step("listen"))?;
        while !interrupted() {
            let Ok(accepted) = tokio::time::timeout(TICK, listener.accept()).await else {
                continue;
            };
            // A connection that went away before it was taken is none; any other error comes again at once.
            let Ok((connection, _)) = accepted else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            let this = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&this).respond(request));
            // Whatever breaks a connection, the client sees it and comes back.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
        }
        Ok(())
    }

    async fn respond(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, _) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let (send, body) = mpsc::channel(4);
        let (head, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let range = parts
                .headers
                .get(header::RANGE)
                .and_then(|range| range.to_str().ok());
            let mut answer = if is_head || parts.method == Method::GET {
                let answer = self.answer(parts.uri.path(), range);
                answer.unwrap_or_else(|error| Answer::text(StatusCode::BAD_GATEWAY, &chain(&error)))
            } else {
                Answer::text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "this registry is only for reading",
                )
            };
            let rest = std::mem::replace(&mut answer.body, Box::new(io::empty()));
            // Fails only when the client is gone.
            let _ = head.send(answer);
            if !is_head {
                send_all(rest, &send);
            }
        });
        let answer = answered
            .await
            .unwrap_or_else(|_| Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "no answer"));
        let mut response = Response::new(StreamBody::new(ReceiverStream::new(body)));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, answer.length.into());
        Ok(response)
    }

    fn answer(&self, path: &str, range: Option<&str>) -> sociable_oci::Result<Answer> {
        let of = |digest: &str| self.known.get(&digest.parse::<Digest>().ok()?);
        if path.trim_end_matches('/') == "/v2" {
            return Ok(Answer::text(StatusCode::OK, "{}"));
        }
        if let Some((_, reference)) = path.rsplit_once("/manifests/") {
            let tag = (!reference.contains(':')).then_some(&self.root);
            return of(reference)
                .or(tag)
                .map_or_else(not_found, |manifest| self.whole(manifest));
        }
        if let Some((_, digest)) = path.rsplit_once("/blobs/") {
            return match (of(digest), range) {
                (None, _) => not_found(),
                (Some(blob), None) => self.whole(blob),
                (Some(blob), Some(range)) => self.part(blob, range),
            };
        }
        if let Some((_, digest)) = path.rsplit_once("/referrers/") {
            let known = of(digest).map(|_| self.referrers.clone());
            let index = Index::new(known.unwrap_or_default());
            let bytes = index.to_bytes();
            return Ok(Answer::new(
                media_type::OCI_INDEX,
                bytes.len() as u64,
                Box::new(Cursor::new(bytes)),
            ));
        }
        not_found()
    }

    fn whole(&self, blob: &Descriptor) -> sociable_oci::Result<Answer> {
        let body = self.source.blob(blob)?;
        let mut answer = Answer::new(&blob.media_type, blob.size, body);
        answer.header("docker-content-digest", &blob.digest.to_string());
        answer.header("accept-ranges", "bytes");
        Ok(answer)
    }

    fn part(&self, blob: &Descriptor, range: &str) -> sociable_oci::Result<Answer> {
        // To several ranges at once 400 is what clients know that they then ask for one: some registries do so.
        let Some((first, last)) = one_range(range) else {
            return Ok(Answer::text(StatusCode::BAD_REQUEST, "one range at a time"));
        };
        let last = last.unwrap_or(u64::MAX).min(blob.size.saturating_sub(1));
        if first > last || first >= blob.size {
            return Ok(Answer::text(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "beyond the end",
            ));
        }
        let length = last - first + 1;
        let body = self.source.blob_from(blob, first)?.take(length);
        let mut answer = Answer::new(&blob.media_type, length, Box::new(body));
        answer.status = StatusCode::PARTIAL_CONTENT;
        answer.header(
            "content-range",
            &format!("bytes {first}-{last}/{}", blob.size),
        );
        if self.layers.contains(&blob.digest) {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(Request {
                layer: blob.digest,
                range: first..last + 1,
            });
        }
        Ok(answer)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("source", &self.source.name())
            .finish_non_exhaustive()
    }
}

impl Answer {
    fn new(media_type: &str, length: u64, body: Box<dyn Read + Send>) -> Self {
        let mut this = Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            length,
            body,
        };
        this.header("content-type", media_type);
        this
    }

    fn text(status: StatusCode, text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut this = Self::new(
            "text/plain",
            bytes.len() as u64,
            Box::new(Cursor::new(bytes)),
        );
        this.status = status;
        this
    }

    /// A value that no header can have (a media type can hold anything) is left out.
    fn header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as other answers")]
fn not_found() -> sociable_oci::Result<Answer> {
    Ok(Answer::text(StatusCode::NOT_FOUND, "not in this image"))
}

/// Sends a body, until it ends, breaks, or nobody wants it any more.
fn send_all(mut body: Box<dyn Read + Send>, send: &mpsc::Sender<io::Result<Frame<Bytes>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = body.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let is_last = !matches!(read, Ok(1..));
        let frame = read.map(|_| Frame::data(Bytes::from(chunk)));
        if send.blocking_send(frame).is_err() || is_last {
            return;
        }
    }
}

/// `bytes=FIRST-LAST` or `bytes=FIRST-`.
fn one_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = match last {
        "" => None,
        last => Some(last.parse().ok()?),
    };
    Some((first.parse().ok()?, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(one_range("bytes=0-9"), Some((0, Some(9))));
        assert_eq!(one_range("bytes=7-"), Some((7, None)));
        for none in ["", "bytes=-5", "bytes=0-1,4-5", "items=0-1"] {
            assert_eq!(one_range(none), None, "{none}");
        }
    }
}
