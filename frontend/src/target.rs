//! What dockerfile.v0 made, for each platform: config, layers, base image.

use sociable_buildkit::llb::{Graph, Output};
use sociable_buildkit::{Error, Gateway, Ref, Reply};
use sociable_oci::Platform;

use crate::base::{Base, layers_in_history};
use crate::chain::{Chain, chain};
use crate::options::Asked;
use crate::platform;

/// Where a result's config is.
pub(crate) const CONFIG: &str = "containerimage.config";

/// A result of dockerfile.v0 for one platform.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its ID in the result, if that has several.
    pub(crate) id: Option<String>,
    pub(crate) platform: Platform,
    pub(crate) config: Vec<u8>,
    /// The file system, as BuildKit knows it, and in the graph.
    pub(crate) result: Ref,
    pub(crate) head: Option<Output>,
    pub(crate) chain: Chain,
    pub(crate) base: Option<Base>,
    /// Latest modification time, seconds since 1970.
    pub(crate) epoch: Option<i64>,
}

impl Target {
    /// Where its config is in the result.
    pub(crate) fn config_key(&self) -> String {
        config_key(self.id.as_deref())
    }
}

fn config_key(id: Option<&str>) -> String {
    match id {
        Some(id) => format!("{CONFIG}/{id}"),
        None => CONFIG.to_owned(),
    }
}

/// What dockerfile.v0 made, platform by platform.
///
/// # Errors
/// When it cannot be told for certain which layers an image has.
pub(crate) async fn all(
    gateway: &Gateway,
    reply: &Reply,
    graph: &mut Graph,
    asked: &Asked,
) -> Result<Vec<Target>, Error> {
    let platforms = platform::listed(reply);
    let mut targets = Vec::new();
    for (id, result) in reply.refs.iter() {
        let key = config_key(id);
        let config = reply
            .metadata
            .get(&key)
            .or_else(|| reply.metadata.get(CONFIG));
        let config = config
            .cloned()
            .ok_or_else(|| Error::message(format!("the build's result has no config ({key})")))?;
        let platform = id
            .and_then(|id| platforms.get(id).cloned())
            .or_else(|| platform::of_config(&config))
            .ok_or_else(|| Error::message("the image's config names no platform"))?;
        let head = match &result.definition {
            Some(definition) => graph.import(definition)?,
            None if result.is_empty() => None,
            None => {
                return Err(Error::message(
                    "this BuildKit does not show the graph of a result; it is too old",
                ));
            }
        };
        let chain = chain(graph, head.as_ref()).map_err(|e| Error::message(e.to_string()))?;
        let base = match &chain.base {
            Some(image) => Some(Base::resolve(gateway, graph, image).await?),
            None => None,
        };
        let target = Target {
            id: id.map(str::to_owned),
            platform: platform.normalize(),
            config,
            result: result.clone(),
            head,
            chain,
            base,
            epoch: epoch(reply, id).or(asked.epoch),
        };
        check_history(&target)?;
        targets.push(target);
    }
    Ok(targets)
}

/// What dockerfile.v0 has found `SOURCE_DATE_EPOCH` to be.
fn epoch(reply: &Reply, id: Option<&str>) -> Option<i64> {
    let key = "source.date.epoch";
    let own = id.and_then(|id| reply.metadata.get(&format!("{key}/{id}")));
    let seconds = own.or_else(|| reply.metadata.get(key))?;
    std::str::from_utf8(seconds).ok()?.parse().ok()
}

/// Compares the layers found with those that the config's history speaks of.
fn check_history(target: &Target) -> Result<(), Error> {
    let below = target.base.as_ref().map_or(0, |base| base.history);
    let spoken_of = layers_in_history(&target.config)?.saturating_sub(below);
    let instructed = target.chain.new.iter().filter(|layer| layer.instructed);
    let found = instructed.count();
    if spoken_of == found {
        return Ok(());
    }
    Err(Error::message(format!(
        "the layers of this image cannot be told for certain: its graph has {found} new ones, and the history in its config speaks of \
         {spoken_of}; build with SOCI_OUTPUT=none, and index the image with `sociable convert`"
    )))
}
