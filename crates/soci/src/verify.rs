//! `verify`: reads an image's layers again and checks everything that its SOCI indexes claim.
//!
//! Each layer is read once and indexed anew, with spans that may begin only where its zTOC says. If the zTOC is right
//! the result is the same: the same entries, spans at real block ends, the same windows (so decompression resumes at
//! each checkpoint), the same digests. Layers without a zTOC are compared with their digests.

use std::fmt;
use std::io;

use serde::Serialize;
use sociable_layer::{Compression, IndexOptions, Limits};
use sociable_oci::{Descriptor, Digest, Source, media_type, verified};
use sociable_policy::{Ask, Candidate, Decision, PolicyError, SpanPlanner};
use sociable_ztoc::{GzipSpans, Spans, Ztoc};

use crate::error::{Error, Result, chain};
use crate::found::{self, FoundIndex};
use crate::image::{Image, Kind, PlatformImage, Platforms};
use crate::layers::needs_xattrs;
use crate::names::{
    DISABLE_XATTRS, INDEX_DIGEST, INDEX_V2, LAYER_MEDIA_TYPE, MANIFEST_DIGEST, SPAN_SIZE,
};
use crate::prefetch::Prefetch;
use crate::progress::{Event, Run, Work};
use crate::soci_index::{SociIndex, Version, layer_of};

/// What was checked, and what was found.
#[derive(Debug, Clone, Serialize, Default)]
pub struct Verdict {
    /// What is wrong; nothing, if all holds.
    pub problems: Vec<Problem>,
    /// SOCI indexes checked.
    pub indexes: usize,
    /// zTOCs checked against their layers.
    pub ztocs: usize,
    /// Spans of these.
    pub spans: usize,
    /// Tar entries of these.
    pub entries: usize,
    /// Layers read, with or without a zTOC.
    pub layers: usize,
    /// Bytes of these.
    pub bytes: u64,
}

/// A claim that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The document, layer or zTOC at fault.
    pub digest: Digest,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.digest, self.what)
    }
}

impl Verdict {
    /// Whether every claim holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, digest: Digest, what: impl Into<String>) {
        self.problems.push(Problem {
            digest,
            what: what.into(),
        });
    }
}

/// Checks an image.
///
/// # Errors
/// When the image cannot be found or read; also [`Error::NoIndex`] where a platform has nothing to verify. What does not
/// hold is no error but a [`Problem`].
pub fn verify(
    source: &dyn Source,
    image: &Image,
    platforms: &Platforms,
    run: Run<'_>,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut seen = std::collections::BTreeSet::new();
    let chosen = image.choose(source, platforms)?;
    for of in &chosen {
        let indexes = found::indexes(source, image, of)?;
        if let Some(named) = found::annotated(of)?
            && !indexes.iter().any(|i| i.descriptor.digest == named)
        {
            verdict.problem(
                of.descriptor.digest,
                format!("its annotation {INDEX_DIGEST} names {named}, which is not listed"),
            );
        } else if indexes.is_empty() {
            if chosen.len() > 1 {
                continue; // Another platform may be the one with an index.
            }
            return Err(Error::NoIndex {
                place: source.name(),
                platform: Box::new(of.platform.clone()),
            });
        }
        for index in &indexes {
            verdict.indexes += 1;
            check_index(source, image, of, index, &mut verdict);
        }
        for layer in &of.manifest.layers {
            let ztocs: Vec<(&FoundIndex, &Descriptor)> = indexes
                .iter()
                .filter_map(|i| Some((i, i.index.ztoc_of(&layer.digest)?)))
                .collect();
            let key: Vec<Digest> = ztocs.iter().map(|(_, ztoc)| ztoc.digest).collect();
            if seen.insert((layer.digest, key)) {
                check_layer(source, layer, &ztocs, &mut verdict, run)?;
            }
        }
    }
    if verdict.indexes == 0
        && verdict.holds()
        && let Some(of) = chosen.first()
    {
        return Err(Error::NoIndex {
            place: source.name(),
            platform: Box::new(of.platform.clone()),
        });
    }
    Ok(verdict)
}

