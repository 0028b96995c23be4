//! A connection to containerd with blocking calls.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::Options;
use super::api::{
    Call, GetImageRequest, Image, Info, InfoRequest, ListImagesRequest, ListNamespacesRequest,
    ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use super::error::{ContainerdError, Refusal};
use super::reference::candidates;
use crate::digest::Digest;
use crate::error::Result;

/// How long containerd may take over any one answer: a commit writes a large blob to the disk first.
const ANSWER: Duration = Duration::from_mins(10);
/// Largest answer accepted: containerd's own limit for what it sends.
const MAX_ANSWER: usize = 16 << 20;
/// What containerd sends of one blob before it is read, in bytes: its own chunks are as large.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all blobs together: so much that readers which wait for others can never use it up.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// What is asked of containerd when a name is tried in vain.
const NOT_FOUND_ACTION: &str = "look for images in";

pub(super) struct Client {
    runtime: Runtime,
    channel: Channel,
    namespace: MetadataValue<Ascii>,
    place: String,
}

impl Client {
    /// Connects.
    pub(super) fn connect(options: &Options) -> Result<Self> {
        let socket: PathBuf = match options.address.strip_prefix("unix:") {
            Ok(rest) => PathBuf::from("/").join(rest),
            Err(_) => options.address.clone(),
        };
        let failed = |source| ContainerdError::Connect {
            address: socket.display().to_string(),
            source,
        };
        let namespace =
            namespace(&options.namespace).ok_or_else(|| ContainerdError::BadNamespace {
                namespace: options.namespace.clone(),
            })?;
        // That nobody is there is said better by the system than by the layers above.
        UnixStream::connect(&socket).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("containerd")
            .enable_all()
            .build()
            .map_err(failed)?;
        let path = socket.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                tokio::net::UnixStream::connect(path)
                    .await
                    .map(TokioIo::new)
            }
        });
        // The address is not looked at, but has to be one; "localhost" is what it says of a socket.
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let channel = runtime
            .block_on(endpoint.connect_with_connector(connector))
            .map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(Self {
            runtime,
            channel,
            namespace,
            place: format!(
                "containerd at {} (namespace {})",
                socket.display(),
                options.namespace
            ),
        })
    }

    /// Socket and namespace, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Waits for an answer.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, Refusal> {
        self.wait_for(ANSWER, answer)
    }

    fn wait_for<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, Refusal> {
        self.runtime
            .block_on(async { tokio::time::timeout(time, answer).await })
            .map_err(|_| Refusal::timeout(time.as_secs()))?
            .map_err(Refusal::from)
    }

    /// Asks, and waits for the answer.
    pub(super) fn call<Q: Call>(&self, question: Q) -> Result<Q::Answer, Refusal> {
        self.call_in(self.request(question, None), ANSWER)
    }

    /// As [`Client::call`], for what is done on the way out: it does not wait for long.
    pub(super) fn call_briefly<Q: Call>(&self, question: Q) -> Result<Q::Answer, Refusal> {
        self.call_in(self.request(question, None), Duration::from_secs(10))
    }

    fn call_in<Q: Call>(&self, request: Request<Q>, time: Duration) -> Result<Q::Answer, Refusal> {
        let mut grpc = self.grpc();
        self.wait_for(time, async move {
            ready(&mut grpc).await?;
            let codec = ProstCodec::<Q, Q::Answer>::default();
            let answer = grpc
                .unary(request, PathAndQuery::from_static(Q::PATH), codec)
                .await?;
            Ok(answer.into_inner())
        })
    }

    /// Starts to read a blob.
    pub(super) fn read(&self, question: ReadRequest) -> Result<Streaming<ReadResponse>, Refusal> {
        let mut grpc = self.grpc();
        let request = self.request(question, None);
        self.wait(async move {
            ready(&mut grpc).await?;
            let path = PathAndQuery::from_static(ReadRequest::PATH);
            let answer = grpc
                .server_streaming(request, path, ProstCodec::default())
                .await?;
            Ok(answer.into_inner())
        })
    }

    /// Starts to write a blob under a lease; the first question has to be waiting.
    pub(super) fn write(
        &self,
        questions: tokio_stream::wrappers::ReceiverStream<WriteRequest>,
        lease: &MetadataValue<Ascii>,
    ) -> Result<Streaming<WriteResponse>, Refusal> {
        let mut grpc = self.grpc();
        let request = self.request(questions, Some(lease));
        self.wait(async move {
            ready(&mut grpc).await?;
            let path = PathAndQuery::from_static(WriteRequest::PATH);
            let codec = ProstCodec::<WriteRequest, WriteResponse>::default();
            Ok(grpc.streaming(request, path, codec).await?.into_inner())
        })
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn request<T>(&self, message: T, lease: Option<&MetadataValue<Ascii>>) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        request
    }

    /// What the content store knows of a blob; `None` if it has none.
    pub(super) fn info(&self, digest: &Digest) -> Result<Option<Info>> {
        let question = InfoRequest {
            digest: digest.to_string(),
        };
        match self.call(question) {
            Ok(answer) => Ok(answer.info),
            Err(refusal) if refusal.is_absence() => Ok(None),
            Err(refusal) => Err(Refusal::on("look for a blob in", &self.place)(refusal)),
        }
    }

    /// The image under a name.
    pub(super) fn image(&self, name: &str) -> Result<Option<Image>> {
        let question = GetImageRequest {
            name: name.to_owned(),
        };
        match self.call(question) {
            Ok(answer) => Ok(answer.image),
            Err(refusal) if refusal.is_absence() => Ok(None),
            Err(refusal) => Err(Refusal::on("look for an image in", &self.place)(refusal)),
        }
    }

    /// The image that a reference means: see the module [`reference`](super::reference).
    pub(super) fn find(&self, reference: &str) -> Result<Option<Image>> {
        for name in candidates(reference) {
            if let Some(image) = self.image(&name)? {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Why there is no such image.
    pub(super) fn no_image(&self, reference: &str) -> Result<ContainerdError> {
        let refused = |refusal| Refusal::on(NOT_FOUND_ACTION, &self.place)(refusal);
        let tried = candidates(reference);
        let images = self
            .call(ListImagesRequest { filters: vec![] })
            .map_err(refused)?
            .images
            .len();
        let namespaces: Vec<String> = self
            .call(ListNamespacesRequest {})
            .map_err(refused)?
            .namespaces
            .into_iter()
            .map(|namespace| namespace.name)
            .collect();
        let has_it = |name: &String| {
            let Some(namespace) = namespace(name).filter(|n| *n != self.namespace) else {
                return false;
            };
            tried.iter().any(|image| {
                let question = GetImageRequest {
                    name: image.clone(),
                };
                let mut request = self.request(question, None);
                request
                    .metadata_mut()
                    .insert("containerd-namespace", namespace.clone());
                self.call_in(request, ANSWER).is_ok()
            })
        };
        let found_in = namespaces.iter().filter(|n| has_it(n)).cloned().collect();
        Ok(ContainerdError::NoImage {
            place: self.place.clone(),
            tried,
            images,
            found_in,
            namespaces,
        })
    }
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), tonic::Status> {
    grpc.ready()
        .await
        .map_err(|error| tonic::Status::from_error(Box::new(error)))
}

/// containerd's grammar of identifiers (`pkg/identifiers`).
fn namespace(text: &str) -> Option<MetadataValue<Ascii>> {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (text.len() <= 76 && text.split(['-', '.', '_']).all(word))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, chain};

    #[test]
    fn namespaces() {
        for good in ["default", "k8s.io", "a-b_c.d", "moby"] {
            assert!(namespace(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a..b", "-a", "a\n", "ä"] {
            assert!(namespace(bad).is_none(), "{bad}");
        }
    }

    fn refused(options: &Options) -> Error {
        match Client::connect(options) {
            Ok(client) => panic!("connected to {}", client.place()),
            Err(error) => error,
        }
    }

    #[test]
    fn nobody_there() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("none.sock");
        let options = Options {
            address: socket.clone(),
            ..Options::default()
        };
        let error = refused(&options);
        let text = chain(&error);
        assert!(
            text.starts_with("cannot connect to containerd at /") && text.contains("No such file"),
            "{text}"
        );
        // A socket that nobody listens on, named as a URL.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let options = Options {
            address: PathBuf::from(format!("unix://{}", socket.display())),
            ..options
        };
        let text = chain(&refused(&options));
        assert!(text.contains("refused"), "{text}");
        let options = Options {
            namespace: "a b".to_owned(),
            ..options
        };
        assert!(
            refused(&options)
                .to_string()
                .contains("\"a b\" is no namespace")
        );
    }
}
