//! The build: dockerfile.v0 first, then a step for each layer, then whatever brings the result out.

use std::pin::pin;

use futures_util::future::{Either, select, try_join, try_join_all};
use sociable_buildkit::gateway::{Nested, Warning};
use sociable_buildkit::llb::{Graph, Output};
use sociable_buildkit::{Error, Gateway, Options, Reply};
use sociable_policy::{Interface, Policies, spec};
use sociable_soci::outcome::LayerOutcome;
use sociable_soci::parts::{self, Part};
use sociable_soci::record::Used;

use crate::base::Base;
use crate::chain::NewLayer;
use crate::options::{self, Asked};
use crate::output;
use crate::policy;
use crate::steps::{Given, Step, Workshop};
use crate::target::{self, Target};
use crate::task::{Made, Seen, Task};

/// BuildKit's Dockerfile frontend, of whatever version it is.
const DOCKERFILE: &str = "dockerfile.v0";
/// Where BuildKit keeps the graph of the image that this program came in.
const OWN_DEFINITION: &str = "/run/config/buildkit/metadata/frontend.bin";

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

impl Built {
    /// All layers, lowest first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.base.iter().chain(&self.new)
    }
}

/// Builds.
pub(crate) async fn build(gateway: &Gateway, given: &Options) -> Result<Reply, Error> {
    let mut options = given.clone();
    let asked = Asked::take(&mut options).map_err(|e| Error::message(e.to_string()))?;
    let mut nested = options.all().clone();
    // Without it dockerfile.v0 would look for the line `# syntax=` once more, and start us again.
    let source = options.get("source").unwrap_or("sociable").to_owned();
    nested.entry("cmdline".to_owned()).or_insert(source);
    // It would take the place of a stage of that name.
    if asked.policies.needs_context() {
        nested.remove(&format!("context:{}", spec::CONTEXT));
    }
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
    let targets = target::all(gateway, &reply, &mut graph, &asked).await?;
    let workshop = Workshop {
        gateway,
        capabilities: &capabilities,
        options: &options,
        asked: &asked,
        engine: &engine,
        graph: &graph,
        policies: None,
    };
    output::check(workshop)?;
    let (graph, used, built) = layers(workshop, targets).await?;
    let mut asked = asked.clone();
    asked.settings.policies = used;
    let workshop = Workshop {
        graph: &graph,
        asked: &asked,
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

/// Builds what dockerfile.v0 has described, and beside it all layers. Gives the graph with all steps in it, and who decided.
async fn layers(
    workshop: Workshop<'_>,
    targets: Vec<Target>,
) -> Result<(Graph, Vec<Used>, Vec<Built>), Error> {
    // What is built anew must be packed anew.
    let always = workshop.options.get("no-cache").is_some();
    let (graph, used, made) = {
        let heads = targets.iter();
        let heads = try_join_all(heads.map(|target| workshop.gateway.evaluate(&target.result)));
        let mut heads = pin!(heads);
        let mut are_built = false;
        let wanted = &workshop.asked.policies;
        let mut decided = None;
        if !wanted.is_empty() {
            // What is wrong with a policy is said before the Dockerfile is built to its end.
            let ready = pin!(policy::make_ready(workshop, wanted));
            decided = Some(match select(heads.as_mut(), ready).await {
                Either::Left((built, ready)) => {
                    built?;
                    are_built = true;
                    ready.await?
                }
                Either::Right((ready, _)) => ready?,
            });
        }
        let mut asked = workshop.asked.clone();
        let workshop = match &decided {
            Some(ready) => {
                asked.settings.policies.clone_from(&ready.used);
                Workshop {
                    asked: &asked,
                    graph: &ready.graph,
                    policies: Some(&ready.out),
                    ..workshop
                }
            }
            None => workshop,
        };
        let made = pin!(make_all_that_fit(workshop, &targets, always));
        let (graph, made) = if are_built {
            made.await?
        } else {
            // What fails in the Dockerfile is reported as dockerfile.v0's result reports it, with the Dockerfile's line, even if
            // a layer's step meets the failure first.
            match select(heads, made).await {
                Either::Left((built, made)) => {
                    built?;
                    made.await?
                }
                Either::Right((made, heads)) => {
                    heads.await?;
                    made?
                }
            }
        };
        let used = decided.as_ref().map(|ready| ready.used.clone());
        (graph, used, made)
    };
    let built = targets.into_iter().zip(made).map(|(target, made)| Built {
        target,
        base: made.base,
        new: made.new,
    });
    Ok((graph, used.unwrap_or_default(), built.collect()))
}

/// Makes all layers, and again those that were made of what is no longer there.
async fn make_all_that_fit(
    workshop: Workshop<'_>,
    targets: &[Target],
    always: bool,
) -> Result<(Graph, Vec<Layers>), Error> {
    let (graph, made) = make_all(workshop, targets, always).await?;
    let mut all = targets.iter().zip(&made);
    if always || all.all(|(target, made)| fit_together(&target.chain.new, &made.new)) {
        return Ok((graph, made));
    }
    make_all(workshop, targets, true).await
}

/// Whether each layer was made on top of what the one below it was made of.
fn fit_together(operations: &[NewLayer], layers: &[Layer]) -> bool {
    let mut pairs = operations.windows(2).zip(layers.windows(2));
    pairs.all(|pair| match pair {
        ([below, above], [made_below, made_above]) => {
            let on_top = above.lower.as_ref() == Some(&below.upper);
            let (one, other) = (&made_below.seen.upper, &made_above.seen.lower);
            !on_top || one.is_none() || other.is_none() || one == other
        }
        _ => true,
    })
}

/// The layers of a target.
struct Layers {
    base: Vec<Layer>,
    new: Vec<Layer>,
}

/// Makes all layers, several at once.
async fn make_all(
    workshop: Workshop<'_>,
    targets: &[Target],
    always: bool,
) -> Result<(Graph, Vec<Layers>), Error> {
    let keep = output::keeps_base_layers(workshop.asked);
    let mut graph = workshop.graph.clone();
    let mut planned = Vec::new();
    for target in targets {
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
    let all_of = |layers: Vec<Planned>| {
        let graph = &graph;
        async move { try_join_all(layers.iter().map(|layer| one(workshop, graph, layer))).await }
    };
    let made = planned.into_iter().map(async |(base, new)| {
        let (base, new) = try_join(all_of(base), all_of(new)).await?;
        Ok::<_, Error>(Layers { base, new })
    });
    let made = try_join_all(made).await?;
    Ok((graph, made))
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
    let settings = &workshop.asked.settings;
    // A policy is asked in the layer's step.
    let selected = |used: &Used| used.interface == Interface::Selection.name();
    let selected = settings.policies.iter().any(selected);
    let settings = settings.index_settings(Policies::default());
    let mut planned = Vec::new();
    for (layer, diff_id) in layers.iter().zip(&base.diff_ids) {
        let passed_over = if !workshop.asked.base {
            Some(LayerOutcome::Copied)
        } else if selected {
            None
        } else {
            parts::passed_over(layer, &settings).map_err(|e| Error::message(e.to_string()))?
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
        policies: workshop.policies,
        always,
        ..Given::default()
    };
    let name = format!("pack and index: {}", layer.name);
    Ok(Planned::Step(workshop.add(graph, &name, &task, &given)?))
}

/// Runs a layer's step, if it has one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use sociable_buildkit::llb::Source;
    use sociable_oci::{Descriptor, Digest};

    fn layer(lower: Option<&str>, upper: &str) -> Layer {
        let name = |name: &str| name.to_owned();
        Layer {
            part: Part {
                layer: Descriptor::of("", upper.as_bytes()),
                diff_id: Digest::sha256_of(b""),
                outcome: LayerOutcome::Copied,
            },
            created: None,
            out: None,
            seen: Seen {
                lower: lower.map(name),
                upper: Some(name(upper)),
            },
        }
    }

    #[test]
    fn a_layer_of_another_build_does_not_fit() {
        let mut graph = Graph::default();
        let [one, two, linked] = ["one", "two", "linked"].map(|n| graph.add(Source::new(n)));
        let operation = |lower: Option<&Output>, upper: &Output| NewLayer {
            lower: lower.cloned(),
            upper: upper.clone(),
            name: String::new(),
            instructed: true,
        };
        let stacked = [operation(None, &one), operation(Some(&one), &two)];
        let fits = |layers: &[Layer]| fit_together(&stacked, layers);
        assert!(fits(&[layer(None, "1"), layer(Some("1"), "2")]));
        assert!(!fits(&[layer(None, "1 made again"), layer(Some("1"), "2")]));
        // Where mounts do not tell, nobody can.
        assert!(fits(&[layer(None, "1"), layer(None, "2")]));
        // What is linked lies beside the others.
        let beside = [operation(None, &one), operation(None, &linked)];
        assert!(fit_together(&beside, &[layer(None, "1"), layer(None, "3")]));
    }
}
