//! The build: dockerfile.v0 first, then a step for each layer, then whatever brings the result out.

use std::pin::pin;

use futures_util::future::{Either, select, try_join_all};
use sociable_buildkit::gateway::{Nested, Warning};
use sociable_buildkit::llb::{Graph, Output};
use sociable_buildkit::{Error, Gateway, Options, Ref, Reply};
use sociable_oci::Platform;
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::parts::{self, Part};

use crate::base::{Base, layers_in_history};
use crate::chain::{Chain, NewLayer, chain};
use crate::options::{self, Asked};
use crate::output;
use crate::platform;
use crate::steps::{Given, Step, Workshop};
use crate::task::{Made, Seen, Task};

/// BuildKit's Dockerfile frontend, of whatever version it is.
const DOCKERFILE: &str = "dockerfile.v0";
/// Where BuildKit keeps the graph of the image that this program came in.
const OWN_DEFINITION: &str = "/run/config/buildkit/metadata/frontend.bin";
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

/// A layer with what its step made: it may have needed none.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) part: Part,
    /// When its step was done, RFC 3339.
    pub(crate) created: Option<String>,
    /// Its blobs.
    pub(crate) out: Option<Output>,
    seen: Seen,
}

/// A target with its layers: those of the base image that are wanted, then the new ones.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) target: Target,
    pub(crate) base: Vec<Layer>,
    pub(crate) new: Vec<Layer>,
}

/// Builds.
pub(crate) async fn build(gateway: &Gateway, given: &Options) -> Result<Reply, Error> {
    let mut options = given.clone();
    let asked = Asked::take(&mut options).map_err(|e| Error::message(e.to_string()))?;
    let mut nested = options.all().clone();
    // Without it dockerfile.v0 would look for the line `# syntax=` once more, and start us again.
    let source = options.get("source").unwrap_or("sociable").to_owned();
    nested.entry("cmdline".to_owned()).or_insert(source);
    let reply = gateway
        .solve_nested(Nested {
            frontend: DOCKERFILE.to_owned(),
            options: nested,
            inputs: gateway.inputs().await?,
            // The layers' steps begin while upper ones are still being built.
            evaluate: false,
        })
        .await?;
    // `--call`, `--print`: there is no image.
    if options.get("requestid").is_some() {
        return Ok(reply);
    }
    let mut graph = Graph::default();
    if asked.output == options::Output::None {
        let about = reply.refs.iter().find_map(|(_, result)| {
            let definition = result.definition.as_ref()?;
            graph.import(definition).ok().flatten()
        });
        warn_of_nothing(gateway, about.as_ref()).await?;
        return Ok(reply);
    }
    let engine = own_image(&mut graph)?;
    let capabilities = gateway.capabilities().await?;
    let mut targets = targets(&reply, &mut graph)?;
    for target in &mut targets {
        target.epoch = target.epoch.or(asked.epoch);
        if let Some(image) = &target.chain.base {
            target.base = Some(Base::resolve(gateway, &graph, image).await?);
        }
        check_history(target)?;
    }
    let workshop = Workshop {
        gateway,
        capabilities: &capabilities,
        options: &options,
        asked: &asked,
        engine: &engine,
        graph: &graph,
    };
    output::check(workshop)?;
    let (graph, built) = layers(workshop, targets).await?;
    let workshop = Workshop {
        graph: &graph,
        ..workshop
    };
    output::finish(workshop, reply, &built).await
}

async fn warn_of_nothing(gateway: &Gateway, about: Option<&Output>) -> Result<(), Error> {
    // Without an operation to hang it on, BuildKit shows no warning.
    let Some(about) = about else { return Ok(()) };
    gateway
        .warn(Warning {
            about: about.digest().to_owned(),
            short: "SociableNoOutput: this image gets no SOCI index: say with SOCI_OUTPUT how it leaves the build".to_owned(),
            detail: vec![
                "--build-arg SOCI_OUTPUT=image --build-arg SOCI_REPO=REPOSITORY with -t REPOSITORY:TAG --push".to_owned(),
                "--build-arg SOCI_OUTPUT=layout with -o type=tar,dest=FILE or -o type=local,dest=DIR".to_owned(),
                "or use `sociable build`, which works these out".to_owned(),
            ],
            url: String::new(),
        })
        .await
}

/// The image that this program runs in.
fn own_image(graph: &mut Graph) -> Result<Output, Error> {
    let unknown = |why: String| {
        Error::message(format!(
            "BuildKit does not say where this frontend comes from ({OWN_DEFINITION}): {why}"
        ))
    };
    let bytes = std::fs::read(OWN_DEFINITION).map_err(|e| unknown(e.to_string()))?;
    graph
        .import_bytes(&bytes)?
        .ok_or_else(|| unknown("it is empty".to_owned()))
}

