//! The policies that are always there.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::compression::StoreIncompressible;
use crate::order::ProfileOrder;
use crate::span::{AdaptiveSpans, FileAlignedSpans, ProfileSpans};
use crate::{
    About, Interface, Layer, Policy, PolicyError, SizeSpans, SpanPlanner, SpanPolicy, Trace,
};

/// A policy that is built in.
#[derive(Debug, Clone)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// JSON schema of its parameters.
    pub schema: Value,
    /// What it decides.
    pub decides: &'static [Interface],
}

/// Why a policy that is built in cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuiltinError {
    /// There is none of that name.
    #[error("no policy of the name {0:?} is built in; there are {all}", all = names())]
    Unknown(String),
    /// The parameters are not what it takes.
    #[error("policy {policy}: parameters: {why}; it takes {takes}")]
    Parameters {
        /// The policy.
        policy: &'static str,
        /// What is wrong.
        why: String,
        /// What there is.
        takes: String,
    },
}

fn names() -> String {
    let names: Vec<_> = all().into_iter().map(|builtin| builtin.name).collect();
    names.join(", ")
}

/// Whether there is one of that name.
#[must_use]
pub fn is(name: &str) -> bool {
    all().iter().any(|builtin| builtin.name == name)
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Builtin> {
    let size = |description: &str| json!({"type": "integer", "minimum": 1, "maximum": 1u64 << 40, "description": description});
    let bytes = |default: u64, description: &str| {
        let mut schema = size(&format!("{description}, in uncompressed bytes"));
        schema["default"] = default.into();
        schema
    };
    let asked = |description: &str| {
        size(&format!(
            "{description}, in uncompressed bytes; without it, what --span-size says"
        ))
    };
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
    vec![
        Builtin {
            name: "size",
            decides: &[Interface::Span],
            summary: "Spans of one size: the rule of the SOCI tools",
            schema: object(json!({"span-size": asked("smallest size of a span")}), &[]),
        },
        Builtin {
            name: "file-aligned",
            decides: &[Interface::Span],
            summary: "A span does not begin in the middle of a small file; big files are cut evenly",
            schema: object(json!({"span-size": asked("size of a span to aim at")}), &[]),
        },
        Builtin {
            name: "adaptive",
            decides: &[Interface::Span],
            summary: "Small spans where small files are dense, large ones in large files",
            schema: object(
                json!({
                    "small": bytes(AdaptiveSpans::default().small, "size of spans among small files"),
                    "large": bytes(AdaptiveSpans::default().large, "size of spans in large files, which have this size or more"),
                }),
                &[],
            ),
        },
        Builtin {
            name: "profile",
            decides: &[Interface::Span, Interface::Order],
            summary: "Spans follow what a recorded start read; packed layers hold that first",
            schema: object(
                json!({
                    "trace": {"type": "object", "description": "a trace, as `sociable trace` records it: trace=@FILE"},
                    "read": bytes(ProfileSpans::READ, "largest span of what was read"),
                    "unread": bytes(ProfileSpans::UNREAD, "largest span of what was not"),
                    "bridge": bytes(ProfileSpans::BRIDGE, "gaps up to this size get no span of their own"),
                }),
                &["trace"],
            ),
        },
        Builtin {
            name: "store-incompressible",
            decides: &[Interface::Compression],
            summary: "Files whose beginning does not shrink are stored as they are",
            schema: object(
                json!({"percent": {
                    "type": "integer", "minimum": 50, "maximum": 101, "default": StoreIncompressible::default().percent,
                    "description": "what the beginning has to keep of its size, in percent",
                }}),
                &[],
            ),
        },
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Size {
    span_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adaptive {
    small: Option<u64>,
    large: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    trace: Value,
    read: Option<u64>,
    unread: Option<u64>,
    bridge: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    percent: Option<u32>,
}

/// A policy of spans of this size or, without, of the one that is asked for where it is used.
#[derive(Debug, Clone, Copy)]
struct OfSize<P>(Option<u64>, fn(u64) -> P);

impl<P: SpanPolicy> SpanPolicy for OfSize<P> {
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        let Self(size, policy) = self;
        policy(size.unwrap_or(layer.span_size)).planner(layer)
    }

    fn identity(&self) -> String {
        let Self(size, policy) = self;
        // The size that is asked for is part of any key.
        policy(size.unwrap_or(0)).identity()
    }
}

/// The policy of that name, with parameters: a JSON object.
///
/// # Errors
/// [`BuiltinError`].
pub fn load(name: &str, parameters: &Value) -> Result<Policy, BuiltinError> {
    let Some(builtin) = all().into_iter().find(|builtin| builtin.name == name) else {
        return Err(BuiltinError::Unknown(name.to_owned()));
    };
    let wrong = |why: String| BuiltinError::Parameters {
        policy: builtin.name,
        why,
        takes: parameter_names(&builtin.schema),
    };
    if !parameters.is_object() {
        return Err(wrong(format!("{parameters} is no JSON object")));
    }
    for (name, schema) in builtin.schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
    {
        in_range(name, &parameters[name], schema).map_err(wrong)?;
    }
    let mut policy = Policy::new(About {
        name: builtin.name.to_owned(),
        digest: None,
        parameters: parameters.clone(),
    });
    let json = |error: serde_json::Error| wrong(error.to_string());
    match builtin.name {
        "size" => {
            let Size { span_size } = Size::deserialize(parameters).map_err(json)?;
            policy.span = Some(Arc::new(OfSize(span_size, |span_size| SizeSpans {
                span_size,
            })));
        }
        "file-aligned" => {
            let Size { span_size } = Size::deserialize(parameters).map_err(json)?;
            policy.span = Some(Arc::new(OfSize(span_size, |span_size| FileAlignedSpans {
                span_size,
            })));
        }
        "adaptive" => {
            let given = Adaptive::deserialize(parameters).map_err(json)?;
            let default = AdaptiveSpans::default();
            policy.span = Some(Arc::new(AdaptiveSpans {
                small: given.small.unwrap_or(default.small),
                large: given.large.unwrap_or(default.large),
            }));
        }
        "profile" => {
            let given = Profile::deserialize(parameters).map_err(json)?;
            if let Some(file) = given.trace.as_str() {
                return Err(wrong(format!(
                    "trace is the text {file:?}; trace=@{file} takes it from a file"
                )));
            }
            let trace = Trace::parse(given.trace.to_string().as_bytes());
            let trace = trace.map_err(|error| wrong(format!("trace: {}", with_source(&error))))?;
            let mut spans = ProfileSpans::new(&trace);
            spans.read = given.read.unwrap_or(spans.read);
            spans.unread = given.unread.unwrap_or(spans.unread);
            spans.bridge = given.bridge.unwrap_or(spans.bridge);
            policy.span = Some(Arc::new(spans));
            policy.order = Some(Arc::new(ProfileOrder::new(&trace)));
        }
        _ => {
            let given = Store::deserialize(parameters).map_err(json)?;
            let default = StoreIncompressible::default();
            policy.compression = Some(Arc::new(StoreIncompressible {
                percent: given.percent.unwrap_or(default.percent),
            }));
        }
    }
    Ok(policy)
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn in_range(name: &str, value: &Value, schema: &Value) -> Result<(), String> {
    let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) else {
        return Ok(());
    };
    match value.as_u64() {
        Some(number) if number < least || number > most => {
            Err(format!("{name} is {number}, but must be {least} to {most}"))
        }
        _ => Ok(()),
    }
}

fn parameter_names(schema: &Value) -> String {
    let names: Vec<_> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_had() {
        for builtin in all() {
            let mut parameters = json!({});
            if builtin.name == "profile" {
                parameters = json!({"trace": {"format": crate::trace::FORMAT, "files": []}});
            }
            let policy = load(builtin.name, &parameters).unwrap();
            assert_eq!(policy.about.name, builtin.name);
            assert_eq!(policy.interfaces(), builtin.decides);
            // Every parameter of the schema is one that is read.
            for (name, schema) in builtin.schema["properties"].as_object().unwrap() {
                if let Some(default) = schema.get("default") {
                    parameters[name] = default.clone();
                }
            }
            load(builtin.name, &parameters).unwrap();
        }
    }

    #[test]
    fn wrong_parameters() {
        let refused = |name, parameters| load(name, &parameters).unwrap_err().to_string();
        assert!(refused("sizes", json!({})).contains("file-aligned"));
        assert!(refused("size", json!({"span-size": 0})).contains("1 to"));
        assert!(refused("size", json!({"spam": 0})).contains("it takes span-size"));
        assert!(refused("size", json!([])).contains("no JSON object"));
        assert!(refused("profile", json!({})).contains("trace"));
        assert!(refused("profile", json!({"trace": "x.json"})).contains("trace=@x.json"));
        let other = json!({"trace": {"format": "other", "files": []}});
        assert!(refused("profile", other).contains("other"));
    }
}
