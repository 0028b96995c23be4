//! What a start read comes first, in spans of its own.

mod planner;
mod read;
mod trace;

use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use sociable_policy_sdk::{
    Description, Entry, Error, Layer, Opening, Order, Parameters, Plugin, Result, Span, order,
};

use planner::StartPlanner;
use read::Read;
use trace::Trace;

/// Follows a trace.
#[derive(Debug)]
struct StartupOrder {
    read: Rc<Read>,
    sizes: Sizes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    trace: Trace,
    #[serde(default = "default_read")]
    read: u64,
    #[serde(default = "default_unread")]
    unread: u64,
    #[serde(default = "default_bridge")]
    bridge: u64,
}

/// In uncompressed bytes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Largest span of what was read.
    read: u64,
    /// Largest span of what was not.
    unread: u64,
    /// What was not read between two things that were stays with them up to this size.
    bridge: u64,
}

fn default_read() -> u64 {
    4 << 20
}

fn default_unread() -> u64 {
    5 << 20
}

/// Some 64 KiB compressed, which is what two more spans take in a zTOC.
fn default_bridge() -> u64 {
    192 << 10
}

impl Plugin for StartupOrder {
    const DESCRIPTION: Description = Description {
        name: "startup-order",
        version: env!("CARGO_PKG_VERSION"),
        summary: "What a recorded start read is packed first, and spans begin and end with it",
        parameters: include_str!("../parameters.json"),
    };

    fn configure(parameters: Parameters<'_>) -> Result<Self> {
        let given: Given = parameters.parse()?;
        given.trace.check()?;
        let sizes = Sizes {
            read: given.read,
            unread: given.unread,
            bridge: given.bridge,
        };
        if [sizes.read, sizes.unread, sizes.bridge].contains(&0) {
            return Err(Error::new("read, unread and bridge must be 1 or more"));
        }
        Ok(Self {
            read: Rc::new(Read::new(given.trace)),
            sizes,
        })
    }
}

impl Order for StartupOrder {
    fn arrange(&self, _: &Layer, entries: &[Entry]) -> Result<Vec<u32>> {
        let named = entries.iter().enumerate();
        let places: HashMap<&str, usize> = named
            .map(|(place, entry)| (entry.path.as_str(), place))
            .collect();
        let first = self
            .read
            .order()
            .filter_map(|path| places.get(path).copied());
        Ok(order::settled(entries, first))
    }
}

impl Span for StartupOrder {
    type Planner = StartPlanner;

    fn start(&self, layer: &Layer) -> Result<(StartPlanner, Opening)> {
        let planner = StartPlanner::new(Rc::clone(&self.read), self.sizes, layer.packing);
        let opening = Opening {
            ask: planner.ask(0, 0),
            look_ahead: Some(self.sizes.bridge),
        };
        Ok((planner, opening))
    }
}

sociable_policy_sdk::export!(StartupOrder: order, span);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sociable_policy_sdk::trial::{directory, file, hard_link, indexed, layer, packed};

    use super::*;

    const MB: u64 = 1 << 20;

    fn configured(parameters: &Value) -> Result<StartupOrder> {
        StartupOrder::configure(Parameters::new(&parameters.to_string()))
    }

    fn policy(files: &Value) -> StartupOrder {
        let trace = json!({"format": "sociable trace 1", "files": files});
        configured(&json!({"trace": trace, "unread": 16 * MB})).unwrap()
    }

    #[test]
    fn parameters_keep_the_schema() {
        let schema: Value = serde_json::from_str(StartupOrder::DESCRIPTION.parameters).unwrap();
        let mut given =
            json!({"trace": {"format": "sociable trace 1", "workloads": ["x"], "files": []}});
        for (name, of) in schema["properties"].as_object().unwrap() {
            if let Some(default) = of.get("default") {
                given[name] = default.clone();
            }
        }
        let sizes = configured(&given).unwrap().sizes;
        assert_eq!(
            [sizes.read, sizes.unread, sizes.bridge],
            [default_read(), default_unread(), default_bridge()]
        );
    }

    #[test]
    fn wrong_parameters() {
        let refused = |parameters: &Value| configured(parameters).unwrap_err().to_string();
        let format = "sociable trace 1";
        let traced = |path: &str, ranges: Value| {
            let file = json!({"path": path, "size": 9, "ranges": ranges});
            refused(&json!({"trace": {"format": format, "files": [file]}}))
        };
        assert!(refused(&json!({})).contains("trace"));
        let other = json!({"trace": {"format": "sociable trace 2", "files": []}});
        assert!(refused(&other).contains("reads"));
        let none = json!({"trace": {"format": format, "files": []}, "read": 0});
        assert!(refused(&none).contains("1 or more"));
        assert!(traced("usr", json!([])).contains("absolute"));
        for ranges in [
            json!([[0, 0]]),
            json!([[0, 10]]),
            json!([[4, 2], [6, 1]]),
            json!([[4, 2], [2, 1]]),
            json!([[1, u64::MAX]]),
        ] {
            assert!(traced("/x", ranges.clone()).contains("range"), "{ranges}");
        }
    }

    #[test]
    fn what_was_read_comes_first_with_what_it_needs() {
        let entries = [
            directory(""),
            directory("a"),
            file("a/x", 1),
            directory("b"),
            hard_link("b/link", "./a/x"),
            file("b/z", 1),
        ];
        let read = |path: &str| json!({"path": path, "size": 1, "ranges": [[0, 1]]});
        let policy = policy(&json!([read("/b/z"), read("/nowhere"), read("/b/link")]));
        let order = policy.arrange(&layer(true), &entries).unwrap();
        assert_eq!(order, [0, 3, 5, 1, 2, 4]);
    }

    #[test]
    fn spans_of_a_layer_as_it_is_begin_and_end_with_what_was_read() {
        let policy = policy(&json!([
            {"path": "/lib", "size": 40 * MB, "ranges": [[10 * MB, MB]]},
            {"path": "/other", "size": 7, "ranges": [[0, 7]]},
        ]));
        let entries = [file("lib", 40 * MB), file("other", 8)];
        let spans = indexed(&policy, &entries, 64 << 10).unwrap();
        // The second file is not the one that was traced.
        assert_eq!(spans[..3], [0, 10 * MB, 11 * MB + (64 << 10)]);
        assert!(
            spans[3..].iter().all(|at| at - spans[2] >= 15 * MB),
            "{spans:?}"
        );
    }

    #[test]
    fn small_gaps_are_bridged() {
        let ranges = json!([[MB, 1000], [MB + (150 << 10), 1000], [2 * MB, 1000]]);
        let policy = policy(&json!([{"path": "/lib", "size": 4 * MB, "ranges": ranges}]));
        let spans = indexed(&policy, &[file("lib", 4 * MB)], 64 << 10).unwrap();
        assert_eq!(spans.len(), 5, "{spans:?}");
        assert_eq!(spans[1] / (64 << 10), 16);
        assert_eq!(spans[2] / (64 << 10), 19);
    }

    #[test]
    fn packed_layers_are_cut_at_files() {
        let policy = policy(&json!([
            {"path": "/b", "size": 100, "ranges": [[0, 100]]},
            {"path": "/c", "size": 100, "ranges": [[0, 10]]},
        ]));
        let entries = [
            file("a", MB),
            file("b", 100),
            file("x", 1000),
            file("c", 100),
            file("d", MB),
        ];
        let spans = packed(&policy, &entries).unwrap();
        let b = 512 + MB;
        let c_read = b + 1024 + 512 + 1024 + 512 + 10;
        assert_eq!(spans, [0, b, c_read + default_bridge()]);
    }
}
