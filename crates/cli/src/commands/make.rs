//! `sociable convert` and `sociable create`: an image in, an image with an index out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sociable_oci::{Access, Source, Transport};
use sociable_soci::cache::Cache;
use sociable_soci::convert::{Options, Report, convert};
use sociable_soci::create as soci_create;
use sociable_soci::{Image, IndexSettings, Version, names, repack, stream};

use crate::args::{IMAGE_HELP, IndexArgs, PlatformArgs, RunArgs};
use crate::commands::batch::{self, Item, Listed};
use crate::commands::opened::{self, create};
use crate::commands::report;
use crate::error::CliError;
use crate::policy::PolicyArgs;
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
  sociable convert docker://registry.example/app:1 docker://registry.example/app:1-soci
  sociable convert docker://registry.example/app:1 --tag-suffix -soci --soci-version 1,2
  sociable convert --repository 'docker://registry.example/app:v*' --tag-suffix -soci
  sociable convert --repository 'docker://registry.example/team/*' --in-place --shard 0/4
  sociable convert oci:app oci:app-soci
  sociable convert oci-archive:app.tar:1.2 oci-archive:app-soci.tar:1.2 --all-platforms
  docker buildx build -o type=oci,dest=- . | sociable convert - oci:app
  sociable convert containerd:example.com/app:1 containerd:example.com/app:1-soci
  sociable convert docker-daemon:app:latest oci-archive:app-soci.tar
  sociable convert oci:app oci:app --prefetch-file /app/main.py --json")]
pub(crate) struct Convert {
    #[arg(value_name = "SRC", help = IMAGE_HELP, required_unless_present_any = ["batch", "repository"])]
    source: Option<Transport>,
    /// Where the result goes, in the same forms but for docker-archive (- is standard output); may be the same as SRC
    #[arg(value_name = "DEST")]
    destination: Option<Transport>,
    /// Without DEST: the same name, with this behind its tag
    #[arg(
        long,
        value_name = "SUFFIX",
        conflicts_with = "destination",
        allow_hyphen_values = true
    )]
    tag_suffix: Option<String>,
    /// Generations of the index: 2, 1 (as `create` makes it), or both
    #[arg(
        long = "soci-version",
        value_name = "N",
        value_delimiter = ',',
        default_value = "2"
    )]
    versions: Vec<SociVersion>,
    /// Convert the images of a list: a line holds SRC, or SRC and DEST; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "destination", "repository"], help_heading = "Many images")]
    batch: Option<PathBuf>,
    /// Convert all tags of a repository, or those that fit a pattern, such as HOST/REPO:v1.* (repeat for more); HOST/TEAM/* are the
    /// repositories of a registry that lists them
    #[arg(long, value_name = "REPO[:PATTERN]", conflicts_with_all = ["source", "destination"], help_heading = "Many images")]
    repository: Vec<String>,
    /// Convert only the images of one of N shares, which are found by hashing names: N machines with I from 0 to N - 1 do all
    #[arg(
        long,
        value_name = "I/N",
        conflicts_with = "source",
        help_heading = "Many images"
    )]
    shard: Option<batch::Shard>,
    /// With --repository and without --tag-suffix: move the tags themselves to the converted images
    #[arg(
        long,
        requires = "repository",
        conflicts_with = "tag_suffix",
        help_heading = "Many images"
    )]
    in_place: bool,
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
    #[arg(value_name = "SRC", help = IMAGE_HELP)]
    source: Transport,
    /// Where the result goes, in the same forms but for docker-archive (- is standard output); may be the same as SRC
    #[arg(value_name = "DEST")]
    destination: Transport,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Args)]
struct Make {
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

/// Which generations of the index are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SociVersion {
    /// Beside the image, which stays as it is
    #[value(name = "1")]
    V1,
    /// Named by the image
    #[value(name = "2")]
    V2,
}

/// What is to be made.
#[derive(Clone, Copy)]
struct Versions {
    first: Version,
    also_v1: bool,
}

