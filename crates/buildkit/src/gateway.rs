//! What a frontend can ask BuildKit for.

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1::frontend as pb;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::pb::{Definition, Platform};
use tonic::transport::Channel;

use crate::llb::{Graph, Output};
use crate::reply::{Ref, Refs, Reply};
use crate::{Error, stdio};

/// BuildKit's own limit for messages; graphs of large Dockerfiles exceed the usual 4 MiB.
const MAX_MESSAGE: usize = 16 << 20;

/// The connection to BuildKit. Requests may be made side by side.
#[derive(Debug, Clone)]
pub struct Gateway {
    client: LlbBridgeClient<Channel>,
}

/// What BuildKit can do.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    llb: BTreeMap<String, String>,
}

impl Capabilities {
    /// Whether an operation is known and allowed, such as `mergeop` or `source.imageblob`.
    #[must_use]
    pub fn has(&self, capability: &str) -> bool {
        self.llb.get(capability).is_some_and(String::is_empty)
    }

    /// Why a known operation is not allowed here.
    #[must_use]
    pub fn why_not(&self, capability: &str) -> Option<&str> {
        let why = self.llb.get(capability)?;
        (!why.is_empty()).then_some(why)
    }
}

/// A nested build by another frontend.
#[derive(Debug, Clone, Default)]
pub struct Nested {
    /// Its name, such as `dockerfile.v0`.
    pub frontend: String,
    /// Its options: none are inherited.
    pub options: BTreeMap<String, String>,
    /// Contexts that were handed in: see [`Gateway::inputs`].
    pub inputs: HashMap<String, Definition>,
    /// Wait until everything is built.
    pub evaluate: bool,
}

/// An image's config, in a registry or in a layout of the client's.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// Digest of what the reference names: manifest or index.
    pub digest: String,
    /// The config, JSON.
    pub config: Vec<u8>,
}

/// Which image's config.
#[derive(Debug, Clone, Default)]
pub struct ImageQuery {
    /// The reference.
    pub reference: String,
    /// Which of the image's platforms; BuildKit's own if none.
    pub platform: Option<Platform>,
    /// For a layout of the client's: its session and store, as the source operation has them.
    pub layout: Option<(String, String)>,
}

/// Something for the user to see that is no error.
#[derive(Debug, Clone, Default)]
pub struct Warning {
    /// Digest of the operation that it is about; BuildKit wants one.
    pub about: String,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where to read on.
    pub url: String,
}

impl Gateway {
    /// Connects over standard input and output.
    ///
    /// # Errors
    /// [`Error::Connection`].
    pub async fn connect() -> Result<Self, Error> {
        let channel = stdio::connect().await?;
        let client = LlbBridgeClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(Self { client })
    }

    // The client is cheap to clone: clones share the connection.
    fn client(&self) -> LlbBridgeClient<Channel> {
        self.client.clone()
    }

