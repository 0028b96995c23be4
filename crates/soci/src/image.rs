//! Which image a source holds, and its manifests by platform.
//!
//! Finding them follows the reference (its `convert --standalone`, and containerd's `core/images`): `index.json` may list
//! one manifest, one index, or the platforms of one image directly; what is listed but not there is ignored.

use sociable_oci::{
    Config, Descriptor, Document, Index, Manifest, Platform, Selection, Source, limits, media_type,
    select,
};

use crate::error::{Error, Result};

/// An image of one or several platforms.
#[derive(Debug, Clone)]
pub struct Image {
    /// What it consists of.
    pub kind: Kind,
    /// What the source names: a manifest, or an index, be it of one manifest only. There is none where `index.json` lists the
    /// platforms itself.
    pub target: Option<Box<Descriptor>>,
    /// The source's name, for messages.
    pub place: String,
    /// Whether only one of the manifests that the source names is there.
    partly: bool,
}

/// What an [`Image`] consists of.
#[derive(Debug, Clone)]
pub enum Kind {
    /// One manifest; its descriptor has the platform.
    Single(Box<Descriptor>),
    /// An index; without those of its entries that are not there.
    Multi(Index),
}

/// Which platforms are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Platforms {
    /// An image's only one, or this machine's.
    #[default]
    Default,
    /// All that the image has.
    All,
    /// These.
    These(Vec<Platform>),
}

/// The image for one platform.
#[derive(Debug, Clone)]
pub struct PlatformImage {
    /// The platform, as it was asked for or as the image states it.
    pub platform: Platform,
    /// The entry that leads to the manifest.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
}

impl Image {
    /// Finds the image in a source.
    ///
    /// # Errors
    /// When there is none, or it cannot be told which of several is meant, or it cannot be read.
    pub fn open(source: &dyn Source, tag: Option<&str>) -> Result<Self> {
        let index = source.index()?;
        Self::find(source, &index, tag)
    }