/// Checks what an index says of itself and of its image, without the layers.
fn check_index(
    source: &dyn Source,
    image: &Image,
    of: &PlatformImage,
    found: &FoundIndex,
    verdict: &mut Verdict,
) {
    let digest = found.descriptor.digest;
    let index = &found.index;
    if let Ok(manifest) = sociable_oci::Manifest::parse(&found.bytes)
        && manifest.to_bytes() != found.bytes
    {
        verdict.problem(
            digest,
            "it is not spelled as Go's encoding/json does, so soci-snapshotter would pull the image whole",
        );
    }
    match (index.version, &index.subject) {
        (Version::V2, Some(subject)) => {
            verdict.problem(
                digest,
                format!("a v2 index with a subject, {}", subject.digest),
            );
        }
        (Version::V1, Some(subject)) if subject.size != of.descriptor.size => {
            verdict.problem(
                digest,
                "its subject has another size than the image manifest",
            );
        }
        _ => {}
    }
    if index.version == Version::V2 {
        check_listing(image, of, digest, verdict);
    }
    let layers = &of.manifest.layers;
    let mut last = 0;
    for ztoc in &index.ztocs {
        let Ok(layer) = layer_of(ztoc) else { continue };
        // A layer that an image has twice has its zTOC twice.
        let place = layers
            .iter()
            .enumerate()
            .skip(last)
            .find(|(_, l)| l.digest == layer);
        let Some((place, descriptor)) = place else {
            verdict.problem(
                digest,
                format!(
                    "zTOC {} is of {layer}, which is no layer of the image, or out of order",
                    ztoc.digest
                ),
            );
            continue;
        };
        last = place + 1;
        let stated = ztoc.annotations.get(LAYER_MEDIA_TYPE);
        // Whoever rewrites a manifest in OCI's media types, or in Docker's, changes how the same thing is called, and the
        // snapshotter does not look at it.
        let name = |media_type: &str| match media_type {
            media_type::DOCKER_LAYER => media_type::OCI_LAYER.to_owned(),
            other => media_type::layer_as_oci(other).to_owned(),
        };
        if stated.map(|stated| name(stated)) != Some(name(&descriptor.media_type)) {
            verdict.problem(
                digest,
                format!(
                    "it says that {layer} is of the media type {stated:?}, but it is {:?}",
                    descriptor.media_type
                ),
            );
        }
    }
    for artifact in &index.prefetch {
        if let Err(why) = check_prefetch(source, index, artifact) {
            verdict.problem(
                digest,
                format!("prefetch artifact {}: {why}", artifact.digest),
            );
        }
    }
}

/// The entry under which an image index lists a v2 index must name the image manifest.
fn check_listing(image: &Image, of: &PlatformImage, digest: Digest, verdict: &mut Verdict) {
    let Kind::Multi(list) = &image.kind else {
        return;
    };
    // Images with the same layers have the same index, listed once for each.
    let ours = of.descriptor.digest.to_string();
    let entries = || list.manifests.iter().filter(|e| e.digest == digest);
    let naming = entries().find(|e| e.annotations.get(MANIFEST_DIGEST) == Some(&ours));
    let Some(entry) = naming.or_else(|| entries().next()) else {
        return;
    };
    if entry.artifact_type != INDEX_V2 {
        verdict.problem(
            digest,
            format!(
                "the image index lists it with the artifact type {:?}",
                entry.artifact_type
            ),
        );
    }
    let named = entry.annotations.get(MANIFEST_DIGEST);
    if named != Some(&ours) {
        verdict.problem(
            digest,
            format!("the image index says that it belongs to {named:?}, but {ours} names it"),
        );
    }
}

fn check_prefetch(
    source: &dyn Source,
    index: &SociIndex,
    artifact: &Descriptor,
) -> Result<(), String> {
    let layer = layer_of(artifact)?;
    let ztoc = index
        .ztoc_of(&layer)
        .ok_or_else(|| format!("its layer {layer} has no zTOC"))?;
    let bytes = source.document(artifact).map_err(|e| e.to_string())?;
    let prefetch = Prefetch::parse(&bytes)?;
    let ztoc = found::ztoc(source, ztoc, &layer).map_err(|e| e.to_string())?;
    let last = prefetch.spans.last().map_or(0, |range| range.end);
    if u64::from(last) >= ztoc.spans.len() as u64 {
        return Err(format!(
            "it names span {last}, but the layer has {}",
            ztoc.spans.len()
        ));
    }
    Ok(())
}

