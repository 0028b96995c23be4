//! What policies say of themselves.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use sociable_oci::Access;
use sociable_policy::builtin;
use sociable_policy::spec::Place;

use crate::error::CliError;
use crate::output::{print, print_json};
use crate::policy::HostArgs;
use crate::policy::fetch::{self, Component};
use crate::progress::Shown;
use crate::text::printable;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Info {
    /// The policy: one that is built in, a file, or `oci://HOST/REPO:TAG[@DIGEST]`
    policy: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// What there is to know of a policy.
#[derive(Serialize)]
struct Known {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    summary: String,
    decides: Vec<&'static str>,
    /// The JSON schema of its parameters.
    parameters: Value,
}

fn builtins() -> Vec<Known> {
    let known = |builtin: builtin::Builtin| Known {
        name: builtin.name.to_owned(),
        version: None,
        digest: None,
        summary: builtin.summary.to_owned(),
        decides: builtin
            .decides
            .iter()
            .map(|interface| interface.name())
            .collect(),
        parameters: builtin.schema,
    };
    builtin::all().into_iter().map(known).collect()
}

pub(super) fn list(args: &List) -> Result<(), CliError> {
    let all = builtins();
    if args.json {
        return print_json(&all);
    }
    let text = all.iter().fold(String::new(), |mut text, known| {
        let decides = known.decides.join(", ");
        let _ = writeln!(text, "{:<21} {:<12} {}", known.name, decides, known.summary);
        text
    });
    print(&text)
}

pub(super) fn info(args: &Info, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let known = if fetch::place(&args.policy) == Place::BuiltIn {
        let found = builtins()
            .into_iter()
            .find(|known| known.name == args.policy);
        found.ok_or_else(|| {
            CliError::usage(builtin::BuiltinError::Unknown(args.policy.clone()).to_string())
        })?
    } else {
        let component = Component::fetch(&args.policy, access)?;
        let opened = args.host.open(&args.host.host(shown)?, &component)?;
        let about = opened.description;
        let schema = if about.parameters.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&about.parameters).map_err(|error| {
                CliError::failed(format!("its schema of parameters is no JSON: {error}"))
            })?
        };
        Known {
            name: about.name,
            version: Some(about.version),
            digest: Some(about.digest),
            summary: about.summary,
            decides: about
                .interfaces
                .iter()
                .map(|interface| interface.name())
                .collect(),
            parameters: schema,
        }
    };
    if args.json {
        return print_json(&known);
    }
    print(&text(&known))
}

fn text(known: &Known) -> String {
    let version = known.version.as_deref().unwrap_or("(built in)");
    let mut text = format!("{} {version}\n", known.name);
    if let Some(digest) = &known.digest {
        let _ = writeln!(text, "{digest}");
    }
    let _ = write!(
        text,
        "\n{}\n\nDecides: {}\n",
        printable(&known.summary),
        known.decides.join(", ")
    );
    let parameters = known.parameters["properties"].as_object();
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) else {
        text.push_str("Parameters: none\n");
        return text;
    };
    let required = |name: &str| {
        let list = known.parameters["required"].as_array();
        list.is_some_and(|list| list.iter().any(|required| required == name))
    };
    text.push_str("Parameters:\n");
    for (name, schema) in parameters {
        let mut notes = Vec::new();
        if let Some(kind) = schema["type"].as_str() {
            notes.push(kind.to_owned());
        }
        match (&schema["minimum"], &schema["maximum"]) {
            (Value::Null, Value::Null) => {}
            (least, Value::Null) => notes.push(format!("{least} or more")),
            (Value::Null, most) => notes.push(format!("up to {most}")),
            (least, most) => notes.push(format!("{least} to {most}")),
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<_> = values.iter().map(Value::to_string).collect();
            notes.push(values.join(" | "));
        }
        if let Some(default) = schema.get("default") {
            notes.push(format!("default {default}"));
        }
        if required(name) {
            notes.push("required".to_owned());
        }
        let _ = writeln!(
            text,
            "  {}  ({})",
            printable(name),
            printable(&notes.join(", "))
        );
        if let Some(description) = schema["description"].as_str() {
            let _ = writeln!(text, "      {}", printable(description));
        }
    }
    text
}
