//! An image that is converted where it is: its tag must not be moved back over what somebody else put there meanwhile.

use sociable_oci::{Digest, Source};

use crate::error::{Error, Result};
use crate::image::Image;

/// What a destination was at the beginning, if that was the image itself.
pub(crate) struct InPlace(Option<Digest>);

impl InPlace {
    /// Looks at the destination.
    pub(crate) fn begin(image: &Image, existing: Option<&dyn Source>) -> Self {
        let root = image.target.as_ref().map(|target| target.digest);
        let there = existing.and_then(|there| current(there).ok().flatten());
        Self(root.filter(|root| there == Some(*root)))
    }

    /// Looks again, last thing before the tag moves.
    ///
    /// # Errors
    /// [`Error::Moved`].
    pub(crate) fn end(&self, existing: Option<&dyn Source>) -> Result<()> {
        let (Some(before), Some(there)) = (self.0, existing) else {
            return Ok(());
        };
        match current(there)? {
            Some(now) if now == before => Ok(()),
            now => Err(Error::Moved {
                place: there.name(),
                before: Box::new(before),
                now: now.map(Box::new),
            }),
        }
    }
}

fn current(there: &dyn Source) -> Result<Option<Digest>> {
    Ok(there.index()?.manifests.first().map(|root| root.digest))
}
