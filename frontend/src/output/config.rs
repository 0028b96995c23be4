//! An image's config, completed as BuildKit's exporter does it (`exporter/containerimage/writer.go`); of times only those that are
//! missing are written, as dockerfile.v0 has looked after the others.

use serde_json::{Map, Value, json};
use sociable_buildkit::Error;
use sociable_oci::Digest;
use sociable_ztoc::Time;

use crate::base::Base;
use crate::build::Built;

/// How a layer came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// When, RFC 3339.
    pub(super) created: Option<String>,
    /// By what.
    pub(super) by: String,
}

/// How all layers of an image came to be, lowest first. Layers of the base image need not have been looked at.
pub(super) fn origins(built: &Built) -> Vec<Origin> {
    let base = built.target.base.as_ref();
    let below = base.map_or(0, |base| base.diff_ids.len());
    let below = (0..below).map(|number| Origin {
        created: built
            .base
            .get(number)
            .and_then(|layer| layer.created.clone()),
        by: base.map(Base::pulled_from).unwrap_or_default(),
    });
    let above = built.new.iter().zip(&built.target.chain.new);
    let above = above.map(|(layer, operation)| Origin {
        created: layer.created.clone(),
        by: operation.name.clone(),
    });
    below.chain(above).collect()
}

/// Completes a config: diff IDs of all layers; entries of the history that are missing; times that are missing, with those of the new
/// layers, and not later than `epoch`.
pub(super) fn complete(
    config: &[u8],
    diff_ids: &[Digest],
    origins: &[Origin],
    epoch: Option<i64>,
) -> Result<Vec<u8>, Error> {
    let mut config = parse(config)?;
    config.insert(
        "rootfs".to_owned(),
        json!({ "type": "layers", "diff_ids": diff_ids }),
    );
    let epoch = epoch.and_then(|seconds| Time { seconds, nanos: 0 }.to_rfc3339());
    let mut history = take_history(&mut config);
    add_missing(&mut history, origins);
    fill(&mut history, origins, epoch.as_deref());
    let last = history.last().and_then(|entry| entry.get("created"));
    let last = last.cloned();
    config.insert("history".to_owned(), Value::Array(history));
    if config.get("created").is_none_or(Value::is_null) {
        config.insert("created".to_owned(), last.unwrap_or(Value::Null));
    }
    write(&config)
}

/// Speaks of all layers in a config that BuildKit will complete: it knows where layers were fetched from, and not what made them.
/// `None` for a config that speaks of all.
pub(super) fn name_layers(config: &[u8], origins: &[Origin]) -> Result<Option<Vec<u8>>, Error> {
    let mut config = parse(config)?;
    let mut history = take_history(&mut config);
    let before = history.len();
    add_missing(&mut history, origins);
    if history.len() == before {
        return Ok(None);
    }
    config.insert("history".to_owned(), Value::Array(history));
    write(&config).map(Some)
}

fn parse(config: &[u8]) -> Result<Map<String, Value>, Error> {
    serde_json::from_slice(config)
        .map_err(|e| Error::message(format!("the image's config cannot be read: {e}")))
}

fn write(config: &Map<String, Value>) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(config)
        .map_err(|e| Error::message(format!("the image's config cannot be written: {e}")))
}

fn take_history(config: &mut Map<String, Value>) -> Vec<Value> {
    match config.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    }
}

/// Adds an entry for each of the last layers, if the history speaks of fewer than there are.
fn add_missing(history: &mut Vec<Value>, origins: &[Origin]) {
    let spoken_of = history.iter().filter(|entry| !is_empty(entry)).count();
    for layer in origins.iter().skip(spoken_of) {
        history.push(json!({ "created_by": layer.by, "comment": "buildkit.exporter.image.v0" }));
    }
}

/// Whether an entry of the history has no layer.
fn is_empty(entry: &Value) -> bool {
    entry.get("empty_layer").and_then(Value::as_bool) == Some(true)
}

/// Gives entries without a time one: that of their layer, else of the first layer behind the gap, else of what is before.
fn fill(history: &mut [Value], origins: &[Origin], epoch: Option<&str>) {
    let time = |entry: &Value| {
        entry
            .get("created")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let clamp = |time: &str| match epoch {
        Some(epoch) if time > epoch => epoch.to_owned(),
        _ => time.to_owned(),
    };
    let mut layers = origins.iter();
    for entry in history.iter_mut() {
        let layer = if is_empty(entry) { None } else { layers.next() };
        if time(entry).is_none()
            && let Some(created) = layer.and_then(|layer| layer.created.as_ref())
        {
            entry["created"] = json!(clamp(created));
        }
    }
    let mut now = None;
    let mut gap = false;
    for entry in history.iter() {
        match time(entry) {
            Some(time) => {
                now = Some(time);
                if gap {
                    break;
                }
            }
            None => gap = true,
        }
    }
    let mut filled = false;
    for entry in history.iter_mut() {
        match time(entry) {
            Some(time) if filled => now = Some(time),
            Some(_) => {}
            None => {
                filled = true;
                if let Some(now) = &now {
                    entry["created"] = json!(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_json(config: &Value, created: &[Option<String>], epoch: Option<i64>) -> Value {
        let digest = Digest::sha256_of(b"x");
        let origins = created.iter().map(|created| Origin {
            created: created.clone(),
            by: "a step".to_owned(),
        });
        let origins: Vec<_> = origins.collect();
        let bytes = complete(config.to_string().as_bytes(), &[digest], &origins, epoch).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn times_come_from_layers_and_neighbours() {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]},
            "history": [
                {"created": "2020-01-01T00:00:00Z", "created_by": "base"},
                {"created_by": "ENV", "empty_layer": true},
                {"created_by": "COPY"},
                {"created_by": "CMD", "empty_layer": true},
            ],
        });
        let made = Some("2026-01-02T03:04:05Z".to_owned());
        let done = complete_json(&config, &[None, made.clone()], None);
        let times = done["history"].as_array().unwrap().iter();
        let times: Vec<_> = times.map(|h| h["created"].as_str().unwrap()).collect();
        let new = made.as_deref().unwrap();
        assert_eq!(times, ["2020-01-01T00:00:00Z", new, new, new]);
        assert_eq!(done["created"], new);
        assert_eq!(done["config"]["Env"], json!(["A=b"]));
        assert_eq!(done["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);

        let early = complete_json(&config, &[None, made], Some(1_600_000_000));
        assert_eq!(early["created"], "2020-09-13T12:26:40Z");
    }

    #[test]
    fn layers_that_the_history_forgets_are_added() {
        let config = json!({"history": [{"created_by": "COPY"}, {"created_by": "ENV", "empty_layer": true}]});
        let now = Some("2026-01-01T00:00:00Z".to_owned());
        let done = complete_json(&config, &[None, now], None);
        let history = done["history"].as_array().unwrap();
        assert_eq!(history.len(), 3);
        assert_eq!(history[2]["created_by"], "a step");
        assert_eq!(history[2]["comment"], "buildkit.exporter.image.v0");
    }

    #[test]
    fn times_that_are_there_stay() {
        let config = json!({"created": "2021-01-01T00:00:00Z", "history": [{"created": "2021-01-01T00:00:00Z"}]});
        let done = complete_json(&config, &[Some("2026-01-01T00:00:00Z".to_owned())], None);
        assert_eq!(done["created"], config["created"]);
        assert_eq!(done["history"], config["history"]);
    }
}
