//! Which policies decide: named by the user, made ready by one step, and loaded by the steps that make layers.
//!
//! A component comes from a registry (`oci://…`, a step of its own fetches it) or from the build context `policy`, as do the
//! files that parameters name. Components run in steps alone, never in this process: so their code is compiled once, and
//! BuildKit's cache keeps it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sociable_buildkit::llb::{Graph, Output, Source};
use sociable_buildkit::{Error, Gateway, Options};
use sociable_oci::registry::Reference;
use sociable_policy::spec::{self, parse_parameters};
use sociable_policy::{Spec, builtin};
use sociable_policy_wasm::Limits;
use sociable_soci::record::Used;
use sociable_soci::size;

use crate::steps::{Given, Workshop};
use crate::task::{Remote, Task};

/// The build context with components and files of parameters.
pub(crate) const CONTEXT: &str = "policy";
/// Components in a registry begin with this.
const REGISTRY: &str = "oci://";

/// The policies that a user named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Each as `[INTERFACE=]POLICY[=PARAMETERS]`.
    pub(crate) specs: Vec<String>,
    /// Parameters for those that are named without.
    pub(crate) parameters: String,
    /// What components may use, where it is not the usual.
    pub(crate) limits: Bounds,
    /// Where one fails, go on as without it.
    pub(crate) fallback: bool,
}

/// Where a policy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place<'a> {
    BuiltIn,
    /// `HOST/REPOSITORY:TAG[@DIGEST]`.
    Registry(&'a str),
    /// A path in the build context.
    Context(&'a str),
    /// Where a build cannot get anything from.
    Elsewhere,
}

impl<'a> Place<'a> {
    pub(crate) fn of(reference: &'a str) -> Self {
        let elsewhere = ["docker://", "oci:", "oci-archive:"];
        if let Some(reference) = reference.strip_prefix(REGISTRY) {
            Self::Registry(reference)
        } else if elsewhere.iter().any(|begin| reference.starts_with(begin)) {
            Self::Elsewhere
        } else if reference.contains(['/', '.']) {
            Self::Context(reference)
        } else {
            Self::BuiltIn
        }
    }
}

/// What components may use; none is the host's own limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    fuel: Option<u64>,
    memory: Option<u64>,
    output: Option<u64>,
}

impl Bounds {
    /// `fuel=MILLIONS,memory=SIZE,output=SIZE`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut bounds = Self::default();
        for pair in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let wrong = || {
                format!(
                    "{pair:?} is none of fuel=MILLIONS, memory=SIZE, output=SIZE with more than 0"
                )
            };
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let (bound, value) = match name {
                "fuel" => (&mut bounds.fuel, value.parse().ok()),
                "memory" => (&mut bounds.memory, size::parse(value).ok()),
                "output" => (&mut bounds.output, size::parse(value).ok()),
                _ => return Err(wrong()),
            };
            *bound = value.filter(|value| *value > 0);
            bound.ok_or_else(wrong)?;
        }
        Ok(bounds)
    }

    pub(crate) fn limits(self) -> Limits {
        let bytes = |bound: Option<u64>, usual| {
            bound.map_or(usual, |size| usize::try_from(size).unwrap_or(usize::MAX))
        };
        let usual = Limits::DEFAULT;
        Limits {
            fuel: self.fuel.unwrap_or(usual.fuel),
            memory: bytes(self.memory, usual.memory),
            output: bytes(self.output, usual.output),
            ..usual
        }
    }
}

