//! `docker-daemon:REFERENCE`: an image of a running Docker, through the Engine API.
//!
//! Read is what `GET /images/NAME/get` sends, the stream of `docker save`: see
//! [`docker_archive`](crate::docker_archive) for what is in it. Written is what `POST /images/load` takes, an
//! oci-archive on a stream; Docker names the image after the annotation [`IMAGE_NAME`] in `index.json`.
//!
//! Docker has two kinds of stores. *containerd's image store* (`driver-type` in `docker info`, the default of new
//! installations since Docker 29) keeps every blob as it came, and any image index with whatever it lists. The *graph
//! drivers* unpack layers and keep neither their compressed bytes nor indexes, so that an image that is read from
//! there has plain tars for layers, and none with a SOCI index can be kept there: [`DockerDaemonSink`] refuses before
//! anything is sent.
//!
//! Whatever else `index.json` lists, such as a SOCI index v1, becomes an image without a name, which `docker image prune`
//! removes.
//!
//! The daemon is at `DOCKER_HOST` (`unix://PATH`, `tcp://HOST:PORT`), else at `unix:///var/run/docker.sock`. `docker
//! context` and TLS are not supported.

use std::error::Error as StdError;
use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::digest::Digest;
use crate::docker_archive::IMAGE_NAME;
use crate::docker_manifest::spelled_out;
use crate::document::Descriptor;
use crate::error::{Error, Result};
use crate::oci_stream::OciStreamSink;
use crate::sink::{BlobWriter, Hashing, IndexUpdate, Sink};

/// Where Docker listens unless told otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long a small question may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a daemon may prepare an answer: before it sends a byte, Docker writes all of a graph driver's image to disk.
const LONG: Duration = Duration::from_hours(24);
/// Chunks under way between daemon and reader.
const QUEUE: usize = 16;
/// Bytes sent to the daemon at a time.
const CHUNK: usize = 256 << 10;

/// Why the daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Nobody listens there.
    #[error("no Docker daemon listens there")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The user may not talk to it.
    #[error("its socket may not be opened")]
    Forbidden(#[source] Box<dyn StdError + Send + Sync>),
    /// An address of a kind that is not supported.
    #[error("the address {0:?} is of no kind that is supported: unix://PATH or tcp://HOST:PORT")]
    Address(String),
    /// TLS was asked for.
    #[error("DOCKER_TLS_VERIFY is set, and TLS is not supported")]
    Tls,
    /// There is no such image.
    #[error("it has no such image")]
    NoImage,
    /// A store that cannot keep an image index.
    #[error(
        "its store ({0}) unpacks layers and keeps no image index, so that the SOCI index would be lost"
    )]
    Store(String),
    /// It did not answer.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It reported an error.
    #[error("it says: {0}")]
    Refused(String),
    /// The conversation failed.
    #[error("the conversation failed")]
    Failed(#[source] Box<dyn StdError + Send + Sync>),
    /// The system gives no threads.
    #[error("no thread can be started for it")]
    Runtime(#[source] io::Error),
}

impl DaemonError {
    fn of(error: ApiError) -> Self {
        match error {
            ApiError::SocketNotFoundError(path) => Self::Unreachable(
                io::Error::new(io::ErrorKind::NotFound, format!("there is no file {path}")).into(),
            ),
            ApiError::UnsupportedURISchemeError { uri } => Self::Address(uri),
            ApiError::RequestTimeoutError => Self::Silent(PATIENCE),
            ApiError::DockerStreamError { error } => Self::Refused(error),
            ApiError::DockerResponseServerError {
                status_code: 404, ..
            } => Self::NoImage,
            ApiError::DockerResponseServerError { message, .. } => Self::Refused(message),
            error => match io_kind(&error) {
                Some(io::ErrorKind::PermissionDenied) => Self::Forbidden(error.into()),
                Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    Self::Unreachable(error.into())
                }
                _ => Self::Failed(error.into()),
            },
        }
    }
}

/// The operating system's reason, somewhere among the causes.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// A daemon, and the image in it that is meant.
pub struct Daemon {
    docker: Docker,
    runtime: Runtime,
    address: String,
    reference: String,
}

impl Daemon {
    /// Connects to the daemon at `DOCKER_HOST`, or the default.
    ///
    /// # Errors
    /// [`Error::Daemon`] when there is none.
    pub fn from_env(reference: &str, action: &'static str) -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
        Self::connect(host.as_deref().unwrap_or(DEFAULT_HOST), reference, action)
    }

