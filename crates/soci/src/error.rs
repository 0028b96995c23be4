//! Why an image could not be given an index, or read through one.
//!
//! Messages do not repeat their [`source`](std::error::Error::source): print the chain.

use std::io;

use bstr::BString;
use sociable_layer::{IndexError, PackError};
use sociable_oci::{Digest, Platform, SelectError};
use sociable_ztoc::{DecodeError, EncodeError, ReadError};

use crate::outcome::SkipReason;
use crate::tree::TreeError;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image could not be given an index, or read through one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A policy did not answer.
    #[error(transparent)]
    Policy(#[from] sociable_policy::PolicyError),
    /// A source or a sink failed.
    #[error(transparent)]
    Oci(Box<sociable_oci::Error>),
    /// The source holds no image, or several.
    #[error("cannot tell which image of {place} is meant")]
    Select {
        /// The source.
        place: String,
        /// Why.
        source: Box<SelectError>,
    },
    /// What was found is no image.
    #[error("{digest} in {place} is not an image: its media type is {media_type:?}")]
    NotAnImage {
        /// The source.
        place: String,
        /// The document.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// A manifest was found, and no image: a Helm chart, a signature, ….
    #[error("{digest} in {place} is not an image: it is an artifact of the type {artifact_type:?}")]
    Artifact {
        /// The source.
        place: String,
        /// The manifest.
        digest: Digest,
        /// What it says it is: its `artifactType`, or the media type of its config.
        artifact_type: String,
    },
    /// None of the manifests that an index lists is there.
    #[error("{place} lists {count} manifests and has none of them")]
    NothingThere {
        /// The source.
        place: String,
        /// How many are listed.
        count: usize,
    },
    /// An image without a manifest for a platform.
    #[error(
        "the image has nothing for platform {wanted}; it has {}",
        list(available)
    )]
    NoPlatform {
        /// Asked for (or this machine's).
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
    /// An image index whose entries do not say what they run on.
    #[error(
        "the image index lists {digest} without a platform, so that the image for {wanted} cannot be found for certain"
    )]
    EntryWithoutPlatform {
        /// The entry.
        digest: Digest,
        /// What was looked for.
        wanted: Box<Platform>,
    },
    /// No platform at all.
    #[error("the image supports no platform")]
    NoPlatforms,
    /// A layer could not be indexed.
    #[error("layer {layer} cannot be indexed")]
    Layer {
        /// The layer.
        layer: Digest,
        /// Why.
        source: Box<IndexError>,
    },
    /// A layer whose media type is none of a layer.
    #[error("layer {layer} is of the media type {media_type:?}, which is no layer's")]
    NotALayer {
        /// The layer.
        layer: Digest,
        /// Its media type.
        media_type: String,
    },
    /// A layer's media type and its first bytes disagree.
    #[error("layer {layer} is of the media type {media_type:?}, but its bytes are not")]
    WrongFormat {
        /// The layer.
        layer: Digest,
        /// Its media type.
        media_type: String,
    },
    /// A layer has another size than its manifest says.
    #[error("layer {layer} has {actual} bytes, but its manifest says {stated}")]
    WrongSize {
        /// The layer.
        layer: Digest,
        /// What the manifest says.
        stated: u64,
        /// What it has.
        actual: u64,
    },
    /// A layer's bytes are not those that its manifest names.
    #[error("layer {expected} in {place} is damaged: its {size} bytes have the digest {actual}")]
    WrongLayer {
        /// The source.
        place: String,
        /// What the manifest says.
        expected: Digest,
        /// What the bytes have.
        actual: Box<Digest>,
        /// How many bytes there were.
        size: u64,
    },
    /// A layer's zTOC cannot be written.
    #[error("the zTOC of layer {layer} cannot be written")]
    Encode {
        /// The layer.
        layer: Digest,
        /// Why.
        source: Box<EncodeError>,
    },
    /// Somebody moved a tag while its image was converted in place.
    #[error(
        "{place} was {before} and is {} now: somebody moved it meanwhile, and it stays as it is",
        now.as_ref().map_or_else(|| "gone".to_owned(), ToString::to_string)
    )]
    Moved {
        /// The image.
        place: String,
        /// What it was.
        before: Box<Digest>,
        /// What it is.
        now: Option<Box<Digest>>,
    },
    /// A layer that is a plain tar where none is wanted.
    #[error("layer {layer} of {place} is not compressed, and cannot be copied as it is")]
    PlainLayer {
        /// The source.
        place: String,
        /// The layer.
        layer: Digest,
    },
    /// No layer was indexed.
    #[error("no layer was indexed, so there is no index to make: {}", reasons(.0))]
    NothingIndexed(Vec<SkipReason>),
    /// A directory could not be packed.
    #[error("cannot pack {place}")]
    Pack {
        /// The directory.
        place: String,
        /// Why.
        source: Box<PackError>,
    },
    /// A base image whose config and manifest disagree.
    #[error(
        "the base image's config describes {described} layers, but its manifest lists {listed}"
    )]
    Base {
        /// In the config.
        described: usize,
        /// In the manifest.
        listed: usize,
    },
    /// An image without a SOCI index where one is needed.
    #[error("{place} has no SOCI index for {platform}")]
    NoIndex {
        /// The source.
        place: String,
        /// Of which image.
        platform: Box<Platform>,
    },
    /// A SOCI index's document cannot be used.
    #[error("{digest} is not a SOCI index: {why}")]
    BadIndex {
        /// The document.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// A zTOC cannot be used.
    #[error("zTOC {digest} of layer {layer} cannot be used")]
    BadZtoc {
        /// The zTOC.
        digest: Digest,
        /// Its layer.
        layer: Box<Digest>,
        /// Why.
        source: Box<DecodeError>,
    },
    /// A layer that nothing can look into.
    #[error("layer {layer} cannot be looked into: {why}")]
    Unseen {
        /// The layer.
        layer: Digest,
        /// Why.
        why: String,
    },
    /// A path leads nowhere.
    #[error(transparent)]
    Tree(Box<TreeError>),
    /// A file could not be read through a zTOC.
    #[error("cannot read {path:?} from layer {layer}")]
    Read {
        /// The file.
        path: BString,
        /// The layer.
        layer: Digest,
        /// Why.
        source: Box<ReadError>,
    },
    /// A temporary file failed.
    #[error("cannot use a temporary file")]
    Temporary(#[source] io::Error),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<sociable_oci::Error> for Error {
    fn from(error: sociable_oci::Error) -> Self {
        Self::Oci(Box::new(error))
    }
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        Self::Tree(Box::new(error))
    }
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<_> = platforms.iter().map(Platform::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn reasons(skipped: &[SkipReason]) -> String {
    let mut texts: Vec<_> = skipped.iter().map(SkipReason::to_string).collect();
    texts.dedup();
    match texts.len() {
        0 => "the image has no layers".to_owned(),
        1..=4 => texts.join("; "),
        n => format!("{}; and {} more", texts[..3].join("; "), n - 3),
    }
}

/// An error with its causes in one line; a cause that the line already ends with is not said again.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
