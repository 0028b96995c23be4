//! Base images: where they are, and their layers.

use serde::Deserialize;
use sociable_buildkit::gateway::ImageQuery;
use sociable_buildkit::llb::{Graph, Operation, Output, Source};
use sociable_buildkit::{Error, Gateway};
use sociable_oci::registry::Reference;
use sociable_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

use crate::platform;
use crate::steps::{Given, Step, Workshop};
use crate::task::{BLOB_FILE, NOT_READ, Remote, Task};

/// BuildKit's word for being able to give a blob of an image as a file.
const BLOBS: &str = "source.imageblob";

/// A base image.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// As the graph has it.
    reference: String,
    /// Where its blobs are.
    repository: Repository,
    /// What the reference names: manifest or index.
    digest: String,
    platform: Option<Platform>,
    /// Digest of the config that BuildKit has chosen.
    config: Digest,
    /// What it says of its layers.
    pub(crate) diff_ids: Vec<Digest>,
    /// How many of the history's entries are layers.
    pub(crate) history: usize,
}

/// Where a base image's blobs are.
#[derive(Debug, Clone)]
enum Repository {
    /// In a registry: `HOST/REPOSITORY`.
    Registry(String),
    /// In a layout of the client's: name, session and store.
    Layout {
        name: String,
        session: String,
        store: String,
    },
}

/// A config, as far as its layers go.
#[derive(Deserialize)]
struct Layers {
    #[serde(default)]
    rootfs: Rootfs,
    #[serde(default)]
    history: Option<Vec<Entry>>,
}

#[derive(Default, Deserialize)]
struct Rootfs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    empty_layer: bool,
}

/// Of how many layers a config's history speaks.
pub(crate) fn layers_in_history(config: &[u8]) -> Result<usize, Error> {
    let layers: Layers = serde_json::from_slice(config)
        .map_err(|e| Error::message(format!("the image's config cannot be read: {e}")))?;
    let history = layers.history.unwrap_or_default();
    Ok(history.iter().filter(|entry| !entry.empty_layer).count())
}

impl Base {
    /// Asks BuildKit about the image that an operation fetches.
    pub(crate) async fn resolve(
        gateway: &Gateway,
        graph: &Graph,
        image: &Output,
    ) -> Result<Self, Error> {
        let odd = || Error::message(format!("{} is no image", image.digest()));
        let vertex = graph.vertex(image.digest()).ok_or_else(odd)?;
        let Operation::Source(source) = &vertex.operation else {
            return Err(odd());
        };
        let (scheme, reference) = source.identifier.split_once("://").ok_or_else(odd)?;
        let attribute = |key: &str| source.attrs.get(key).cloned().unwrap_or_default();
        let layout =
            (scheme == "oci-layout").then(|| (attribute("oci.session"), attribute("oci.store")));
        let answer = gateway
            .image_config(ImageQuery {
                reference: reference.to_owned(),
                platform: vertex.platform.clone(),
                layout: layout.clone(),
            })
            .await?;
        let config: Layers = serde_json::from_slice(&answer.config).map_err(|e| {
            Error::message(format!("the config of {reference} cannot be read: {e}"))
        })?;
        let pinned = reference.rsplit_once('@').map(|(_, digest)| digest);
        let repository = if let Some((session, store)) = layout {
            Repository::Layout {
                name: before_digest(reference).to_owned(),
                session,
                store,
            }
        } else {
            let parsed = reference.parse::<Reference>();
            let parsed = parsed.map_err(|e| Error::message(e.to_string()))?;
            Repository::Registry(parsed.name.to_string())
        };
        Ok(Self {
            reference: reference.to_owned(),
            repository,
            digest: pinned.map_or(answer.digest, str::to_owned),
            platform: vertex.platform.as_ref().map(platform::from_llb),
            config: Digest::sha256_of(&answer.config),
            diff_ids: config.rootfs.diff_ids.unwrap_or_default(),
            history: layers_in_history(&answer.config)?,
        })
    }

    /// Its layers' descriptors, with the media types that BuildKit's exporter will give them.
    pub(crate) async fn layers(&self, workshop: Workshop<'_>) -> Result<Vec<Descriptor>, Error> {
        let wrong = |why: String| {
            Error::message(format!(
                "the manifest of the base image {} cannot be used: {why}",
                self.name()
            ))
        };
        let bytes = self.manifest(workshop).await?.map_err(wrong)?;
        let manifest = Manifest::parse(&bytes).map_err(|e| wrong(e.to_string()))?;
        if manifest.config.digest != self.config {
            return Err(wrong(
                "it is not the one of the platform that BuildKit has chosen; --build-arg SOCI_BASE=false leaves the base image out (with \
                 SOCI_OUTPUT=image)"
                    .to_owned(),
            ));
        }
        if manifest.layers.len() != self.diff_ids.len() {
            return Err(wrong(format!(
                "it lists {} layers, and the config {}",
                manifest.layers.len(),
                self.diff_ids.len()
            )));
        }
        let mut layers = manifest.layers;
        for layer in &mut layers {
            layer.media_type = media_type::layer_as_oci(&layer.media_type).to_owned();
        }
        Ok(layers)
    }

