//! `create`: a SOCI index v1 beside an image that stays as it is.
//!
//! The index points at the image manifest with `subject`; a registry lists it among the manifest's referrers, an image
//! layout in `index.json`. Platforms are those of [`convert`](mod@crate::convert).

use sociable_oci::{Descriptor, Document, IndexUpdate, Manifest, Sink, Source, Walk};

use crate::convert::{Blob, Options, Report, build_indexes, others};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layers::{self, Job, Prepared};
use crate::moved::InPlace;
use crate::prior::Prior;
use crate::progress::Run;
use crate::soci_index::Version;

/// Makes v1 indexes for an image, and copies both.
///
/// # Errors
/// [`Error`]; the sink's `index.json` then is as it was.
pub fn create(
    source: &dyn Source,
    image: &Image,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    run: Run<'_>,
) -> Result<Report> {
    create_prepared(source, image, sink, options, None, run)
}

/// As [`create`], with layers that were indexed beforehand.
pub(crate) fn create_prepared(
    source: &dyn Source,
    image: &Image,
    sink: Box<dyn Sink>,
    options: &Options<'_>,
    prepared: Option<&dyn Prepared>,
    run: Run<'_>,
) -> Result<Report> {
    let chosen = image.choose(source, options.platforms)?;
    let not_asked_for = others(source, image, &chosen)?;
    let roots = image.roots();
    let Some((root, siblings)) = roots.split_first() else {
        return Err(Error::NoPlatforms);
    };
    let documents = documents(source, &roots)?;
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
    let manifests = documents
        .iter()
        .filter_map(|(_, manifest)| manifest.as_ref());
    let planned = layers::plan_all(job, &chosen, manifests)?;
    let outcomes = layers::process(job, &planned)?;

    let (built, without_index) = build_indexes(job, Version::V1, &chosen, &outcomes)?;
    drop(prior);
    // What an index lists has to be there before it.
    for (descriptor, manifest) in documents.iter().rev() {
        if let Some(manifest) = manifest {
            sink.import_from(source, &manifest.config)?;
        }
        sink.import_from(source, descriptor)?;
    }
    in_place.end(existing.as_deref())?;
    drop(existing);
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let mut update = IndexUpdate::new(root.clone()).tagged(options.tag);
    for entry in siblings {
        update = update.also(entry.clone());
    }
    for index in &built {
        update = update.also(index.referrer());
    }
    let visible = sink.finish(&update)?;
    Ok(Report {
        image: Blob::from(&visible),
        platforms: built
            .into_iter()
            .map(crate::convert::Built::report)
            .collect(),
        without_index,
        not_asked_for,
    })
}

/// Every document below some roots that is there, each with its manifest if it is one.
fn documents(
    source: &dyn Source,
    roots: &[Descriptor],
) -> Result<Vec<(Descriptor, Option<Manifest>)>> {
    let mut found = Vec::new();
    for step in Walk::new(source, roots.iter().cloned()) {
        let step = match step {
            Ok(step) => step,
            // A platform that the index lists and the source lacks is not ours to miss.
            Err(sociable_oci::Error::NoBlob { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let manifest = match step.document {
            Some(Document::Manifest(manifest)) => Some(*manifest),
            _ => None,
        };
        found.push((step.descriptor, manifest));
    }
    Ok(found)
}
