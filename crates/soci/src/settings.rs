//! How layers are indexed.

use sociable_layer::Limits;
use sociable_oci::{Descriptor, Digest};
use sociable_policy::{Interface, Layer, Policies, PolicyError};

use sociable_ztoc::{EncodeError, Encoded, Ztoc};

use crate::names;
use crate::outcome::SkipReason;
use crate::record::{self, Used};

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
    /// Who decides, where it is not the reference's rules.
    pub policies: Policies,
    /// Who decided about layers that were made elsewhere, for the record.
    pub decided: Vec<Used>,
    /// Write zTOCs with equal texts shared. Same content and readers, other bytes than the reference's.
    /// `None`: where spans are not the reference's anyway.
    pub compact: Option<bool>,
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
            policies: Policies::default(),
            decided: Vec::new(),
            compact: None,
        }
    }
}

impl IndexSettings {
    /// What policies are told about a layer that exists.
    #[must_use]
    pub fn facts(&self, layer: &Descriptor) -> Layer {
        Layer {
            digest: Some(layer.digest.to_string()),
            size: Some(layer.size),
            packing: false,
            ..self.facts_of_new(&layer.media_type)
        }
    }

    /// What policies are told about a layer that is packed.
    #[must_use]
    pub fn facts_of_new(&self, media_type: &str) -> Layer {
        Layer {
            digest: None,
            size: None,
            media_type: media_type.to_owned(),
            span_size: self.span_size,
            min_layer_size: self.min_layer_size,
            packing: true,
        }
    }

    /// Who decided, for the record.
    pub(crate) fn record(&self) -> Option<String> {
        let here = Used::all(&self.policies);
        let used: Vec<_> = self.decided.iter().cloned().chain(here).collect();
        record::record(&used)
    }

    /// Why a layer with these facts gets no index, if it gets none: by its size, unless a policy decides.
    ///
    /// # Errors
    /// The policy's.
    pub fn unwanted(&self, layer: &Layer) -> Result<Option<SkipReason>, PolicyError> {
        let size = layer.size.unwrap_or(0);
        if let Some(selection) = self.policies.selection() {
            let verdict = selection.select(layer)?;
            return Ok((!verdict.index).then(|| SkipReason::Policy {
                policy: self.policies.name_of(Interface::Selection),
                why: verdict.reason,
            }));
        }
        let minimum = layer.min_layer_size;
        Ok((size < minimum).then_some(SkipReason::TooSmall { size, minimum }))
    }

    /// Whether zTOCs are written with equal texts shared.
    #[must_use]
    fn is_compact(&self) -> bool {
        (self.compact).unwrap_or_else(|| !self.policies.has_reference_spans())
    }

    /// A zTOC's bytes, as these settings want them.
    ///
    /// # Errors
    /// When the format cannot hold the content.
    pub fn encode<'a>(&self, ztoc: &'a Ztoc) -> std::result::Result<Encoded<'a>, EncodeError> {
        if self.is_compact() {
            ztoc.encode_compact()
        } else {
            ztoc.encode()
        }
    }

    /// Whether zTOCs are, byte for byte, those of the reference.
    #[must_use]
    pub fn are_the_references(&self) -> bool {
        self.policies.has_reference_spans() && !self.is_compact()
    }

    /// Everything that a layer's zTOC depends on beside the layer: the options part of a cache key.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut spans = self.policies.identity(self.span_size);
        // A policy's parameters can be a document.
        if spans.len() > 200 {
            spans = Digest::sha256_of(spans.as_bytes()).to_string();
        }
        format!(
            "ztoc 0.9{}, spans {}, span size {}, unreadable {}, by {}",
            if self.is_compact() { " compact" } else { "" },
            spans,
            self.span_size,
            self.allow_unreadable,
            self.build_tool_identifier,
        )
    }
}
