//! `SOCI_OUTPUT=image`: BuildKit's own exporter writes the image.
//!
//! The exporter makes layers itself, unless it finds them made. So the new layers are pushed first, to the repository that the image will be in,
//! together with zTOCs and SOCI index, and with a manifest that lists these layers alone. The result that is returned is base image and
//! that image, laid over each other: then the exporter has every layer's blob, and writes config, history, attestations and the
//! annotation that leads from the image to its index.
//!
//! A SOCI index is found by its digest alone, and nothing lists it. It gets a tag, `soci-` and the beginning of its digest, which keeps it
//! from a registry's garbage collection.

use serde_json::json;
use sociable_buildkit::llb::files::Files;
use sociable_buildkit::llb::{Diff, Graph, Merge, Output, Source};
use sociable_buildkit::{Error, Ref, Reply, reply::Refs};
use sociable_oci::document::REF_NAME;
use sociable_oci::{Descriptor, Digest, Manifest, media_type};
use sociable_soci::parts::Image;
use sociable_soci::{names, record};

use super::{assemble, config, push, put_together};
use crate::build::{Built, Layer};
use crate::platform;
use crate::steps::Workshop;

pub(super) async fn finish(
    workshop: Workshop<'_>,
    mut reply: Reply,
    built: &[Built],
) -> Result<Reply, Error> {
    let images: Vec<Image> = built
        .iter()
        .map(|built| Image {
            platform: built.target.platform.clone(),
            // BuildKit writes the real one.
            config: b"{}".to_vec(),
            parts: built.layers().map(|layer| layer.part.clone()).collect(),
        })
        .collect();
    let assembly = assemble(workshop, built, &images).await?;
    let indexed = assembly.soci_indexes.iter().any(Option::is_some);
    if !indexed && !built.iter().any(is_not_as_usual) {
        return Ok(reply);
    }

    let mut documents = assembly.documents.clone();
    let mut roots = Vec::new();
    for index in assembly.soci_indexes.iter().flatten() {
        let mut index = index.clone();
        let tag = format!("soci-{}", &index.digest.hex()[..16]);
        index.annotations.insert(REF_NAME.to_owned(), tag);
        if !roots.contains(&index) {
            roots.push(index);
        }
    }
    let staged: Vec<Option<Descriptor>> = built
        .iter()
        .map(|built| stage(built, &mut documents))
        .collect();
    roots.extend(staged.iter().flatten().cloned());

    let mut graph = workshop.graph.clone();
    let layout = put_together(
        &mut graph,
        built.iter().flat_map(Built::layers),
        &documents,
        roots,
    );
    let repositories: Vec<String> = workshop
        .asked
        .repositories
        .iter()
        .map(|repository| repository.name.to_string())
        .collect();
    let what = "layers and index";
    push(
        workshop,
        &mut graph,
        &layout,
        what,
        repositories.clone(),
        false,
    )
    .await?;

    let decided = record::record(&workshop.asked.settings.policies);
    let mut refs = Vec::new();
    for ((built, staged), index) in built.iter().zip(&staged).zip(&assembly.soci_indexes) {
        let result = match (staged, index, repositories.first()) {
            (Some(staged), index, Some(repository))
                if index.is_some() || is_not_as_usual(built) =>
            {
                let output = restack(
                    &mut graph,
                    built,
                    &format!("{repository}@{}", staged.digest),
                    decided.as_deref(),
                );
                workshop.gateway.solve(&graph, &output).await?
            }
            _ => built.target.result.clone(),
        };
        if let Some(index) = index {
            annotate(&mut reply, built, index);
        }
        if (index.is_some() || is_not_as_usual(built))
            && let Some(config) =
                config::name_layers(&built.target.config, &config::origins(built))?
        {
            reply.metadata.insert(built.target.config_key(), config);
        }
        refs.push((built.target.id.clone(), result));
    }
    reply.refs = same_shape(refs);
    Ok(reply)
}

/// Whether there are new layers that BuildKit's exporter would make otherwise: it makes gzip.
fn is_not_as_usual(built: &Built) -> bool {
    let kind = |layer: &Layer| layer.part.layer.media_type != media_type::OCI_LAYER_GZIP;
    built.new.iter().any(kind)
}

/// A manifest of the new layers alone; none if there are none.
fn stage(built: &Built, documents: &mut Vec<Vec<u8>>) -> Option<Descriptor> {
    if built.new.is_empty() {
        return None;
    }
    let diff_ids: Vec<Digest> = built.new.iter().map(|layer| layer.part.diff_id).collect();
    let platform = &built.target.platform;
    let config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "variant": platform.variant,
        "config": { "Labels": { "org.opencontainers.image.description":
            "layers on their way into an image: no image of its own" } },
        // BuildKit takes images whose files are the same for one another while both are on their way to it, if this is `layers`; but
        // these layers can be compressed in other ways.
        "rootfs": { "type": "staged", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    let layers = built.new.iter().map(|layer| layer.part.layer.clone());
    let manifest = Manifest::new(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        layers.collect(),
    );
    let manifest = manifest.to_bytes();
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    documents.extend([config, manifest]);
    Some(descriptor)
}

/// The image with the layers that are in the registry. Who decided is nothing of it, but stands in its provenance.
fn restack(graph: &mut Graph, built: &Built, staged: &str, decided: Option<&str>) -> Output {
    let name = format!("[sociable] the layers made for {}", built.target.platform);
    let source = Source::image(staged)
        .platform(Some(platform::to_llb(&built.target.platform)))
        // It may be gone from the registry since, as nothing lists it.
        .always()
        .named(name);
    let staged = graph.add(source);
    // Nothing, but it keeps the Dockerfile's graph in the result: for cache exports and provenance.
    let head = built.target.head.as_ref();
    let history = head.map(|head| graph.add(Diff::between(Some(head), Some(head))));
    let below = built.target.chain.base.as_ref();
    let decided = decided.map(|record| {
        let file = Files::on(None).write("/policies.json", 0o644, record.to_owned());
        let file = graph.add(file.named("[sociable] record who decided"));
        graph.add(Diff::between(Some(&file), Some(&file)))
    });
    let all = below.into_iter().chain([&staged]);
    let all = all.chain(history.as_ref()).chain(decided.as_ref());
    let merge = Merge::of(all).named("[sociable] the image of its layers");
    graph.add(merge)
}

/// Names the index in the manifest that the exporter will write. A result with one file system takes a key without a platform.
fn annotate(reply: &mut Reply, built: &Built, index: &Descriptor) {
    let platform = match &built.target.id {
        Some(id) => format!("[{id}]"),
        None => String::new(),
    };
    let key = format!("annotation-manifest{platform}.{}", names::INDEX_DIGEST);
    let digest = index.digest.to_string();
    reply.metadata.insert(key, digest.into_bytes());
}

fn same_shape(refs: Vec<(Option<String>, Ref)>) -> Refs {
    let mut many = std::collections::BTreeMap::new();
    for (id, result) in refs {
        match id {
            Some(id) => {
                many.insert(id, result);
            }
            None => return Refs::One(result),
        }
    }
    Refs::Many(many)
}
