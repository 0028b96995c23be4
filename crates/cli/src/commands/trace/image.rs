//! The image whose layers are asked for.

use clap::Args;
use sociable_oci::{Access, Platform, Transport};
use sociable_soci::image::PlatformImage;
use sociable_trace::Error;

use crate::args::IMAGE_HELP;
use crate::commands::opened::Opened;
use crate::error::CliError;

/// An image with an index.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[arg(value_name = "IMAGE", help = IMAGE_HELP)]
    image: Transport,
    /// The platform, if the image has several and this machine's is not meant
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

impl ImageArgs {
    pub(super) fn open(&self, access: &Access) -> Result<(Opened, PlatformImage), CliError> {
        let opened = Opened::new(&self.image, access)?;
        let of = opened.image.one(&*opened.source, self.platform.as_ref())?;
        Ok((opened, of))
    }
}

/// An error of what is about requests, and what to do.
pub(super) fn failed(error: Error) -> CliError {
    match error {
        Error::Image(error) => error.into(),
        Error::NoZtocs => {
            CliError::failed(error.to_string()).hint("make an index with `sociable convert`")
        }
        error => CliError::failed(error.to_string()),
    }
}
