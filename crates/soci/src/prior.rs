//! zTOCs that somebody made before with the same options: those of the image's own SOCI index, and of the one that is at
//! the destination.
//!
//! A layer that has one is not read, and not even fetched where the destination has it. Whatever cannot be read or does not
//! fit is as good as absent: the layer is indexed then.

use std::collections::BTreeMap;

use sociable_layer::Compression;
use sociable_oci::{Descriptor, Digest, Source};
use sociable_ztoc::{Spans, Ztoc};

use crate::convert::Options;
use crate::found;
use crate::image::{Image, PlatformImage};
use crate::layers;
use crate::names::{BUILD_TOOL, SPAN_SIZE};
use crate::settings::IndexSettings;

/// zTOCs of earlier runs.
#[derive(Default)]
pub(crate) struct Prior<'a> {
    ztocs: BTreeMap<Digest, Vec<(&'a dyn Source, Descriptor)>>,
}

impl<'a> Prior<'a> {
    /// Looks at the source's image and at what is at the destination.
    pub(crate) fn find(
        source: &'a dyn Source,
        chosen: &[PlatformImage],
        image: &Image,
        existing: Option<&'a dyn Source>,
        options: &Options<'_>,
    ) -> Self {
        let mut prior = Self::default();
        // What a policy would decide cannot be told from a zTOC.
        if options.settings.force || !options.settings.are_the_references() {
            return prior;
        }
        prior.take(source, image, chosen, options.settings);
        if let Some(existing) = existing
            && let Ok(image) = Image::open(existing, None)
            && let Ok(chosen) = image.choose(existing, options.platforms)
        {
            prior.take(existing, &image, &chosen, options.settings);
        }
        prior
    }

    fn take(
        &mut self,
        source: &'a dyn Source,
        image: &Image,
        chosen: &[PlatformImage],
        settings: &IndexSettings,
    ) {
        for of in chosen {
            for found in found::indexes(source, image, of).unwrap_or_default() {
                if found.index.annotations.get(BUILD_TOOL) != Some(&settings.build_tool_identifier)
                {
                    continue;
                }
                for layer in &of.manifest.layers {
                    let Some(ztoc) = found.index.ztoc_of(&layer.digest) else {
                        continue;
                    };
                    let span_size = settings.span_size.to_string();
                    if ztoc.annotations.get(SPAN_SIZE) == Some(&span_size) {
                        let known = self.ztocs.entry(layer.digest).or_default();
                        known.push((source, ztoc.clone()));
                    }
                }
            }
        }
    }

    /// The zTOC of a layer, if one is known and holds what its options would make.
    pub(crate) fn ztoc(
        &self,
        settings: &IndexSettings,
        layer: &Descriptor,
        compression: Compression,
    ) -> Option<(Vec<u8>, Ztoc)> {
        self.ztocs
            .get(&layer.digest)?
            .iter()
            .find_map(|(source, descriptor)| {
                let bytes = source
                    .document_within(descriptor, sociable_ztoc::format::MAX_SIZE)
                    .ok()?;
                let ztoc = Ztoc::decode(&bytes).ok()?;
                let span_size = match &ztoc.spans {
                    Spans::Gzip(spans) => u64::try_from(spans.span_size).ok()?,
                    Spans::Uncompressed(spans) => spans.span_size,
                };
                let same = layers::fits(&ztoc, layer, compression)
                    && span_size == settings.span_size
                    && ztoc.build_tool_identifier == settings.build_tool_identifier.as_bytes();
                same.then_some((bytes, ztoc))
            })
    }
}