pub(crate) fn run_convert(args: &Convert, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let versions = Versions {
        first: if args.versions.contains(&SociVersion::V2) {
            Version::V2
        } else {
            Version::V1
        },
        also_v1: args.versions.contains(&SociVersion::V1)
            && args.versions.contains(&SociVersion::V2),
    };
    let suffix = args
        .tag_suffix
        .as_deref()
        .filter(|suffix| !suffix.is_empty());
    if !args.repository.is_empty() && suffix.is_none() && !args.in_place {
        return Err(CliError::usage(
            "--repository needs a --tag-suffix for the new images, or --in-place to move all tags",
        ));
    }
    if args.batch.is_some() || !args.repository.is_empty() {
        let mut listed = match &args.batch {
            Some(file) => Listed {
                items: batch::read(file, suffix)?,
                ..Listed::default()
            },
            None => batch::matching(&args.repository, suffix, access)?,
        };
        listed
            .items
            .retain(|item| args.shard.is_none_or(|shard| shard.has(item)));
        // Layers that images share are indexed once, whether or not anything is kept for later.
        let temporary =
            tempfile::tempdir().map_err(CliError::io("create", "a temporary directory"))?;
        let cache = args.make.run.cache(shown);
        let cache =
            cache.or_else(|| Cache::open(temporary.path(), args.make.run.cache_limit()).ok());
        let settings = settings(&args.make, access, shown)?;
        return batch::run(&listed, args.make.json, access, shown, &|item| {
            let cache = cache.as_ref();
            make(&args.make, &settings, item, versions, cache, access, shown)
        });
    }
    let Some(source) = args.source.clone() else {
        return Err(CliError::usage(
            "name an image to convert, or a list of them with --batch",
        ));
    };
    let destination = match &args.destination {
        Some(destination) => destination.clone(),
        None if suffix.is_some() => batch::beside(&source, suffix)?,
        None => {
            return Err(CliError::usage("name a destination, or a --tag-suffix")
                .hint(format!("in place: sociable convert {source} {source}")));
        }
    };
    single(
        &args.make,
        &Item {
            source,
            destination,
        },
        versions,
        access,
        shown,
    )
}

pub(crate) fn run_create(args: &Create, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let item = Item {
        source: args.source.clone(),
        destination: args.destination.clone(),
    };
    let versions = Versions {
        first: Version::V1,
        also_v1: false,
    };
    single(&args.make, &item, versions, access, shown)
}

fn single(
    args: &Make,
    item: &Item,
    versions: Versions,
    access: &Access,
    shown: &Shown,
) -> Result<(), CliError> {
    let cache = args.run.cache(shown);
    let settings = settings(args, access, shown)?;
    let cache = cache.as_ref();
    let report = make(args, &settings, item, versions, cache, access, shown)?;
    report::print(&report, &item.destination, args.json, shown)
}

/// How layers are indexed, whatever image they are of.
fn settings(args: &Make, access: &Access, shown: &Shown) -> Result<IndexSettings, CliError> {
    let settings = args
        .index
        .settings(args.min_layer_size, &args.run, access, shown)?;
    PolicyArgs::note_unused(&settings.policies, shown);
    Ok(IndexSettings {
        policies: settings.policies.of_layers_that_exist(),
        ..settings
    })
}

fn make(
    args: &Make,
    settings: &IndexSettings,
    item: &Item,
    versions: Versions,
    cache: Option<&Cache>,
    access: &Access,
    shown: &Shown,
) -> Result<Report, CliError> {
    let Item {
        source: from,
        destination,
    } = item;
    let platforms = args.platforms.platforms();
    let options = Options {
        settings,
        platforms: &platforms,
        cache,
        tag: destination.tag(),
        also_v1: versions.also_v1,
    };
    let run = shown.run(args.run.jobs);
    // That a source is not there is said before anything is made at the destination.
    // In place, what is changed is what the registry has, whatever mirrors say.
    let opened = match from {
        Transport::Registry(reference) if from.same_place(destination) => {
            let direct = access.registries()?.direct(reference);
            Some(Box::new(direct) as Box<dyn Source>)
        }
        from => from.open(access)?,
    };
    let Some(source) = opened else {
        let (input, name) = opened::stream(from)?;
        let plain = opened::plain(from);
        let sink = create(destination, access)?;
        let made = stream::make(versions.first, input, &name, plain, sink, &options, run)?;
        return Ok(made);
    };
    let image = Image::open(&*source, from.tag())?;
    // In place, an image keeps the name that it has.
    let own_name = image.tag().filter(|_| from.same_place(destination));
    let options = Options {
        tag: destination.tag().or(own_name),
        ..options
    };
    let sink = create(destination, access)?;
    Ok(match versions.first {
        version if from.has_plain_layers() => {
            repack::make(version, &*source, &image, sink, &options, run)?
        }
        Version::V1 => soci_create::create(&*source, &image, sink, &options, run)?,
        Version::V2 => convert(&*source, &image, sink, &options, run)?,
    })
}