    /// Connects to the daemon at `host`; `action` says in errors what for.
    ///
    /// # Errors
    /// [`Error::Daemon`] when there is none.
    pub fn connect(host: &str, reference: &str, action: &'static str) -> Result<Self> {
        let failed = |source| Error::Daemon {
            action,
            reference: reference.to_owned(),
            address: host.to_owned(),
            source: Box::new(source),
        };
        let tcp = host.starts_with("tcp://") || host.starts_with("http://");
        if tcp && std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|v| !v.is_empty()) {
            return Err(failed(DaemonError::Tls));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(DaemonError::Runtime(error)))?;
        let docker = Docker::connect_with_host(host)
            .map(|docker| docker.with_timeout(LONG))
            .map_err(|error| failed(DaemonError::of(error)))?;
        let docker = soon(&runtime, docker.negotiate_version()).map_err(failed)?;
        Ok(Self {
            docker,
            runtime,
            address: host.to_owned(),
            reference: reference.to_owned(),
        })
    }

    fn failed(&self, action: &'static str) -> impl Fn(DaemonError) -> Error + use<> {
        let (reference, address) = (self.reference.clone(), self.address.clone());
        move |source| Error::Daemon {
            action,
            reference: reference.clone(),
            address: address.clone(),
            source: Box::new(source),
        }
    }

    /// The name of the graph driver; `None` where containerd's image store keeps the images.
    ///
    /// # Errors
    /// [`Error::Daemon`].
    pub fn graph_driver(&self) -> Result<Option<String>> {
        let info = soon(&self.runtime, self.docker.info()).map_err(self.failed("look at"))?;
        let containerd = info.driver_status.iter().flatten().any(|pair| {
            pair.first().is_some_and(|key| key == "driver-type")
                && pair
                    .get(1)
                    .is_some_and(|kind| kind.starts_with("io.containerd.snapshotter."))
        });
        let driver = info.driver.unwrap_or_else(|| "of no name".to_owned());
        Ok((!containerd).then_some(driver))
    }

    /// The image as the stream of `docker save`.
    ///
    /// # Errors
    /// [`Error::Daemon`], also when there is no such image.
    pub fn export(self) -> Result<Export> {
        soon(&self.runtime, self.docker.inspect_image(&self.reference))
            .map_err(self.failed("read"))?;
        let (sender, receiver) = channel(QUEUE);
        let (docker, reference) = (self.docker, self.reference);
        self.runtime.spawn(async move {
            let mut stream = std::pin::pin!(docker.export_image(&reference));
            while let Some(chunk) = stream.next().await {
                let failed = chunk.is_err();
                let chunk = chunk.map_err(|error| io::Error::other(DaemonError::of(error)));
                // Nobody listens any more when the reader has found something wrong.
                if sender.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Export {
            receiver,
            chunk: Bytes::new(),
            _runtime: self.runtime,
        })
    }
}

/// Asks a small question.
fn soon<T>(
    runtime: &Runtime,
    question: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, DaemonError> {
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, question).await })
        .map_err(|_| DaemonError::Silent(PATIENCE))?
        .map_err(DaemonError::of)
}

/// An image on its way out of a daemon.
pub struct Export {
    receiver: Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    _runtime: Runtime,
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let count = self.chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// An image on its way into a daemon with containerd's image store. See the [module](self).
///
/// Blobs wait for nothing: what the sink is given goes to the daemon, which makes the image visible at the end.
pub struct DockerDaemonSink {
    stream: Option<OciStreamSink<Body>>,
    /// While this is kept the request is not complete, whatever becomes of the stream.
    end: Option<Sender<io::Result<Bytes>>>,
    load: Option<JoinHandle<()>>,
    outcome: Arc<Mutex<Option<DaemonError>>>,
    daemon: Daemon,
    name: String,
}

impl DockerDaemonSink {
    /// Asks the daemon whether it can keep a SOCI-enabled image, and begins to load it.
    ///
    /// # Errors
    /// [`Error::Daemon`]: when it cannot, or is not there.
    pub fn create(daemon: Daemon) -> Result<Self> {
        if let Some(driver) = daemon.graph_driver()? {
            return Err(daemon.failed("load")(DaemonError::Store(driver)));
        }
        let (sender, receiver) = channel(QUEUE);
        let outcome = Arc::new(Mutex::new(None));
        let load = daemon.runtime.spawn({
            let (docker, outcome) = (daemon.docker.clone(), Arc::clone(&outcome));
            async move {
                let options = ImportImageOptionsBuilder::default().quiet(true).build();
                let body = ReceiverStream::new(receiver);
                let mut answers = std::pin::pin!(docker.import_image_stream(options, body, None));
                while let Some(answer) = answers.next().await {
                    if let Err(error) = answer {
                        *lock(&outcome) = Some(DaemonError::of(error));
                        return;
                    }
                }
            }
        });
        let name = format!("docker-daemon:{}", daemon.reference);
        let body = Body {
            chunk: Vec::with_capacity(CHUNK),
            sender: sender.clone(),
            outcome: Arc::clone(&outcome),
        };
        Ok(Self {
            stream: Some(OciStreamSink::new(body, name.clone())?),
            end: Some(sender),
            load: Some(load),
            outcome,
            daemon,
            name,
        })
    }

