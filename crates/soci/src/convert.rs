//! `convert`: an image becomes a SOCI-enabled image (SOCI index v2).
//!
//! For each platform asked for, its layers are indexed and a SOCI index is made; the image manifest gets an annotation
//! with its digest, and an image index lists manifests and SOCI indexes. Documents come out as the reference's
//! `convert --standalone` writes them, byte for byte; the few exceptions, and why, are listed in `docs/design.md`.
//!
//! Everything that the new image index leads to is written to the sink; the sink's `index.json` changes last.

use std::collections::BTreeMap;

use serde::Serialize;
use sociable_oci::{
    Descriptor, Digest, Document, Index, IndexUpdate, Manifest, Platform, Sink, Source, Walk,
    media_type,
};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::image::{Image, Kind, PlatformImage, Platforms, manifest_of};
use crate::layers::{self, Job, Prepared};
use crate::moved::InPlace;
use crate::names::{INDEX_DIGEST, INDEX_V2, LAYER_DIGEST, MANIFEST_DIGEST, POLICIES, PREFETCH};
use crate::outcome::{IndexedLayer, LayerOutcome, SkipReason};
use crate::prefetch::Prefetch;
use crate::prior::Prior;
use crate::progress::Run;
use crate::settings::IndexSettings;
use crate::soci_index::{CONFIG, SociIndex, Version};

/// How an image gets its index.
#[derive(Debug)]
pub struct Options<'a> {
    /// How layers are indexed.
    pub settings: &'a IndexSettings,
    /// For which platforms.
    pub platforms: &'a Platforms,
    /// Where zTOCs are kept from run to run.
    pub cache: Option<&'a Cache>,
    /// The tag of the new image in the sink.
    pub tag: Option<&'a str>,
    /// Make a v1 index of each converted image, too.
    pub also_v1: bool,
}

/// What became of an image.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The new image: the image index (v2), or the image as it was (v1).
    pub image: Blob,
    /// Its platforms with an index.
    pub platforms: Vec<PlatformReport>,
    /// Platforms that were asked for, and of which no layer was indexed.
    pub without_index: Vec<Platform>,
    /// Platforms that were not asked for: copied as they are.
    pub not_asked_for: Vec<Platform>,
}

/// A blob in a report.
#[derive(Debug, Clone, Serialize)]
pub struct Blob {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&Descriptor> for Blob {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest,
            size: descriptor.size,
        }
    }
}

/// One platform in a report.
#[derive(Debug, Clone, Serialize)]
pub struct PlatformReport {
    /// The platform.
    pub platform: String,
    /// The image manifest (v2: the new one).
    pub manifest: Digest,
    /// The SOCI index.
    pub soci_index: Blob,
    /// Its generation.
    pub version: Version,
    /// The layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// Paths to prefetch that no indexed layer has.
    pub prefetch_missing: Vec<String>,
}

/// One layer in a report.
#[derive(Debug, Clone, Serialize)]
pub struct LayerReport {
    /// The layer.
    #[serde(flatten)]
    pub blob: Blob,
    /// What became of it.
    pub outcome: LayerOutcome,
}

/// Converts an image.
///
/// # Errors
/// [`Error`]; the sink's `index.json` then is as it was.
pub fn convert(
    source: &dyn Source,
    image: &Image,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    convert_prepared(source, image, sink, options, None, run)
}

/// As [`convert`], with layers that were indexed beforehand.
pub(crate) fn convert_prepared(
    source: &dyn Source,
    image: &Image,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    prepared: Option<&dyn Prepared>,
    run: Run<'_>,
) -> Result<Report> {
    let chosen = image.choose(source, options.platforms)?;
    let not_asked_for = others(source, image, &chosen)?;
    let mut entries = match &image.kind {
        Kind::Single(target) => Index::new(vec![(**target).clone()]),
        Kind::Multi(index) => index.clone(),
    };
    media_type::OCI_INDEX.clone_into(&mut entries.media_type);
    let manifests = entries
        .manifests
        .iter()
        .map(|entry| manifest_below(source, entry, &chosen))
        .collect::<Result<Vec<_>>>()?;

    let assembled = {
        let existing = sink.existing();
        let in_place = InPlace::begin(image, existing.as_deref());
        let prior = Prior::find(source, &chosen, image, existing.as_deref(), options);
        let job = Job {
            source,
            sink: &*sink,
            settings: options.settings,
            cache: options.cache,
            prepared,
            prior: Some(&prior),
            run,
        };
        let outcomes = layers::process(
            job,
            &layers::plan_all(job, &chosen, manifests.iter().flatten())?,
        )?;
        let mut assembled = assemble(job, &chosen, entries, manifests, &outcomes)?;
        if options.also_v1 {
            assembled.add_v1(job, &chosen, &outcomes)?;
        }
        in_place.end(existing.as_deref())?;
        assembled
    };
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    sink.finish(&assembled.update(options.tag))?;
    Ok(Report {
        not_asked_for,
        ..assembled.report
    })
}