/// Reads a layer again, and checks its zTOCs against it.
fn check_layer(
    source: &dyn Source,
    layer: &Descriptor,
    ztocs: &[(&FoundIndex, &Descriptor)],
    verdict: &mut Verdict,
    run: Run<'_>,
) -> Result<()> {
    if media_type::is_nondistributable(&layer.media_type) && !source.has(layer)? {
        return Ok(());
    }
    if !source.has(layer)? {
        verdict.problem(layer.digest, "the layer is not there");
        return Ok(());
    }
    verdict.layers += 1;
    verdict.bytes += layer.size;
    run.progress.event(&Event::Plan {
        layers: 1,
        bytes: layer.size,
    });
    run.progress.event(&Event::Start {
        layer,
        work: Work::Verify,
    });
    let mut read = 0;
    for (found, descriptor) in ztocs {
        match found::ztoc(source, descriptor, &layer.digest) {
            Err(error) => verdict.problem(descriptor.digest, chain(&error)),
            Ok(ztoc) => {
                read += 1;
                verdict.ztocs += 1;
                verdict.spans += ztoc.spans.len();
                verdict.entries += ztoc.entries.len();
                check_annotations(descriptor, &ztoc, found, verdict);
                let blob = Watched::new(source, layer, run)?;
                if let Err(what) = check_ztoc(blob, &ztoc)
                    && !run.cancel.is_cancelled()
                {
                    // Of a damaged layer the zTOC says nothing wrong.
                    match damage(source, layer)? {
                        Some(damage) => {
                            verdict.problem(layer.digest, damage);
                            return Ok(());
                        }
                        None => verdict.problem(descriptor.digest, what),
                    }
                }
            }
        }
        if run.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    if read == 0
        && let Some(damage) = damage(source, layer)?
    {
        verdict.problem(layer.digest, damage);
    }
    Ok(())
}

/// What is wrong with a layer's own bytes.
fn damage(source: &dyn Source, layer: &Descriptor) -> Result<Option<String>> {
    let blob = source.blob(layer)?;
    let read = io::copy(&mut verified(layer, blob), &mut io::sink());
    Ok(read
        .err()
        .map(|error| format!("the layer is damaged: {}", chain(&error))))
}

fn check_annotations(
    descriptor: &Descriptor,
    ztoc: &Ztoc,
    found: &FoundIndex,
    verdict: &mut Verdict,
) {
    if descriptor.annotations.contains_key(DISABLE_XATTRS) && needs_xattrs(ztoc) {
        verdict.problem(
            found.descriptor.digest,
            format!(
                "it tells the snapshotter not to look for extended attributes, but zTOC {} has some, or an opaque directory",
                descriptor.digest
            ),
        );
    }
    let span_size = match &ztoc.spans {
        Spans::Gzip(spans) => spans.span_size.to_string(),
        Spans::Uncompressed(spans) => spans.span_size.to_string(),
    };
    if let Some(stated) = descriptor.annotations.get(SPAN_SIZE)
        && *stated != span_size
    {
        verdict.problem(
            found.descriptor.digest,
            format!(
                "it states a span size of {stated}, but zTOC {} says {span_size}",
                descriptor.digest
            ),
        );
    }
}

/// Compares a zTOC with what its layer holds.
///
/// # Errors
/// The first difference.
pub fn check_ztoc(layer: impl io::Read + Send, ztoc: &Ztoc) -> Result<(), String> {
    let mut planner = Replay { ztoc, next: 1 };
    let (compression, span_size) = match &ztoc.spans {
        Spans::Gzip(spans) => (
            Compression::Gzip,
            u64::try_from(spans.span_size).unwrap_or(0),
        ),
        Spans::Uncompressed(spans) => (Compression::Uncompressed, spans.span_size),
    };
    let options = IndexOptions {
        build_tool_identifier: ztoc.build_tool_identifier.clone(),
        span_size,
        planner: &mut planner,
        diff_id: false,
        allow_unreadable: true,
        // Nothing of a layer is kept, and deflate cannot inflate more than 1,032 times.
        limits: Limits {
            ratio: u64::MAX,
            ..Limits::default()
        },
    };
    let indexed = sociable_layer::index(layer, compression, options).map_err(|e| chain(&e))?;
    difference(ztoc, &indexed.ztoc)
}

fn difference(claimed: &Ztoc, real: &Ztoc) -> Result<(), String> {
    if claimed.compressed_size != real.compressed_size {
        return Err(format!(
            "it says that the layer has {} bytes, but it has {}",
            claimed.compressed_size, real.compressed_size
        ));
    }
    if claimed.uncompressed_size != real.uncompressed_size {
        return Err(format!(
            "it says that the tar has {} bytes, but it has {}",
            claimed.uncompressed_size, real.uncompressed_size
        ));
    }
    let (claims, facts) = (&claimed.entries, &real.entries);
    if let Some((number, (claim, fact))) = claims
        .iter()
        .zip(facts)
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        let what = if claim.name == fact.name {
            "other attributes"
        } else {
            "another entry"
        };
        return Err(format!(
            "entry {number} is {:?} at byte {}, but the tar has {what} there: {:?} at byte {}",
            claim.name, claim.offset, fact.name, fact.offset
        ));
    }
    if claims.len() != facts.len() {
        return Err(format!(
            "it lists {} entries, but the tar has {}",
            claims.len(),
            facts.len()
        ));
    }
    if let (Spans::Gzip(claims), Spans::Gzip(facts)) = (&claimed.spans, &real.spans) {
        gzip_difference(claims, facts)?;
    }
    let (claims, facts) = (claimed.spans.digests(), real.spans.digests());
    match claims.iter().zip(facts).position(|(a, b)| a != b) {
        Some(span) => Err(format!(
            "span {span} has the digest {}, but its bytes have {}",
            claims[span], facts[span]
        )),
        None if claims.len() != facts.len() => Err(format!(
            "it has {} spans, but the layer makes {}",
            claims.len(),
            facts.len()
        )),
        None => Ok(()),
    }
}

