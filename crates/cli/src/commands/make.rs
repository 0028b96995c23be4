//! `sociable convert` and `sociable create`: an image in, an image with an index out.

use clap::Args;
use sociable_oci::{Access, Transport};
use sociable_soci::convert::{Options, convert};
use sociable_soci::create as soci_create;
use sociable_soci::{Image, Version, names, repack, stream};

use crate::args::{IMAGE_HELP, IndexArgs, PlatformArgs, RunArgs};
use crate::commands::opened::{self, create};
use crate::commands::report;
use crate::error::CliError;
use crate::progress::Shown;
use crate::text::parse_size;

/// Turns an image into a SOCI-enabled image (SOCI index v2)
///
/// Every layer is read once: indexed, and copied, as it passes. The result is an image index that lists the image and its
/// SOCI index, byte for byte what `soci convert --standalone` makes. Layers of docker-archive and docker-daemon that are
/// not compressed are compressed anew in the same pass. Without --platform: the
/// image's only platform, or this machine's.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable convert oci:app oci:app-soci
  sociable convert oci-archive:app.tar:1.2 oci-archive:app-soci.tar:1.2 --all-platforms
  docker buildx build -o type=oci,dest=- . | sociable convert - oci:app
  sociable convert containerd:example.com/app:1 containerd:example.com/app:1-soci
  sociable convert docker-daemon:app:latest oci-archive:app-soci.tar
  sociable convert oci:app oci:app --prefetch-file /app/main.py --json")]
pub(crate) struct Convert {
    #[command(flatten)]
    make: Make,
}

/// Makes a SOCI index v1 beside an image that stays as it is
///
/// The index points at the image, and a registry finds it among the image's referrers; an image layout lists it in its
/// index.json. Newer snapshotters prefer v2, which `sociable convert` makes. Indexes made with other
/// options stand beside each other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable create oci:app oci:app
  sociable create oci-archive:app.tar oci:app-with-index --platform linux/arm64")]
pub(crate) struct Create {
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Args)]
struct Make {
    #[arg(value_name = "SRC", help = IMAGE_HELP)]
    source: Transport,
    /// Where the result goes, in the same forms but for docker-archive (- is standard output); may be the same as SRC
    #[arg(value_name = "DEST")]
    destination: Transport,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    index: IndexArgs,
    /// Copy layers that have fewer compressed bytes without indexing them
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = names::DEFAULT_MIN_LAYER_SIZE)]
    min_layer_size: u64,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run_convert(args: &Convert, access: &Access, shown: &Shown) -> Result<(), CliError> {
    run(&args.make, Version::V2, access, shown)
}

pub(crate) fn run_create(args: &Create, access: &Access, shown: &Shown) -> Result<(), CliError> {
    run(&args.make, Version::V1, access, shown)
}

fn run(args: &Make, version: Version, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let settings = args.index.settings(args.min_layer_size, &args.run)?;
    let cache = args.run.cache(shown);
    let platforms = args.platforms.platforms();
    let options = Options {
        settings: &settings,
        platforms: &platforms,
        cache: cache.as_ref(),
        tag: args.destination.tag(),
        also_v1: false,
    };
    let in_place = args.source.same_place(&args.destination);
    let run = shown.run(args.run.jobs);
    // That a source is not there is said before anything is made at the destination.
    let report = if let Some(source) = args.source.open(access)? {
        let image = Image::open(&*source, args.source.tag())?;
        // In place, an image keeps the name that it has.
        let own_name = image.tag().filter(|_| in_place);
        let options = Options {
            tag: args.destination.tag().or(own_name),
            ..options
        };
        let sink = create(&args.destination, access)?;
        match version {
            _ if args.source.has_plain_layers() => {
                repack::make(version, &*source, &image, sink, &options, run)?
            }
            Version::V1 => soci_create::create(&*source, &image, sink, &options, run)?,
            Version::V2 => convert(&*source, &image, sink, &options, run)?,
        }
    } else {
        let (input, name) = opened::stream(&args.source)?;
        let plain = opened::plain(&args.source);
        let sink = create(&args.destination, access)?;
        stream::make(version, input, &name, plain, sink, &options, run)?
    };
    report::print(&report, &args.destination, args.json, shown)
}