/// Platforms of an image that were not chosen.
pub(crate) fn others(
    source: &dyn Source,
    image: &Image,
    chosen: &[PlatformImage],
) -> Result<Vec<Platform>> {
    let mut others = image.platforms(source)?;
    others.retain(|platform| !chosen.iter().any(|c| c.platform.matches_strict(platform)));
    Ok(others)
}

/// An image index that was written and is not yet visible.
pub(crate) struct Assembled {
    image: Descriptor,
    /// Each image's manifest: what it was, and what it is now.
    manifests: Vec<(Digest, Descriptor)>,
    /// What refers to these.
    beside: Vec<Descriptor>,
    pub(crate) report: Report,
}

impl Assembled {
    /// The image index.
    pub(crate) fn image(&self) -> &Descriptor {
        &self.image
    }

    /// What a manifest has become.
    pub(crate) fn renewed(&self, old: &Digest) -> Option<&Descriptor> {
        let found = self.manifests.iter().find(|(digest, _)| digest == old);
        found.map(|(_, new)| new)
    }

    /// What makes it visible.
    pub(crate) fn update(&self, tag: Option<&str>) -> IndexUpdate {
        let update = IndexUpdate::new(self.image.clone()).tagged(tag);
        self.beside.iter().cloned().fold(update, IndexUpdate::also)
    }

    /// Writes v1 indexes that refer to the new manifests.
    fn add_v1(
        &mut self,
        job: Job<'_>,
        chosen: &[PlatformImage],
        outcomes: &BTreeMap<Digest, LayerOutcome>,
    ) -> Result<()> {
        let renewed: Vec<PlatformImage> = chosen
            .iter()
            .filter_map(|image| {
                let new = self.renewed(&image.descriptor.digest)?;
                Some(PlatformImage {
                    descriptor: new.clone(),
                    ..image.clone()
                })
            })
            .collect();
        let (built, _) = build_indexes(job, Version::V1, &renewed, outcomes)?;
        for index in built {
            self.beside.push(index.referrer());
            self.report.platforms.push(index.report());
        }
        Ok(())
    }
}

/// Writes everything but layers and zTOCs: SOCI indexes, manifests that name them, and the image index of all.
/// `manifests` are those that the entries lead to, `None` for entries that stay as they are.
pub(crate) fn assemble(
    job: Job<'_>,
    chosen: &[PlatformImage],
    mut entries: Index,
    manifests: Vec<Option<Manifest>>,
    outcomes: &BTreeMap<Digest, LayerOutcome>,
) -> Result<Assembled> {
    let (mut built, without_index) = build_indexes(job, Version::V2, chosen, outcomes)?;
    let originals: Vec<Digest> = entries.manifests.iter().map(|e| e.digest).collect();
    let mut renewed = Vec::new();
    for ((entry, manifest), original) in entries.manifests.iter_mut().zip(manifests).zip(&originals)
    {
        let Some(manifest) = manifest else { continue };
        annotate(job, entry, manifest, original, &mut built)?;
        renewed.push((*original, entry.clone()));
    }
    for index in &built {
        list(&mut entries, index);
    }
    copy_as_they_are(job, &entries, &built)?;
    let bytes = entries.to_bytes();
    job.sink.put_document(media_type::OCI_INDEX, &bytes)?;
    let image = Descriptor::of(media_type::OCI_INDEX, &bytes);
    Ok(Assembled {
        report: Report {
            image: Blob::from(&image),
            platforms: built.into_iter().map(Built::report).collect(),
            without_index,
            not_asked_for: Vec::new(),
        },
        manifests: renewed,
        beside: Vec::new(),
        image,
    })
}

