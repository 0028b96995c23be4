//! How image and index leave the build.

mod config;
mod image;
mod layout;

use sociable_buildkit::gateway::Warning;
use sociable_buildkit::llb::{Graph, Merge, Output, files::Files};
use sociable_buildkit::{Error, Gateway, Reply};
use sociable_oci::{Descriptor, Digest, Index};
use sociable_policy::Policies;
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::parts::{self, Assembly, Image};
use sociable_soci::{Cancel, IndexSettings, Run, Silent};

use crate::build::{Built, Layer};
use crate::options::{self, Asked};
use crate::steps::{Given, Workshop};
use crate::task::Task;

/// BuildKit's word for laying results over each other.
const MERGE: &str = "mergeop";

/// Whether the result holds the base image's layers.
pub(crate) fn keeps_base_layers(asked: &Asked) -> bool {
    matches!(
        asked.output,
        options::Output::Layout | options::Output::Push
    )
}

/// Whether this BuildKit can do what was asked for.
pub(crate) fn check(workshop: Workshop<'_>) -> Result<(), Error> {
    if workshop.capabilities.has(MERGE) {
        return Ok(());
    }
    let why = workshop
        .capabilities
        .why_not(MERGE)
        .unwrap_or("it is too old");
    Err(Error::message(format!(
        "this builder cannot lay results over each other (MergeOp: {why}), as the older image store of Docker cannot: switch to containerd's \
         (\"features\": {{\"containerd-snapshotter\": true}} in daemon.json), or build with `docker buildx create --driver docker-container --use`"
    )))
}

/// Brings the result out.
pub(crate) async fn finish(
    workshop: Workshop<'_>,
    reply: Reply,
    built: &[Built],
) -> Result<Reply, Error> {
    match workshop.asked.output {
        options::Output::None => Ok(reply),
        options::Output::Image => image::finish(workshop, reply, built).await,
        options::Output::Layout => layout::finish(workshop, built).await,
        options::Output::Push => layout::push(workshop, reply, built).await,
    }
}

/// An image layout of blobs that steps have made, and of documents.
fn put_together<'a>(
    graph: &mut Graph,
    layers: impl Iterator<Item = &'a Layer>,
    documents: &[Vec<u8>],
    roots: Vec<Descriptor>,
) -> Output {
    let mut files = Files::on(None).directory("/blobs/sha256", 0o755);
    for document in documents {
        let path = format!("/blobs/sha256/{}", Digest::sha256_of(document).hex());
        files = files.write(&path, 0o644, document.clone());
    }
    let files = files
        .write("/oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#)
        .write("/index.json", 0o644, Index::new(roots).to_bytes())
        .named("[sociable] write manifests and SOCI indexes");
    let documents = graph.add(files);
    let mut all: Vec<Output> = Vec::new();
    for out in layers.filter_map(|layer| layer.out.as_ref()) {
        if !all.contains(out) {
            all.push(out.clone());
        }
    }
    // Last, so that its index.json is the one to be seen.
    all.push(documents);
    graph.add(Merge::of(&all).named("[sociable] put the layout together"))
}

/// Pushes an image layout, in every build anew.
async fn push(
    workshop: Workshop<'_>,
    graph: &mut Graph,
    layout: &Output,
    what: &str,
    repositories: Vec<String>,
    under_their_tags: bool,
) -> Result<(), Error> {
    let name = format!("push {what} to {}", repositories.join(", "));
    let task = Task::Push {
        repositories,
        under_their_tags,
        plain_http: workshop.asked.plain_http.clone(),
    };
    let given = Given {
        layout: Some(layout),
        registry: true,
        always: true,
        ..Given::default()
    };
    let step = workshop.add(graph, &name, &task, &given)?;
    workshop.answer(graph, &step).await.map(|_| ())
}

/// Makes the documents of images, and says for which there is no index.
async fn assemble(
    workshop: Workshop<'_>,
    built: &[Built],
    images: &[Image],
) -> Result<Assembly, Error> {
    let settings = workshop.asked.settings.index_settings(Policies::default());
    let settings = IndexSettings {
        decided: workshop.asked.settings.policies.clone(),
        ..settings
    };
    let cancel = Cancel::new();
    let run = Run {
        progress: &Silent,
        cancel: &cancel,
        jobs: 1,
    };
    let assembly = parts::assemble(images, &settings, run)
        .map_err(|e| Error::message(sociable_soci::chain(&e)))?;
    report(workshop.gateway, built, &assembly).await?;
    report_prefetch(workshop.gateway, built, &assembly).await?;
    Ok(assembly)
}

/// Says which files to prefetch no indexed layer has.
async fn report_prefetch(
    gateway: &Gateway,
    built: &[Built],
    assembly: &Assembly,
) -> Result<(), Error> {
    let platforms = assembly.report.iter().flat_map(|report| &report.platforms);
    for platform in platforms.filter(|platform| !platform.prefetch_missing.is_empty()) {
        let of = |built: &&Built| built.target.platform.to_string() == platform.platform;
        let Some(about) = built.iter().find(of).and_then(|b| b.target.head.as_ref()) else {
            continue;
        };
        gateway
            .warn(Warning {
                about: about.digest().to_owned(),
                short: format!(
                    "SociablePrefetchMissing: no indexed layer of the image for {} has {}",
                    platform.platform,
                    platform.prefetch_missing.join(", ")
                ),
                detail: Vec::new(),
                url: String::new(),
            })
            .await?;
    }
    Ok(())
}

/// Says for which platforms there is no index, and why.
async fn report(gateway: &Gateway, built: &[Built], assembly: &Assembly) -> Result<(), Error> {
    for (built, index) in built.iter().zip(&assembly.soci_indexes) {
        let Some(about) = built.target.head.as_ref().filter(|_| index.is_none()) else {
            continue;
        };
        let reasons = built.layers().map(|layer| match &layer.part.outcome {
            LayerOutcome::Skipped(reason) => {
                format!(
                    "layer {}: {}",
                    layer.part.layer.digest,
                    options::why(reason)
                )
            }
            _ => format!("layer {}: it is the base image's", layer.part.layer.digest),
        });
        gateway
            .warn(Warning {
                about: about.digest().to_owned(),
                short: format!(
                    "SociableNothingIndexed: the image for {} gets no SOCI index: of no layer there is one",
                    built.target.platform
                ),
                detail: reasons.collect(),
                url: String::new(),
            })
            .await?;
    }
    Ok(())
}