/// What dockerfile.v0 made, platform by platform.
fn targets(reply: &Reply, graph: &mut Graph) -> Result<Vec<Target>, Error> {
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
        targets.push(Target {
            id: id.map(str::to_owned),
            platform: platform.normalize(),
            config,
            result: result.clone(),
            head,
            chain,
            base: None,
            epoch: epoch(reply, id),
        });
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

/// Makes all layers, several at once. Gives the graph with all steps in it.
async fn layers(
    workshop: Workshop<'_>,
    targets: Vec<Target>,
) -> Result<(Graph, Vec<Built>), Error> {
    // What is built anew must be packed anew.
    let always = workshop.options.get("no-cache").is_some();
    let (graph, built) = make_all(workshop, targets, always).await?;
    if always || built.iter().all(fits_together) {
        return Ok((graph, built));
    }
    // Some of the layers were made of what is no longer there: all are made once more.
    let targets = built.into_iter().map(|built| built.target);
    make_all(workshop, targets.collect(), true).await
}

/// Whether each layer was made on top of what the one below it was made of.
fn fits_together(built: &Built) -> bool {
    let layers = built.target.chain.new.iter().zip(&built.new);
    let pairs = layers.clone().zip(layers.skip(1));
    pairs
        .into_iter()
        .all(|((below, made_below), (above, made_above))| {
            let on_top = above.lower.as_ref() == Some(&below.upper);
            let (one, other) = (&made_below.seen.upper, &made_above.seen.lower);
            !on_top || one.is_none() || other.is_none() || one == other
        })
}

async fn make_all(
    workshop: Workshop<'_>,
    targets: Vec<Target>,
    always: bool,
) -> Result<(Graph, Vec<Built>), Error> {
    let keep = output::keeps_base_layers(workshop.asked);
    let mut graph = workshop.graph.clone();
    let mut planned = Vec::new();
    for target in &targets {
        let base = match &target.base {
            Some(base) if keep || workshop.asked.base => {
                plan_base(workshop, &mut graph, base, keep).await?
            }
            _ => Vec::new(),
        };
        let new = target.chain.new.iter();
        let new = new.map(|layer| plan_new(workshop, &mut graph, target, layer, always));
        let new = new.collect::<Result<Vec<_>, _>>()?;
        planned.push((base, new));
    }
    let mut built = Vec::new();
    for (target, (base, new)) in targets.into_iter().zip(planned) {
        built.push(make(workshop, &graph, target, base, new));
    }
    let built = try_join_all(built).await?;
    Ok((graph, built))
}

/// A layer that has a step, or needs none.
enum Planned {
    Step(Step),
    Known(Box<Part>),
}

async fn plan_base(
    workshop: Workshop<'_>,
    graph: &mut Graph,
    base: &Base,
    keep: bool,
) -> Result<Vec<Planned>, Error> {
    let layers = base.layers(workshop).await?;
    let settings = workshop.asked.settings.index_settings();
    let mut planned = Vec::new();
    for (layer, diff_id) in layers.iter().zip(&base.diff_ids) {
        let passed_over = if workshop.asked.base {
            parts::passed_over(layer, &settings).map_err(|e| Error::message(e.to_string()))?
        } else {
            Some(LayerOutcome::Copied)
        };
        planned.push(match passed_over {
            Some(outcome) if !keep => Planned::Known(Box::new(Part {
                layer: layer.clone(),
                diff_id: *diff_id,
                outcome,
            })),
            _ => Planned::Step(base.step(workshop, graph, layer, *diff_id, keep)?),
        });
    }
    Ok(planned)
}

fn plan_new(
    workshop: Workshop<'_>,
    graph: &mut Graph,
    target: &Target,
    layer: &NewLayer,
    always: bool,
) -> Result<Planned, Error> {
    let task = Task::Layer {
        settings: workshop.asked.settings.clone(),
        level: workshop.asked.level,
        epoch: target.epoch,
    };
    let given = Given {
        lower: layer.lower.as_ref(),
        upper: Some(&layer.upper),
        always,
        ..Given::default()
    };
    let name = format!("pack and index: {}", layer.name);
    Ok(Planned::Step(workshop.add(graph, &name, &task, &given)?))
}

/// Builds a target and its layers.
async fn make(
    workshop: Workshop<'_>,
    graph: &Graph,
    target: Target,
    base: Vec<Planned>,
    new: Vec<Planned>,
) -> Result<Built, Error> {
    let layers = async {
        let base = base.iter().map(|layer| one(workshop, graph, layer));
        let new = new.iter().map(|layer| one(workshop, graph, layer));
        let both = futures_util::future::try_join(try_join_all(base), try_join_all(new));
        both.await
    };
    // What fails in the Dockerfile is reported as dockerfile.v0's result reports it, with the Dockerfile's line, even if
    // a layer's step meets the failure first.
    let result = target.result.clone();
    let head = workshop.gateway.evaluate(&result);
    let (head, layers) = (pin!(head), pin!(layers));
    let (base, new) = match select(head, layers).await {
        Either::Left((head, layers)) => {
            head?;
            layers.await?
        }
        Either::Right((layers, head)) => {
            head.await?;
            layers?
        }
    };
    Ok(Built { target, base, new })
}

async fn one(workshop: Workshop<'_>, graph: &Graph, layer: &Planned) -> Result<Layer, Error> {
    match layer {
        Planned::Known(part) => Ok(Layer {
            part: (**part).clone(),
            created: None,
            out: None,
            seen: Seen::default(),
        }),
        Planned::Step(step) => {
            let answer = workshop.answer(graph, step).await?;
            let made: Made = serde_json::from_slice(&answer)
                .map_err(|e| Error::message(format!("a step's answer cannot be read: {e}")))?;
            Ok(Layer {
                part: made.part,
                created: Some(made.created),
                out: Some(step.out.clone()),
                seen: made.seen,
            })
        }
    }
}