/// The manifest that an entry of an image index leads to. `None` for what stays as it is: SOCI indexes, documents of other
/// kinds, and images that were not chosen and are not all there.
fn manifest_below(
    source: &dyn Source,
    entry: &Descriptor,
    chosen: &[PlatformImage],
) -> Result<Option<Manifest>> {
    let document =
        media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type);
    if !document || Version::of(&entry.artifact_type).is_some() {
        return Ok(None);
    }
    match manifest_of(source, entry) {
        Err(Error::Oci(error))
            if matches!(*error, sociable_oci::Error::NoBlob { .. })
                && !chosen
                    .iter()
                    .any(|image| image.descriptor.digest == entry.digest) =>
        {
            Ok(None)
        }
        manifest => manifest.map(Some),
    }
}

/// A SOCI index that was written, and its image.
pub(crate) struct Built {
    pub(crate) platform: Platform,
    /// The entry of the index, to be listed.
    pub(crate) descriptor: Descriptor,
    /// The image manifest as it was.
    pub(crate) original: Digest,
    report: PlatformReport,
}

impl Built {
    pub(crate) fn report(self) -> PlatformReport {
        self.report
    }

    /// As an entry of a list of referrers, which has no platform: its subject says it.
    pub(crate) fn referrer(&self) -> Descriptor {
        Descriptor {
            platform: None,
            ..self.descriptor.clone()
        }
    }
}

/// Writes the SOCI indexes of all images; also says for which platforms no layer was indexed.
///
/// # Errors
/// [`Error::NothingIndexed`] where that is so for all.
pub(crate) fn build_indexes(
    job: Job<'_>,
    version: Version,
    chosen: &[PlatformImage],
    outcomes: &BTreeMap<Digest, LayerOutcome>,
) -> Result<(Vec<Built>, Vec<Platform>)> {
    let mut built = Vec::new();
    let mut without_index = Vec::new();
    for image in chosen {
        match build_index(job, version, image, outcomes)? {
            Some(index) => built.push(index),
            None => without_index.push(image.platform.clone()),
        }
    }
    if built.is_empty() {
        return Err(nothing_indexed(outcomes));
    }
    Ok((built, without_index))
}

/// Writes the SOCI index of one image; `None` where no layer was indexed.
fn build_index(
    job: Job<'_>,
    version: Version,
    image: &PlatformImage,
    outcomes: &BTreeMap<Digest, LayerOutcome>,
) -> Result<Option<Built>> {
    let indexed = |layer: &Descriptor| match outcomes.get(&layer.digest) {
        Some(LayerOutcome::Indexed(indexed)) => Some(indexed),
        _ => None,
    };
    let layers = &image.manifest.layers;
    let ztocs: Vec<_> = layers
        .iter()
        .filter_map(|layer| {
            Some(layers::ztoc_descriptor(
                layer,
                indexed(layer)?,
                job.settings,
            ))
        })
        .collect();
    if ztocs.is_empty() {
        return Ok(None);
    }
    let (prefetch, prefetch_missing) = build_prefetch(job, image, &indexed)?;
    let tool = &job.settings.build_tool_identifier;
    let mut index = SociIndex::new(version, tool, &image.descriptor, ztocs, prefetch);
    if let Some(record) = job.settings.record() {
        index.annotations.insert(POLICIES.to_owned(), record);
    }
    let (bytes, mut descriptor) = index.encode();
    job.sink.put(CONFIG)?;
    job.sink.put_document(&descriptor.media_type, &bytes)?;
    let report = PlatformReport {
        platform: image.platform.to_string(),
        manifest: image.descriptor.digest,
        soci_index: Blob::from(&descriptor),
        version,
        layers: layers
            .iter()
            .filter_map(|layer| {
                Some(LayerReport {
                    blob: Blob::from(layer),
                    outcome: outcomes.get(&layer.digest)?.clone(),
                })
            })
            .collect(),
        prefetch_missing,
    };
    descriptor.platform = Some(image.platform.clone());
    Ok(Some(Built {
        platform: image.platform.clone(),
        descriptor,
        original: image.descriptor.digest,
        report,
    }))
}

