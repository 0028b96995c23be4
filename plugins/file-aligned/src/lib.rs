//! A span does not begin in the middle of a small file, and big files are cut into even pieces.

mod planner;

use serde::Deserialize;
use sociable_policy_sdk::{Description, Error, Layer, Opening, Parameters, Plugin, Result, Span};

use planner::FilePlanner;

/// Spans that respect files.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileAligned {
    /// Size of a span to aim at, in uncompressed bytes; else the layer's.
    span_size: Option<u64>,
}

impl Plugin for FileAligned {
    const DESCRIPTION: Description = Description {
        name: "file-aligned",
        version: env!("CARGO_PKG_VERSION"),
        summary: "A span does not begin in the middle of a small file; big files are cut evenly",
        parameters: include_str!("../parameters.json"),
    };

    fn configure(parameters: Parameters<'_>) -> Result<Self> {
        let policy: Self = parameters.parse()?;
        match policy.span_size {
            Some(0) => Err(Error::new("span-size must be 1 or more")),
            _ => Ok(policy),
        }
    }
}

impl Span for FileAligned {
    type Planner = FilePlanner;

    fn start(&self, layer: &Layer) -> Result<(FilePlanner, Opening)> {
        let planner = FilePlanner::new(self.span_size.unwrap_or(layer.span_size), layer.packing);
        let opening = Opening {
            ask: planner.ask(0, 0),
            look_ahead: None,
        };
        Ok((planner, opening))
    }
}

sociable_policy_sdk::export!(FileAligned: span);

#[cfg(test)]
mod tests {
    use sociable_policy_sdk::trial::{file, indexed, packed};

    use super::*;

    const KB: u64 = 1 << 10;

    fn policy(parameters: &str) -> FileAligned {
        FileAligned::configure(Parameters::new(parameters)).unwrap()
    }

    #[test]
    fn parameters() {
        let schema: serde_json::Value =
            serde_json::from_str(FileAligned::DESCRIPTION.parameters).unwrap();
        assert!(schema["properties"]["span-size"].is_object());
        assert_eq!(policy("{}").span_size, None);
        for wrong in [
            r#"{"span-size": 0}"#,
            r#"{"span-size": -1}"#,
            r#"{"size": 1}"#,
        ] {
            FileAligned::configure(Parameters::new(wrong)).unwrap_err();
        }
    }

    #[test]
    fn packed_spans_begin_with_files() {
        let entries: Vec<_> = (0..40).map(|n| file(&format!("f{n}"), 30 * KB)).collect();
        let spans = packed(&policy(r#"{"span-size": 102400}"#), &entries).unwrap();
        let one = 30 * KB + 512;
        assert!(spans.iter().all(|at| at % one == 0), "{spans:?}");
        assert_eq!(spans.len(), 40 / 3 + 1);
    }

    #[test]
    fn big_files_are_cut_evenly() {
        let entries = [
            file("a", 80 * KB),
            file("big", 250 * KB),
            file("b", 30 * KB),
        ];
        let spans = packed(&policy(r#"{"span-size": 102400}"#), &entries).unwrap();
        let big = 80 * KB + 512;
        let piece = (250 * KB).div_ceil(3);
        let data = big + 512;
        assert_eq!(
            spans,
            [0, big, data + piece, data + 2 * piece, data + 250 * KB]
        );
    }

    #[test]
    fn indexed_spans_avoid_small_files() {
        // A block ends every 8.25 KiB: now in a file, now at its end.
        let entries: Vec<_> = (0..200).map(|n| file(&format!("f{n}"), 16 * KB)).collect();
        let spans = indexed(&policy(r#"{"span-size": 65536}"#), &entries, 8 * KB + 256).unwrap();
        let inside =
            |at: &&u64| (1..16 * KB).contains(&((**at % (16 * KB + 512)).saturating_sub(512)));
        assert_eq!(spans.iter().filter(inside).count(), 0, "{spans:?}");
        assert!(spans.len() > 30);
    }
}
