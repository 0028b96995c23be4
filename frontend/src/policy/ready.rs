//! Policies made ready by steps of the build, for the steps that make layers.
//!
//! A component comes from a registry (`oci://…`: one step looks its tag up, one fetches it) or from the build context `policy`, as do
//! the files that parameters name. Components run in steps alone, never in this process: so their code is compiled once, and
//! BuildKit's cache keeps it.

use std::collections::BTreeSet;

use sociable_buildkit::llb::{Graph, Output, Source};
use sociable_buildkit::{Error, Gateway, Options};
use sociable_oci::registry::Reference;
use sociable_policy::spec::CONTEXT;
use sociable_soci::record::Used;

use super::{Wanted, plain};
use crate::steps::{Given, Workshop};
use crate::task::{Remote, Task};

/// Policies that steps can load.
pub(crate) struct Ready {
    /// The workshop's graph and the steps that made them ready.
    pub(crate) graph: Graph,
    /// What steps mount.
    pub(crate) out: Output,
    /// Which they are.
    pub(crate) used: Vec<Used>,
}

/// Fetches components, compiles them, and checks their parameters.
pub(crate) async fn make_ready(workshop: Workshop<'_>, wanted: &Wanted) -> Result<Ready, Error> {
    let wrong = |why: String| Error::message(format!("SOCI_POLICY: {why}"));
    let mut graph = workshop.graph.clone();
    let files = wanted.files().map_err(wrong)?;
    let context = if files.is_empty() {
        None
    } else {
        let (gateway, options) = (workshop.gateway, workshop.options);
        Some(context(gateway, options, &mut graph, &files).await?)
    };
    let (mut pinned, mut fetched) = (Vec::new(), Vec::new());
    for reference in wanted.remote().map_err(wrong)? {
        let component = pin(workshop, &reference).await?;
        let name = format!("fetch policy {reference}");
        let given = Given {
            registry: true,
            ..Given::default()
        };
        let task = Task::Component {
            from: Remote {
                reference: component.clone(),
                plain_http: workshop.asked.plain_http.clone(),
            },
        };
        let step = workshop.add(&mut graph, &name, &task, &given)?;
        pinned.push(component);
        fetched.push(step.out);
    }
    let task = Task::Policies {
        wanted: wanted.clone(),
        pinned,
        by: workshop.asked.settings.by.clone(),
    };
    let given = Given {
        context: context.as_ref(),
        fetched: &fetched,
        ..Given::default()
    };
    let step = workshop.add(&mut graph, "load policies", &task, &given)?;
    let answer = workshop.answer(&graph, &step).await?;
    let used = serde_json::from_slice(&answer)
        .map_err(|e| Error::message(format!("a step's answer cannot be read: {e}")))?;
    Ok(Ready {
        graph,
        out: step.out,
        used,
    })
}

/// The reference with the digest that its tag has now: asked in every build, so that all that comes of it is told apart.
async fn pin(workshop: Workshop<'_>, reference: &str) -> Result<String, Error> {
    if reference.contains('@') {
        return Ok(reference.to_owned());
    }
    let mut graph = workshop.graph.clone();
    let task = Task::Resolve {
        from: Remote {
            reference: reference.to_owned(),
            plain_http: workshop.asked.plain_http.clone(),
        },
    };
    let given = Given {
        registry: true,
        always: true,
        ..Given::default()
    };
    let name = format!("look for policy {reference}");
    let step = workshop.add(&mut graph, &name, &task, &given)?;
    let digest = workshop.answer(&graph, &step).await?;
    Ok(format!("{reference}@{}", String::from_utf8_lossy(&digest)))
}

/// The build context with the files of policies.
async fn context(
    gateway: &Gateway,
    options: &Options,
    graph: &mut Graph,
    files: &BTreeSet<String>,
) -> Result<Output, Error> {
    let Some(context) = options.get(&format!("context:{CONTEXT}")) else {
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        return Err(Error::message(format!(
            "SOCI_POLICY: {} shall come from the build context `{CONTEXT}`, and there is none: --build-context {CONTEXT}=DIRECTORY",
            files.join(", ")
        )));
    };
    let (kind, rest) = context.split_once(':').unwrap_or((context, ""));
    match kind {
        "local" => {
            let paths: Vec<_> = files.iter().map(|file| plain(file)).collect();
            let paths = serde_json::to_string(&paths)
                .map_err(|e| Error::message(format!("a file cannot be asked for: {e}")))?;
            let source = Source::new(format!("local://{rest}"))
                .attribute("local.followpaths", &paths)
                .attribute("local.sharedkeyhint", &format!("sociable:{CONTEXT}"))
                .named(format!("[sociable] load the build context {CONTEXT}"));
            Ok(graph.add(source))
        }
        "docker-image" => {
            let reference = rest.trim_start_matches("//");
            let image: Reference = reference
                .parse()
                .map_err(|error| Error::message(format!("{context}: {error}")))?;
            let source = Source::image(&image.to_string())
                .named(format!("[sociable] load the build context {CONTEXT}"));
            Ok(graph.add(source))
        }
        "input" => {
            let inputs = gateway.inputs().await?;
            let input = inputs.get(rest);
            let input = input
                .map(|definition| graph.import(definition))
                .transpose()?;
            input.flatten().ok_or_else(|| {
                Error::message(format!("the build context {CONTEXT} ({context}) is empty"))
            })
        }
        _ => Err(Error::message(format!(
            "SOCI_POLICY: the build context {CONTEXT} is {context}; files of policies come from a directory, a target, or an image (docker-image://)"
        ))),
    }
}
