//! `sociable cat`.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use sociable_oci::{Access, Platform, Transport};
use sociable_soci::files::{Cost, Layers};
use sociable_ztoc::ReadError;

use crate::args::IMAGE_HELP;
use crate::commands::opened::Opened;
use crate::error::CliError;
use crate::progress::Shown;
use crate::text;

/// Writes a file of an image to standard output, fetching only the spans that hold it
///
/// Links are followed as in a container. With -v, says on standard error what it cost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable cat oci:app /etc/os-release
  sociable cat -v oci:app /usr/lib/libc.so.6 > libc.so.6")]
pub(crate) struct Cat {
    #[arg(value_name = "IMAGE", help = IMAGE_HELP)]
    image: Transport,
    /// Files of the image
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// The platform, if the image has several and this machine's is not meant
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

pub(crate) fn run(args: &Cat, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let opened = Opened::new(&args.image, access)?;
    let of = opened.image.one(&*opened.source, args.platform.as_ref())?;
    let layers = Layers::open(&*opened.source, &opened.image, &of)?;
    let tree = layers.tree()?;
    shown.finish();
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for path in &args.paths {
        layers
            .cat(&*opened.source, &tree, path.as_bytes(), &mut out)
            .map_err(closed)?;
    }
    out.flush().map_err(CliError::stdout)?;
    if shown.verbose {
        shown.line(&spent(&layers.cost()));
    }
    Ok(())
}

/// A reader of standard output that went away is no failure.
fn closed(error: sociable_soci::Error) -> CliError {
    match error {
        sociable_soci::Error::Read {
            path,
            layer,
            source,
        } => match *source {
            ReadError::Write(error) => CliError::stdout(error),
            source => sociable_soci::Error::Read {
                path,
                layer,
                source: Box::new(source),
            }
            .into(),
        },
        error => error.into(),
    }
}

fn spent(cost: &Cost) -> String {
    let Cost {
        ztoc_bytes,
        whole_layer_bytes,
        span_bytes,
        spans,
        spans_total,
        image_bytes,
    } = *cost;
    let mut text = format!(
        "read {} of spans ({spans} of {spans_total}) and {} of zTOCs, of an image of {} ({})",
        text::size(span_bytes),
        text::size(ztoc_bytes),
        text::size(image_bytes),
        text::percent(span_bytes + ztoc_bytes + whole_layer_bytes, image_bytes),
    );
    if whole_layer_bytes > 0 {
        let whole = text::size(whole_layer_bytes);
        text = format!("{text}; {whole} of layers without a zTOC were read whole");
    }
    text
}