    /// Its manifest; the inner error is about what was read.
    ///
    /// A step reads it from the registry, or else BuildKit, which has the user's credentials, and which some registries answer only for
    /// manifests of Docker's kind.
    async fn manifest(&self, workshop: Workshop<'_>) -> Result<Result<Vec<u8>, String>, Error> {
        let blobs = workshop.capabilities.has(BLOBS);
        if matches!(self.repository, Repository::Layout { .. }) {
            return if blobs {
                self.manifest_by_buildkit(workshop).await
            } else {
                Err(hidden())
            };
        }
        if !blobs {
            return Ok(Ok(self.manifest_by_step(workshop, false).await?));
        }
        let bytes = self.manifest_by_step(workshop, true).await?;
        if bytes != NOT_READ {
            return Ok(Ok(bytes));
        }
        match self.manifest_by_buildkit(workshop).await {
            Ok(manifest) => Ok(manifest),
            // What it says is about what went wrong first.
            Err(_) => Ok(Ok(self.manifest_by_step(workshop, false).await?)),
        }
    }

    async fn manifest_by_step(
        &self,
        workshop: Workshop<'_>,
        gently: bool,
    ) -> Result<Vec<u8>, Error> {
        let mut graph = workshop.graph.clone();
        let task = Task::Manifest {
            from: self.remote(workshop)?,
            platform: self.platform.clone(),
            gently,
        };
        let given = Given {
            registry: true,
            // Its answer may be that it could not.
            always: gently,
            ..Given::default()
        };
        let name = format!("read the manifest of {}", self.name());
        let step = workshop.add(&mut graph, &name, &task, &given)?;
        workshop.answer(&graph, &step).await
    }

    async fn manifest_by_buildkit(
        &self,
        workshop: Workshop<'_>,
    ) -> Result<Result<Vec<u8>, String>, Error> {
        let bytes = self.document(workshop, &self.digest).await?;
        let index = match entries(&bytes) {
            Ok(None) => return Ok(Ok(bytes)),
            Ok(Some(index)) => index,
            Err(why) => return Ok(Err(why)),
        };
        match self.choose(&index) {
            Some(entry) => {
                let digest = entry.digest.to_string();
                Ok(Ok(self.document(workshop, &digest).await?))
            }
            None => Ok(Err(
                "it is an index without the platform of this build".to_owned()
            )),
        }
    }

    /// A manifest or an index, as a blob.
    async fn document(&self, workshop: Workshop<'_>, digest: &str) -> Result<Vec<u8>, Error> {
        let mut graph = Graph::default();
        let name = format!("[sociable] read the manifest of {}", self.name());
        let blob = graph.add(self.blob(digest).named(name));
        let blob = workshop.gateway.solve(&graph, &blob).await?;
        workshop.gateway.read_file(&blob, BLOB_FILE).await
    }

    fn choose<'i>(&self, index: &'i Index) -> Option<&'i Descriptor> {
        let wanted = self.platform.clone().unwrap_or_else(Platform::host);
        let wanted = wanted.normalize();
        index.manifests.iter().find(|entry| {
            media_type::is_manifest(&entry.media_type)
                && entry
                    .platform
                    .as_ref()
                    .is_some_and(|platform| wanted.matches_strict(platform))
        })
    }

    /// A step that indexes a layer, and writes it where that is to be kept.
    pub(crate) fn step(
        &self,
        workshop: Workshop<'_>,
        graph: &mut Graph,
        layer: &Descriptor,
        diff_id: Digest,
        keep: bool,
    ) -> Result<Step, Error> {
        let mounted = workshop.capabilities.has(BLOBS);
        let name = format!("layer {} of {}", layer.digest.short(), self.name());
        let blob = mounted.then(|| {
            let blob = self.blob(&layer.digest.to_string());
            graph.add(blob.named(format!("[sociable] {name}")))
        });
        let task = Task::Base {
            settings: workshop.asked.settings.clone(),
            layer: layer.clone(),
            diff_id,
            index: workshop.asked.base,
            keep,
            from: if mounted {
                None
            } else {
                Some(self.remote(workshop)?)
            },
        };
        let given = Given {
            blob: blob.as_ref(),
            registry: !mounted,
            policies: workshop.policies,
            ..Given::default()
        };
        workshop.add(graph, &format!("index {name}"), &task, &given)
    }

    fn blob(&self, digest: &str) -> Source {
        match &self.repository {
            Repository::Registry(name) => {
                Source::image_blob(&format!("{name}@{digest}"), BLOB_FILE)
            }
            Repository::Layout {
                name,
                session,
                store,
            } => Source::new(format!("oci-layout+blob://{name}@{digest}"))
                .attribute("http.filename", BLOB_FILE)
                .attribute("oci.session", session)
                .attribute("oci.store", store),
        }
    }

    fn remote(&self, workshop: Workshop<'_>) -> Result<Remote, Error> {
        match &self.repository {
            Repository::Registry(name) => Ok(Remote {
                reference: format!("{name}@{}", self.digest),
                plain_http: workshop.asked.plain_http.clone(),
            }),
            Repository::Layout { .. } => Err(hidden()),
        }
    }

    /// What BuildKit calls the making of its layers.
    pub(crate) fn pulled_from(&self) -> String {
        format!("pulled from {}", self.reference)
    }

    /// For people.
    pub(crate) fn name(&self) -> &str {
        match &self.repository {
            Repository::Registry(name) | Repository::Layout { name, .. } => name,
        }
    }
}

fn hidden() -> Error {
    Error::message(
        "the base image is in a layout of the client's, which BuildKit shows to nobody before version 0.28; \
         --build-arg SOCI_BASE=false leaves the base image out (with SOCI_OUTPUT=image)",
    )
}

/// An index; `None` for what is a manifest.
fn entries(bytes: &[u8]) -> Result<Option<Index>, String> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let kind: Kind = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if kind.manifests.is_none() {
        return Ok(None);
    }
    Index::parse(bytes).map(Some).map_err(|e| e.to_string())
}

fn before_digest(reference: &str) -> &str {
    reference
        .split_once('@')
        .map_or(reference, |(name, _)| name)
}
