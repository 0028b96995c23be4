//! `SOCI_OUTPUT=layout` and `push`: the image as a layout of ours, with the base image's layers, complete.

use serde_json::json;
use sociable_buildkit::llb::{Graph, Output};
use sociable_buildkit::{Error, Reply};
use sociable_soci::parts::Image;

use super::{assemble, config, put_together};
use crate::build::Built;
use crate::steps::Workshop;
use crate::target::CONFIG;

/// Said by an image that is none.
const NOTICE: &str = "this is an OCI image layout in the place of an image, made with SOCI_OUTPUT=layout: \
    export it with -o type=local,dest=DIR or -o type=tar,dest=FILE";

pub(super) async fn finish(workshop: Workshop<'_>, built: &[Built]) -> Result<Reply, Error> {
    let mut graph = workshop.graph.clone();
    let layout = layout(workshop, &mut graph, built).await?;
    let mut result = Reply::of(workshop.gateway.solve(&graph, &layout).await?);
    // Whoever exports it as an image gets one that says so when it is run or looked at.
    let platform = built.first().map(|built| built.target.platform.clone());
    let platform = platform.unwrap_or_else(sociable_oci::Platform::host);
    let notice = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {
            "Labels": { "org.opencontainers.image.description": NOTICE },
            "Entrypoint": [NOTICE],
        },
        "rootfs": { "type": "layers", "diff_ids": [] },
        "history": [{ "created_by": NOTICE }],
    });
    result
        .metadata
        .insert(CONFIG.to_owned(), notice.to_string().into_bytes());
    Ok(result)
}

pub(super) async fn push(
    workshop: Workshop<'_>,
    reply: Reply,
    built: &[Built],
) -> Result<Reply, Error> {
    let mut graph = workshop.graph.clone();
    let layout = layout(workshop, &mut graph, built).await?;
    let repositories = workshop.asked.repositories.iter();
    let repositories = repositories.map(ToString::to_string).collect();
    super::push(
        workshop,
        &mut graph,
        &layout,
        "the image",
        repositories,
        true,
    )
    .await?;
    Ok(reply)
}

async fn layout(
    workshop: Workshop<'_>,
    graph: &mut Graph,
    built: &[Built],
) -> Result<Output, Error> {
    let mut images = Vec::new();
    for built in built {
        let diff_ids: Vec<_> = built.layers().map(|layer| layer.part.diff_id).collect();
        images.push(Image {
            platform: built.target.platform.clone(),
            config: config::complete(
                &built.target.config,
                &diff_ids,
                &config::origins(built),
                built.target.epoch,
            )?,
            parts: built.layers().map(|layer| layer.part.clone()).collect(),
        });
    }
    let assembly = assemble(workshop, built, &images).await?;
    let layers = built.iter().flat_map(Built::layers);
    let roots = vec![assembly.image.clone()];
    Ok(put_together(graph, layers, &assembly.documents, roots))
}