/// Writes the prefetch artifacts of one image; also says which paths no layer has.
fn build_prefetch<'o>(
    job: Job<'_>,
    image: &PlatformImage,
    indexed: &dyn Fn(&Descriptor) -> Option<&'o IndexedLayer>,
) -> Result<(Vec<Descriptor>, Vec<String>)> {
    let layers = &image.manifest.layers;
    let mut ranges: BTreeMap<Digest, Vec<_>> = BTreeMap::new();
    let mut missing = Vec::new();
    for (number, path) in job.settings.prefetch.iter().enumerate() {
        let found = layers.iter().rev().find_map(|layer| {
            let range = indexed(layer)?.prefetch.get(number).copied().flatten()?;
            Some((layer.digest, range))
        });
        match found {
            Some((layer, range)) => ranges.entry(layer).or_default().push(range),
            None => missing.push(path.clone()),
        }
    }
    for path in &missing {
        job.run.note(&format!(
            "no indexed layer for {} has {path}, so it is not prefetched",
            image.platform
        ));
    }
    for layer in layers {
        let chosen = indexed(layer).map(|indexed| &indexed.chosen[..]);
        if let Some(chosen @ [_, ..]) = chosen {
            ranges.entry(layer.digest).or_default().extend(chosen);
        }
    }
    let mut artifacts = Vec::new();
    for layer in layers {
        // A layer that an image has twice gives its artifact twice, as its zTOC.
        let Some(prefetch) = ranges.get(&layer.digest).cloned().and_then(Prefetch::of) else {
            continue;
        };
        let bytes = prefetch.to_bytes();
        job.sink.put(&bytes)?;
        let mut descriptor = Descriptor::of(PREFETCH, &bytes);
        let digest = layer.digest.to_string();
        descriptor
            .annotations
            .insert(LAYER_DIGEST.to_owned(), digest);
        artifacts.push(descriptor);
    }
    Ok((artifacts, missing))
}

/// Writes an entry's manifest in OCI media types and, where it got an index, with the annotation that leads to it.
fn annotate(
    job: Job<'_>,
    entry: &mut Descriptor,
    mut manifest: Manifest,
    original: &Digest,
    built: &mut [Built],
) -> Result<()> {
    job.sink.import_from(job.source, &manifest.config)?;
    media_type::OCI_MANIFEST.clone_into(&mut manifest.media_type);
    media_type::OCI_CONFIG.clone_into(&mut manifest.config.media_type);
    let index = built.iter_mut().find(|index| index.original == *original);
    if let Some(index) = &index {
        let digest = index.descriptor.digest.to_string();
        manifest.annotations.insert(INDEX_DIGEST.to_owned(), digest);
    }
    let bytes = manifest.to_bytes();
    entry.digest = job.sink.put_document(media_type::OCI_MANIFEST, &bytes)?;
    entry.size = bytes.len() as u64;
    entry.annotations = manifest.annotations;
    media_type::OCI_MANIFEST.clone_into(&mut entry.media_type);
    // An embedded copy of the old manifest would be wrong now.
    entry.data.clear();
    if let Some(index) = index {
        let digest = entry.digest.to_string();
        index
            .descriptor
            .annotations
            .insert(MANIFEST_DIGEST.to_owned(), digest);
        index.report.manifest = entry.digest;
    }
    Ok(())
}

/// Lists a SOCI index, in place of an older one for the same platform.
fn list(entries: &mut Index, index: &Built) {
    let platform = index.platform.normalize();
    let old = entries.manifests.iter_mut().find(|entry| {
        entry.artifact_type == INDEX_V2
            && entry
                .platform
                .as_ref()
                .is_some_and(|p| platform.matches_strict(p))
    });
    match old {
        Some(old) => *old = index.descriptor.clone(),
        None => entries.manifests.push(index.descriptor.clone()),
    }
}

/// Copies what is listed and was not made anew, with all that it leads to and that is there: SOCI indexes of other
/// platforms, images that are not all there, documents of other kinds.
fn copy_as_they_are(job: Job<'_>, entries: &Index, built: &[Built]) -> Result<()> {
    for entry in &entries.manifests {
        let new = built
            .iter()
            .any(|index| index.descriptor.digest == entry.digest);
        if new || job.sink.holds(entry)? {
            continue;
        }
        let mut steps = Vec::new();
        for step in Walk::new(job.source, [entry.clone()]) {
            match step {
                Err(sociable_oci::Error::NoBlob { .. }) => {}
                step => steps.push(step?),
            }
        }
        // What an index lists has to be there before it.
        for step in steps.into_iter().rev() {
            if let Some(Document::Manifest(manifest)) = &step.document {
                for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                    if job.source.has(blob)? {
                        job.sink.import_from(job.source, blob)?;
                    }
                }
            }
            job.sink.import_from(job.source, &step.descriptor)?;
        }
    }
    Ok(())
}

fn nothing_indexed(outcomes: &BTreeMap<Digest, LayerOutcome>) -> Error {
    let reasons: Vec<SkipReason> = outcomes
        .values()
        .filter_map(|outcome| match outcome {
            LayerOutcome::Skipped(reason) => Some(reason.clone()),
            _ => None,
        })
        .collect();
    Error::NothingIndexed(reasons)
}