fn gzip_difference(claims: &GzipSpans, facts: &GzipSpans) -> Result<(), String> {
    // A first checkpoint that is not written has no window to compare.
    for (span, claim) in claims.checkpoints.iter().enumerate() {
        let Some(fact) = facts.checkpoints.get(span) else {
            return Err(format!(
                "span {span} should begin at byte {} of the layer, where no deflate block begins",
                claim.compressed
            ));
        };
        let place = |c: &sociable_ztoc::Checkpoint| (c.compressed, c.uncompressed, c.bits);
        if place(claim) != place(fact) {
            return Err(format!(
                "span {span} should begin at byte {} (bit {}) of the layer and {} of the tar, where no deflate block begins; \
                 the next one begins at {} (bit {}) and {}",
                claim.compressed,
                claim.bits,
                claim.uncompressed,
                fact.compressed,
                fact.bits,
                fact.uncompressed
            ));
        }
        if claim.window != fact.window {
            return Err(format!(
                "decompression could not resume at span {span}: its window is not what comes before it"
            ));
        }
    }
    Ok(())
}

/// Cuts exactly where a zTOC says that spans begin.
struct Replay<'a> {
    ztoc: &'a Ztoc,
    next: usize,
}

impl Replay<'_> {
    const EVERYWHERE: Ask = Ask {
        after: 1,
        at_entries: true,
    };

    fn reaches(&mut self, at: &Candidate) -> bool {
        let Spans::Gzip(spans) = &self.ztoc.spans else {
            return false;
        };
        let Some(next) = spans.checkpoints.get(self.next) else {
            return false;
        };
        let reached = at.compressed >= next.compressed && at.uncompressed >= next.uncompressed;
        self.next += usize::from(reached);
        reached
    }
}

impl SpanPlanner for Replay<'_> {
    fn start(&mut self) -> std::result::Result<Ask, PolicyError> {
        Ok(Self::EVERYWHERE)
    }

    fn decide(&mut self, at: &Candidate) -> std::result::Result<Decision, PolicyError> {
        Ok(Decision {
            cut: self.reaches(at),
            ask: Self::EVERYWHERE,
        })
    }
}

struct Watched<'a> {
    blob: Box<dyn io::Read + Send + 'a>,
    layer: Digest,
    run: Run<'a>,
}

impl<'a> Watched<'a> {
    fn new(source: &'a dyn Source, layer: &Descriptor, run: Run<'a>) -> Result<Self> {
        Ok(Self {
            blob: Box::new(verified(layer, source.blob(layer)?)),
            layer: layer.digest,
            run,
        })
    }
}

impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.run.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.blob.read(buffer)?;
        self.run.progress.event(&Event::Bytes {
            layer: &self.layer,
            bytes: count as u64,
        });
        Ok(count)
    }
}