    fn stream(&self) -> Result<&OciStreamSink<Body>> {
        self.stream.as_ref().ok_or_else(|| Error::Incomplete {
            place: self.name.clone(),
            why: "it is complete already".to_owned(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of the request.
struct Body {
    chunk: Vec<u8>,
    sender: Sender<io::Result<Bytes>>,
    outcome: Arc<Mutex<Option<DaemonError>>>,
}

impl Body {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        if chunk.is_empty() || self.sender.blocking_send(Ok(chunk.into())).is_ok() {
            return Ok(());
        }
        // The daemon has hung up, and mostly said why.
        Err(lock(&self.outcome)
            .take()
            .map_or_else(|| io::ErrorKind::BrokenPipe.into(), io::Error::other))
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Sink for DockerDaemonSink {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn has(&self, digest: &Digest) -> Result<bool> {
        self.stream()?.has(digest)
    }

    fn begin_with(
        &self,
        known: Option<(&Digest, u64)>,
        hashing: Hashing,
    ) -> Result<Box<dyn BlobWriter + '_>> {
        self.stream()?.begin_with(known, hashing)
    }

    fn finish(mut self: Box<Self>, update: &IndexUpdate) -> Result<Descriptor> {
        let name = spelled_out(&self.daemon.reference);
        let tag = name.rsplit(':').next().map(str::to_owned);
        let update = update.clone().annotated(IMAGE_NAME, &name).tagged(tag);
        if let Some(stream) = self.stream.take() {
            Box::new(stream).finish(&update)?;
        }
        drop(self.end.take());
        if let Some(load) = self.load.take() {
            // It fails only when it panics.
            let joined = self.daemon.runtime.block_on(load);
            joined
                .map_err(|error| self.daemon.failed("load")(DaemonError::Failed(error.into())))?;
        }
        match lock(&self.outcome).take() {
            Some(error) => Err(self.daemon.failed("load")(error)),
            None => Ok(update.image().clone()),
        }
    }
}

impl Drop for DockerDaemonSink {
    fn drop(&mut self) {
        if let Some(load) = self.load.take() {
            // The connection breaks, and the daemon forgets what it has got.
            load.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::error::chain;

    fn connect_error(host: &str) -> String {
        match Daemon::connect(host, "app", "read") {
            Ok(_) => panic!("there is no daemon"),
            Err(error) => chain(&error),
        }
    }

    #[test]
    fn no_daemon() {
        let error = connect_error("unix:///nowhere/docker.sock");
        assert!(
            error.starts_with(
                "cannot read app of the Docker daemon at unix:///nowhere/docker.sock: no Docker daemon listens there"
            ),
            "{error}"
        );
        // A socket file whose daemon is gone.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let error = connect_error(&format!("unix://{}", path.display()));
        assert!(error.contains("no Docker daemon listens there"), "{error}");
        // A port that nobody listens on.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = connect_error(&format!("tcp://{free}"));
        assert!(error.contains("no Docker daemon listens there"), "{error}");
        let error = connect_error("fd://x");
        assert!(error.contains("no kind that is supported"), "{error}");
    }

    #[test]
    fn something_else_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            (&stream)
                .write_all(b"HTTP/1.1 500 No\r\ncontent-length: 19\r\n\r\n{\"message\":\"sulks\"}")
                .unwrap();
        });
        let error = connect_error(&host);
        server.join().unwrap();
        assert!(error.contains("sulks"), "{error}");
    }
}
