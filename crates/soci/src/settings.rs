//! How layers are indexed.

use sociable_layer::Limits;
use sociable_policy::{SizeSpans, SpanPlanner};

use crate::names;

/// How layers are indexed: the reference's options under the reference's names, and a few of our own.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent options")]
pub struct IndexSettings {
    /// Smallest span, in uncompressed bytes; part of each zTOC.
    pub span_size: u64,
    /// Layers with fewer (compressed) bytes are not indexed.
    pub min_layer_size: u64,
    /// Who builds; part of each zTOC and of the SOCI index.
    pub build_tool_identifier: String,
    /// Mark layers which need no extended attributes (the reference's optimisation `xattr`).
    pub xattr_optimization: bool,
    /// Files to be fetched first, as absolute paths in the image.
    pub prefetch: Vec<String>,
    /// Hash the uncompressed bytes of each layer that is read, too.
    pub diff_id: bool,
    /// Index again what the cache has.
    pub force: bool,
    /// Write an index even of a layer that soci-snapshotter cannot read through one.
    pub allow_unreadable: bool,
    /// Bounds on what a layer may contain.
    pub limits: Limits,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            span_size: names::DEFAULT_SPAN_SIZE,
            min_layer_size: names::DEFAULT_MIN_LAYER_SIZE,
            build_tool_identifier: names::DEFAULT_BUILD_TOOL.to_owned(),
            xattr_optimization: false,
            prefetch: Vec::new(),
            diff_id: false,
            force: false,
            allow_unreadable: false,
            limits: Limits::default(),
        }
    }
}

impl IndexSettings {
    /// A planner for one layer.
    #[must_use]
    pub fn planner(&self) -> Box<dyn SpanPlanner> {
        Box::new(SizeSpans {
            span_size: self.span_size,
        })
    }

    /// Everything that a layer's zTOC depends on beside the layer: the options part of a cache key.
    #[must_use]
    pub fn identity(&self) -> String {
        format!(
            "ztoc 0.9, spans {}, span size {}, unreadable {}, by {}",
            self.planner().identity(),
            self.span_size,
            self.allow_unreadable,
            self.build_tool_identifier,
        )
    }
}