    /// As [`Image::open`], with `index.json` already read.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn find(source: &dyn Source, index: &Index, tag: Option<&str>) -> Result<Self> {
        let place = source.name();
        let selection = select(index, tag).map_err(|source| Error::Select {
            place: place.clone(),
            source: Box::new(source),
        })?;
        let (mut list, target) = match selection {
            Selection::Flat(list) => (list, None),
            Selection::One(target) => match source.parsed(&target)? {
                Some(Document::Index(list)) => (list, Some(target)),
                Some(Document::Manifest(_)) => return Self::single(source, *target, None, place),
                None => {
                    return Err(Error::NotAnImage {
                        place,
                        digest: target.digest,
                        media_type: target.media_type,
                    });
                }
            },
        };
        let listed = list.manifests.len();
        let mut there = Vec::with_capacity(listed);
        for entry in list.manifests {
            if source.has(&entry)? {
                there.push(entry);
            }
        }
        match &there[..] {
            [] => Err(Error::NothingThere {
                place,
                count: listed,
            }),
            [only] if media_type::is_manifest(&only.media_type) => {
                let image = Self::single(source, only.clone(), target, place)?;
                Ok(Self {
                    partly: listed > 1,
                    ..image
                })
            }
            _ => {
                list.manifests = there;
                Ok(Self {
                    kind: Kind::Multi(list),
                    target,
                    partly: false,
                    place,
                })
            }
        }
    }

    fn single(
        source: &dyn Source,
        mut only: Descriptor,
        above: Option<Box<Descriptor>>,
        place: String,
    ) -> Result<Self> {
        if only.platform.is_none() {
            let manifest = manifest_of(source, &only)?;
            only.platform = config_platform(source, &manifest)?;
            if only.platform.is_none() {
                return Err(Error::Artifact {
                    place,
                    digest: only.digest,
                    artifact_type: artifact_type(manifest),
                });
            }
        }
        match &only.platform {
            Some(platform) if !is_unknown(platform) => Ok(Self {
                target: Some(above.unwrap_or_else(|| Box::new(only.clone()))),
                kind: Kind::Single(Box::new(only)),
                partly: false,
                place,
            }),
            _ => Err(Error::NoPlatforms),
        }
    }

    /// What has to be kept, with all below it, for the image to stay what it is. Where only one manifest of several is there,
    /// that is kept, since the index above it could not be: a registry refuses an index of what it has not.
    #[must_use]
    pub fn roots(&self) -> Vec<Descriptor> {
        let target = self.target.as_deref().filter(|_| !self.partly);
        match (&self.kind, target) {
            (Kind::Single(only), target) => vec![target.unwrap_or(only).clone()],
            (Kind::Multi(_), Some(target)) => vec![target.clone()],
            (Kind::Multi(index), None) => index.manifests.clone(),
        }
    }

    /// Its tag where it was found, if it has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.target.as_deref()?.tag()
    }

    /// The platforms that the image is for, in the order of its index, each once.
    ///
    /// # Errors
    /// When an image's config cannot be read.
    pub fn platforms(&self, source: &dyn Source) -> Result<Vec<Platform>> {
        let mut all = Vec::new();
        match &self.kind {
            Kind::Single(target) => all.extend(target.platform.clone()),
            Kind::Multi(index) => {
                for entry in images(index) {
                    match &entry.platform {
                        Some(platform) if is_unknown(platform) => {}
                        Some(platform) => all.push(platform.clone()),
                        None if media_type::is_manifest(&entry.media_type) => {
                            let manifest = manifest_of(source, entry)?;
                            all.extend(config_platform(source, &manifest)?);
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(distinct(all))
    }

    /// The images that `wanted` means.
    ///
    /// # Errors
    /// [`Error::NoPlatform`], [`Error::EntryWithoutPlatform`], or when a manifest cannot be read.
    pub fn choose(&self, source: &dyn Source, wanted: &Platforms) -> Result<Vec<PlatformImage>> {
        let wanted = match (wanted, &self.kind) {
            (Platforms::These(these), _) => distinct(these.clone()),
            (Platforms::All, _) => self.platforms(source)?,
            (Platforms::Default, Kind::Single(target)) => {
                target.platform.clone().into_iter().collect()
            }
            (Platforms::Default, Kind::Multi(_)) => vec![Platform::host()],
        };
        if wanted.is_empty() {
            return Err(Error::NoPlatforms);
        }
        wanted
            .into_iter()
            .map(|platform| {
                let descriptor = self.entry_for(source, &platform)?;
                let manifest = manifest_for(source, &descriptor, Some(&platform))?;
                Ok(PlatformImage {
                    platform,
                    descriptor,
                    manifest,
                })
            })
            .collect()
    }

    /// The image for looking into: the platform asked for, else this machine's, else the only one.
    ///
    /// # Errors
    /// As [`Image::choose`].
    pub fn one(&self, source: &dyn Source, wanted: Option<&Platform>) -> Result<PlatformImage> {
        let wanted = match wanted {
            Some(wanted) => Platforms::These(vec![wanted.clone()]),
            None => match &self.platforms(source)?[..] {
                [only] => Platforms::These(vec![only.clone()]),
                _ => Platforms::Default,
            },
        };
        self.choose(source, &wanted)?
            .pop()
            .ok_or(Error::NoPlatforms)
    }

    fn entry_for(&self, source: &dyn Source, wanted: &Platform) -> Result<Descriptor> {
        let none = || -> Result<Descriptor> {
            Err(Error::NoPlatform {
                wanted: Box::new(wanted.clone()),
                available: self.platforms(source)?,
            })
        };
        match &self.kind {
            Kind::Single(target) => match &target.platform {
                Some(platform) if !wanted.matches_strict(platform) => none(),
                _ => Ok((**target).clone()),
            },
            Kind::Multi(index) => {
                for entry in images(index) {
                    match &entry.platform {
                        None => {
                            return Err(Error::EntryWithoutPlatform {
                                digest: entry.digest,
                                wanted: Box::new(wanted.clone()),
                            });
                        }
                        Some(platform) if wanted.matches_strict(platform) => {
                            return Ok(entry.clone());
                        }
                        Some(_) => {}
                    }
                }
                none()
            }
        }
    }
}

/// The entries of an index that can be images: artifacts (SOCI indexes among them) say so.
fn images(index: &Index) -> impl Iterator<Item = &Descriptor> {
    index
        .manifests
        .iter()
        .filter(|entry| entry.artifact_type.is_empty())
}

fn is_unknown(platform: &Platform) -> bool {
    platform.os == "unknown" || platform.architecture == "unknown"
}

fn distinct(all: Vec<Platform>) -> Vec<Platform> {
    let mut distinct: Vec<Platform> = Vec::new();
    for platform in all {
        if !distinct.iter().any(|seen| seen.matches_strict(&platform)) {
            distinct.push(platform);
        }
    }
    distinct
}

/// What a manifest that is no image's says it is (OCI image specification, "Guidelines for Artifact Usage").
fn artifact_type(manifest: Manifest) -> String {
    if manifest.artifact_type.is_empty() {
        manifest.config.media_type
    } else {
        manifest.artifact_type
    }
}

/// The platform in an image's config; none where the config is not an image's.
fn config_platform(source: &dyn Source, manifest: &Manifest) -> Result<Option<Platform>> {
    if !media_type::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    Ok(Some(config(source, manifest)?.platform().normalize()))
}

/// An image's config.
///
/// # Errors
/// When it cannot be read.
pub fn config(source: &dyn Source, manifest: &Manifest) -> Result<Config> {
    let bytes = source.document(&manifest.config)?;
    Config::parse(&bytes).map_err(|error| {
        Error::from(sociable_oci::Error::Document {
            document: manifest.config.digest.to_string(),
            place: source.name(),
            source: error,
        })
    })
}

/// The manifest that an entry leads to: itself, or the first inside an index.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn manifest_of(source: &dyn Source, entry: &Descriptor) -> Result<Manifest> {
    manifest_for(source, entry, None)
}

/// Below an index, for a platform: the first child that states it, else the first that states none and whose config
/// does (containerd's `images.Manifest`).
fn manifest_for(
    source: &dyn Source,
    entry: &Descriptor,
    platform: Option<&Platform>,
) -> Result<Manifest> {
    let mut entry = entry.clone();
    for depth in 0..=limits::MAX_DEPTH {
        let children = match source.parsed(&entry)? {
            Some(Document::Manifest(manifest)) => {
                if let Some(wanted) = platform
                    && depth > 0
                    && entry.platform.is_none()
                {
                    let found = config_platform(source, &manifest)?;
                    if !found.as_ref().is_some_and(|p| wanted.matches_strict(p)) {
                        return Err(Error::NoPlatform {
                            wanted: Box::new(wanted.clone()),
                            available: found.into_iter().collect(),
                        });
                    }
                }
                return Ok(*manifest);
            }
            Some(Document::Index(index)) => index.manifests,
            None => Vec::new(),
        };
        let stated = children.iter().find(|child| {
            let stated = child.platform.as_ref();
            platform.is_none_or(|wanted| stated.is_some_and(|p| wanted.matches_strict(p)))
        });
        let next = stated.or_else(|| children.iter().find(|child| child.platform.is_none()));
        entry = next.cloned().ok_or_else(|| Error::NotAnImage {
            place: source.name(),
            digest: entry.digest,
            media_type: entry.media_type.clone(),
        })?;
    }
    Err(Error::NotAnImage {
        place: source.name(),
        digest: entry.digest,
        media_type: format!("{} (indexes nested too deep)", entry.media_type),
    })
}