    /// What BuildKit can do.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn capabilities(&self) -> Result<Capabilities, Error> {
        let asked = "Ping";
        let pong = self.client().ping(pb::PingRequest {}).await;
        let pong = pong.map_err(|s| Error::of(asked, &s))?.into_inner();
        let llb = pong.llb_caps.into_iter().map(|cap| {
            let why = match (cap.enabled, cap.disabled_reason_msg) {
                (true, _) => String::new(),
                (false, why) if why.is_empty() => "it is switched off".to_owned(),
                (false, why) => why,
            };
            (cap.id, why)
        });
        Ok(Capabilities { llb: llb.collect() })
    }

    /// Contexts that were handed in as graphs, by their names.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn inputs(&self) -> Result<HashMap<String, Definition>, Error> {
        let inputs = self.client().inputs(pb::InputsRequest {}).await;
        let inputs = inputs.map_err(|s| Error::of("Inputs", &s))?;
        Ok(inputs.into_inner().definitions)
    }

    /// A reference to what an output of a graph will be. Nothing is built before somebody looks.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn solve(&self, graph: &Graph, output: &Output) -> Result<Ref, Error> {
        self.solve_definition(graph.definition(output)).await
    }

    /// As [`Gateway::solve`], for a graph of others.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn solve_definition(&self, definition: Definition) -> Result<Ref, Error> {
        let request = pb::SolveRequest {
            definition: Some(definition),
            ..pb::SolveRequest::default()
        };
        match self.request(request).await?.refs {
            Refs::One(one) => Ok(one),
            Refs::Many(_) => Err(Error::Answer {
                asked: "Solve",
                why: "one graph has several results".to_owned(),
            }),
        }
    }

    /// Lets another frontend build.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn solve_nested(&self, nested: Nested) -> Result<Reply, Error> {
        self.request(pb::SolveRequest {
            frontend: nested.frontend,
            frontend_opt: nested.options.into_iter().collect(),
            frontend_inputs: nested.inputs,
            evaluate: nested.evaluate,
            ..pb::SolveRequest::default()
        })
        .await
    }

    async fn request(&self, request: pb::SolveRequest) -> Result<Reply, Error> {
        let asked = "Solve";
        let request = pb::SolveRequest {
            allow_result_return: true,
            allow_result_array_ref: true,
            ..request
        };
        let answer = self.client().solve(request).await;
        let answer = answer.map_err(|s| Error::of(asked, &s))?.into_inner();
        let result = answer.result.ok_or_else(|| Error::Answer {
            asked,
            why: "it has no result".to_owned(),
        })?;
        Reply::from_message(asked, result)
    }

    /// Builds what a reference stands for.
    ///
    /// # Errors
    /// [`Error::BuildKit`], with the step that failed.
    pub async fn evaluate(&self, what: &Ref) -> Result<(), Error> {
        if what.is_empty() {
            return Ok(());
        }
        let request = pb::EvaluateRequest {
            r#ref: what.id.clone(),
        };
        let done = self.client().evaluate(request).await;
        done.map(|_| ()).map_err(|s| Error::of("Evaluate", &s))
    }

    /// Reads a file of a result, which is built if it is not yet.
    ///
    /// # Errors
    /// [`Error::BuildKit`], with the step that failed.
    pub async fn read_file(&self, from: &Ref, path: &str) -> Result<Vec<u8>, Error> {
        let request = pb::ReadFileRequest {
            r#ref: from.id.clone(),
            file_path: path.to_owned(),
            ..pb::ReadFileRequest::default()
        };
        let file = self.client().read_file(request).await;
        let file = file.map_err(|s| Error::of("ReadFile", &s))?;
        Ok(file.into_inner().data)
    }

    /// An image's config.
    ///
    /// # Errors
    /// [`Error::BuildKit`], for example where there is no such image.
    pub async fn image_config(&self, query: ImageQuery) -> Result<ImageConfig, Error> {
        let (session_id, store_id) = query.layout.clone().unwrap_or_default();
        let request = pb::ResolveImageConfigRequest {
            r#ref: query.reference,
            platform: query.platform,
            // BuildKit's numbers: 0 for a registry, 1 for a layout.
            resolver_type: i32::from(query.layout.is_some()),
            session_id,
            store_id,
            ..pb::ResolveImageConfigRequest::default()
        };
        let answer = self.client().resolve_image_config(request).await;
        let answer = answer
            .map_err(|s| Error::of("ResolveImageConfig", &s))?
            .into_inner();
        Ok(ImageConfig {
            digest: answer.digest,
            config: answer.config,
        })
    }

    /// Shows the user a warning.
    ///
    /// # Errors
    /// [`Error::BuildKit`].
    pub async fn warn(&self, warning: Warning) -> Result<(), Error> {
        let request = pb::WarnRequest {
            digest: warning.about,
            level: 1,
            short: warning.short.into_bytes(),
            detail: warning.detail.into_iter().map(String::into_bytes).collect(),
            url: warning.url,
            ..pb::WarnRequest::default()
        };
        let done = self.client().warn(request).await;
        done.map(|_| ()).map_err(|s| Error::of("Warn", &s))
    }

    /// Gives result or error back; the last thing a frontend does.
    pub(crate) async fn answer(&self, outcome: Result<Reply, Error>) -> Result<(), Error> {
        let request = match outcome {
            Ok(reply) => pb::ReturnRequest {
                result: Some(reply.into_message()),
                error: None,
            },
            Err(error) => pb::ReturnRequest {
                result: None,
                error: Some(error.into_status()),
            },
        };
        let done = self.client().r#return(request).await;
        done.map(|_| ()).map_err(|s| Error::of("Return", &s))
    }
}
