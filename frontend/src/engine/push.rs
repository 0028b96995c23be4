//! A step that pushes.

use std::slice;

use sociable_oci::oci_dir::OciDir;
use sociable_oci::registry::Reference;
use sociable_oci::{IndexUpdate, Sink as _, Source as _};
use sociable_soci::{Run, copy};

use super::EngineError;
use super::registry::{self, Patience};
use crate::task::place;

/// Pushes what the layout lists to each repository.
#[allow(clippy::print_stderr, reason = "the step's log")]
pub(super) fn push(
    repositories: &[String],
    under_their_tags: bool,
    plain_http: &[String],
    run: Run<'_>,
) -> Result<(), EngineError> {
    let layout = OciDir::open(place::LAYOUT)?;
    let registries = registry::registries(plain_http, Patience::Much)?;
    let mut roots = layout.index()?.manifests;
    // What has no tag comes first: a tag says that all is there.
    roots.sort_by_key(|root| root.tag().is_some());
    for repository in repositories {
        let repository: Reference = repository.parse()?;
        for root in &roots {
            let own = repository.tag.as_deref().filter(|_| under_their_tags);
            let tag = root.tag().or(own);
            let target = repository.with_tag(tag.unwrap_or("latest"));
            let sink = Box::new(registries.sink(&target)?);
            copy::transfer(&layout, slice::from_ref(root), &*sink, run)?;
            // Without that, no tag is written.
            if tag.is_some() {
                sink.finish(&IndexUpdate::new(root.clone()))?;
                eprintln!("pushed {target} {}", root.digest);
            } else {
                eprintln!("pushed {}@{}", repository.name, root.digest);
            }
        }
    }
    Ok(())
}
