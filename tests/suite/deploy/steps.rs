//! The steps that files of CI systems hold, with what the systems put into them.

use serde_yaml_ng::Value;

use super::text;

/// A YAML file of `deploy/`: its last document.
pub(super) fn yaml(path: &str) -> Value {
    parse(&text(path), path)
}

pub(super) fn parse(text: &str, what: &str) -> Value {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let last = documents.last().expect("a document");
    let value: Result<Value, _> = serde::Deserialize::deserialize(last);
    value.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_sequence().expect("a list");
    list.iter()
        .map(|item| item.as_str().expect("a text").to_owned())
        .collect()
}

/// The commands of a CodeBuild file, in the order of its phases, as one script: CodeBuild runs them in one shell, and ends with the
/// first that fails.
pub(super) fn codebuild(file: &Value) -> String {
    let phases = file["phases"].as_mapping().expect("phases");
    let order: Vec<_> = phases.keys().filter_map(Value::as_str).collect();
    let all = ["install", "pre_build", "build", "post_build"];
    let known: Vec<_> = all.iter().filter(|phase| order.contains(phase)).collect();
    assert_eq!(known.len(), order.len(), "phases: {order:?}");
    let commands = known.iter().flat_map(|phase| {
        assert_eq!(file["phases"][**phase]["on-failure"], Value::from("ABORT"));
        texts(&file["phases"][**phase]["commands"])
    });
    commands.collect::<Vec<_>>().join("\n")
}