impl Wanted {
    /// What a user wrote: policies separated by semicolons; `parameters` are for those without.
    pub(crate) fn parse(text: &str, parameters: &str) -> Result<Self, String> {
        let specs = spec::list(text).into_iter();
        let wanted = Self {
            specs: specs.map(str::to_owned).collect(),
            parameters: parameters.to_owned(),
            ..Self::default()
        };
        wanted.files()?;
        for spec in wanted.read(&nothing)? {
            let reference = &spec.reference;
            let known = || builtin::all().iter().any(|one| one.name == *reference);
            let why = match Place::of(reference) {
                Place::BuiltIn if !known() => "is no policy that is built in",
                Place::Elsewhere => "is nowhere that a build looks",
                Place::Registry(reference) => {
                    let parsed = reference.parse::<Reference>();
                    parsed.map_err(|error| error.to_string())?;
                    continue;
                }
                Place::BuiltIn | Place::Context(_) => continue,
            };
            return Err(format!(
                "{reference} {why}; a component is {REGISTRY}HOST/REPO:TAG, or a file in the build context `{CONTEXT}`, such as ./my.wasm"
            ));
        }
        Ok(wanted)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// The policies, with their parameters; `read` reads files of the context.
    pub(crate) fn read(
        &self,
        read: &dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Vec<Spec>, String> {
        let specs = self.specs.iter().map(|text| {
            let mut spec = Spec::parse(text, read).map_err(|error| error.to_string())?;
            let none = spec
                .parameters
                .as_object()
                .is_some_and(serde_json::Map::is_empty);
            if none {
                spec.parameters = parse_parameters(&spec.reference, &self.parameters, read)
                    .map_err(|error| error.to_string())?;
            }
            Ok(spec)
        });
        specs.collect()
    }

    /// The references of components in registries, each once.
    pub(crate) fn remote(&self) -> Result<Vec<String>, String> {
        let mut remote = Vec::new();
        for spec in self.read(&nothing)? {
            if let Place::Registry(reference) = Place::of(&spec.reference)
                && !remote.iter().any(|one| one == reference)
            {
                remote.push(reference.to_owned());
            }
        }
        Ok(remote)
    }

    /// Whether files of the context are needed.
    pub(crate) fn needs_context(&self) -> bool {
        self.files().is_ok_and(|files| !files.is_empty())
    }

    /// The files of the context that are needed.
    fn files(&self) -> Result<BTreeSet<String>, String> {
        let files = std::cell::RefCell::new(BTreeSet::new());
        let specs = self.read(&|file| {
            files.borrow_mut().insert(file.to_owned());
            nothing(file)
        })?;
        let mut files = files.into_inner();
        for spec in specs {
            if let Place::Context(path) = Place::of(&spec.reference) {
                files.insert(path.to_owned());
            }
        }
        for file in &files {
            if file.starts_with('/') || file.split('/').any(|part| part == "..") {
                return Err(format!(
                    "{file} is outside of the build context `{CONTEXT}`: name it as it is called in there"
                ));
            }
        }
        Ok(files)
    }
}

/// What a file holds that is not to be looked at yet.
#[allow(clippy::unnecessary_wraps, reason = "as a file would be read")]
fn nothing(_: &str) -> std::io::Result<Vec<u8>> {
    Ok(b"null".to_vec())
}

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

/// A path without what says nothing.
pub(crate) fn plain(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let wanted = Wanted::parse(
            "span=adaptive; profile=trace=@traces/start.json; ./my.wasm; oci://r.example/p/x:1={\"a\":1}; oci://r.example/p/x:1",
            "",
        );
        let wanted = wanted.unwrap();
        let files: Vec<_> = wanted.files().unwrap().into_iter().collect();
        assert_eq!(files, ["./my.wasm", "traces/start.json"]);
        assert_eq!(wanted.remote().unwrap(), ["r.example/p/x:1"]);
        let text = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Wanted>(&text).unwrap(), wanted);
        assert!(Wanted::parse("", "").unwrap().is_empty());
        assert_eq!(plain("./a//b"), "a/b");
    }

    #[test]
    fn parameters_that_were_given_apart() {
        let wanted = Wanted::parse("adaptive; size=span-size=1", "small=65536").unwrap();
        let specs = wanted.read(&nothing).unwrap();
        assert_eq!(specs[0].parameters["small"], 65536);
        assert_eq!(specs[1].parameters["span-size"], 1);
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, why) in [
            ("adaptiv", "build context `policy`"),
            ("oci:layout:1", "nowhere that a build looks"),
            ("oci://UPPER", "reference"),
            ("/etc/x.wasm", "outside"),
            ("profile=trace=@../x", "outside"),
            ("span=", "names no policy"),
        ] {
            let error = Wanted::parse(wrong, "").unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for wrong in ["fuel", "fuel=0", "memory=x", "time=1"] {
            assert!(Bounds::parse(wrong).is_err(), "{wrong}");
        }
        let limits = Bounds::parse("fuel=5, memory=1MiB").unwrap().limits();
        assert_eq!((limits.fuel, limits.memory), (5, 1 << 20));
        assert_eq!(limits.output, Limits::DEFAULT.output);
    }
}
