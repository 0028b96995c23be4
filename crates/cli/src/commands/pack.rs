//! `sociable pack`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use sociable_layer::pack::DEFAULT_LEVEL;
use sociable_oci::{Access, Config, Platform, Transport};
use sociable_soci::pack::{Base, Options, pack};
use sociable_soci::{chain, names};
use sociable_tar::walk::{self, Excludes, Owner};
use sociable_ztoc::Time;

use crate::args::{DESTINATION_HELP, IndexArgs, RunArgs};
use crate::commands::opened::{Opened, create};
use crate::commands::report;
use crate::error::CliError;
use crate::progress::Shown;
use crate::text::parse_size;

/// Packs a directory into an image with its SOCI index, in one pass
///
/// The same directory gives the same bytes, whatever the number of threads: entries are sorted, and `SOURCE_DATE_EPOCH`, if
/// it is set, is the latest time that any file has. Modes, owners (as numbers), extended attributes, hard links and
/// devices are kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable pack ./rootfs oci:app --entrypoint /bin/app --env PORT=8080 --expose 8080
  sociable pack ./models oci-archive:app.tar:2 --base oci:python --owner 0:0
  sociable pack ./rootfs - --exclude '*.pyc' --exclude '/tmp/*' | skopeo copy oci-archive:/dev/stdin docker://…")]
pub(crate) struct Pack {
    /// The directory; it becomes the image's root, and is itself no entry
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[arg(value_name = "DEST", help = DESTINATION_HELP)]
    destination: Transport,
    /// Put the layer on top of this image, whose layers are indexed too
    #[arg(long, value_name = "IMAGE")]
    base: Option<Transport>,
    /// The image's platform, or the one to take of the base image [default: this machine's]
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Compression level: 0 stores, 9 takes longest
    #[arg(short, long, value_name = "0-9", default_value_t = DEFAULT_LEVEL, value_parser = clap::value_parser!(u8).range(0..=9))]
    level: u8,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    index: IndexArgs,
    /// Leave layers out of the index that have fewer compressed bytes [default: 0 for the new layer, 10 MiB for those of
    /// the base image]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_layer_size: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// Which files, and as what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Leave out what matches this pattern, as in .gitignore (repeat for more)
    #[arg(long = "exclude", value_name = "PATTERN")]
    excludes: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    exclude_from: Option<PathBuf>,
    /// Owner and group of everything, as numbers; without GID, the group has the same number
    #[arg(long, value_name = "UID[:GID]", value_parser = parse_owner)]
    owner: Option<(u32, u32)>,
    /// Names of owner and group of everything; without, only numbers are written
    #[arg(long, value_name = "USER[:GROUP]", requires = "owner")]
    owner_name: Option<String>,
    /// Keep fractions of seconds of modification times
    #[arg(long)]
    subsecond_times: bool,
    /// Leave extended attributes out
    #[arg(long)]
    no_xattrs: bool,
}

/// How the image is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image")]
struct ImageArgs {
    /// Entry point: a word (repeat for more), or a JSON list
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Arguments: a word (repeat for more), or a JSON list
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// A variable of the environment (repeat for more)
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// Working directory
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// User to run as
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// A label (repeat for more)
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// A port that is listened on (repeat for more)
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = parse_port)]
    expose: Vec<String>,
}

fn parse_owner(text: &str) -> Result<(u32, u32), String> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("{text:?} is no number of an owner; names go to --owner-name"))
    };
    Ok((number(uid)?, number(gid)?))
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn parse_port(text: &str) -> Result<String, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let fine = port.parse::<u16>().is_ok_and(|port| port > 0);
    if fine && matches!(protocol, "tcp" | "udp" | "sctp") {
        Ok(format!("{port}/{protocol}"))
    } else {
        Err("expected a port from 1 to 65535, and /tcp, /udp or /sctp behind it".to_owned())
    }
}

/// Words as they were given, or of a JSON list.
fn words(given: &[String], option: &str) -> Result<Option<Vec<String>>, CliError> {
    match given {
        [] => Ok(None),
        [list] if list.starts_with('[') => serde_json::from_str(list).map(Some).map_err(|e| {
            CliError::usage(format!("{option} {list} is not a JSON list of words: {e}"))
        }),
        words => Ok(Some(words.to_vec())),
    }
}

impl FileArgs {
    fn walk(&self, epoch: Option<i64>) -> Result<walk::Options, CliError> {
        let mut patterns = self.excludes.clone();
        if let Some(file) = &self.exclude_from {
            let text =
                std::fs::read_to_string(file).map_err(CliError::io("read", file.display()))?;
            patterns.extend(text.lines().map(str::to_owned));
        }
        let excludes = Excludes::new(patterns.iter().map(String::as_str)).map_err(|e| {
            CliError::usage(format!("a pattern to exclude is wrong: {}", chain(&e)))
        })?;
        let names = self.owner_name.as_deref().unwrap_or_default();
        let (user, group) = names.split_once(':').unwrap_or((names, names));
        Ok(walk::Options {
            excludes,
            epoch,
            owner: self.owner.map(|(uid, gid)| Owner {
                uid,
                gid,
                uname: user.into(),
                gname: group.into(),
            }),
            subsecond: self.subsecond_times,
            no_xattrs: self.no_xattrs,
        })
    }
}

impl ImageArgs {
    /// What these arguments do to a config.
    fn configure(&self) -> Result<impl Fn(&mut Config) + '_, CliError> {
        let entrypoint = words(&self.entrypoint, "--entrypoint")?;
        let cmd = words(&self.cmd, "--cmd")?;
        Ok(move |config: &mut Config| {
            let run = &mut config.config;
            if let Some(entrypoint) = &entrypoint {
                run.entrypoint.clone_from(entrypoint);
                // As with Docker, a new entry point does not get the arguments of the old one.
                run.cmd.clear();
            }
            if let Some(cmd) = &cmd {
                run.cmd.clone_from(cmd);
            }
            for (name, value) in &self.env {
                let variable = format!("{name}={value}");
                let prefix = format!("{name}=");
                match run.env.iter_mut().find(|v| v.starts_with(&prefix)) {
                    Some(old) => *old = variable,
                    None => run.env.push(variable),
                }
            }
            if let Some(workdir) = &self.workdir {
                run.working_dir.clone_from(workdir);
            }
            if let Some(user) = &self.user {
                run.user.clone_from(user);
            }
            run.labels.extend(self.label.iter().cloned());
            if !self.expose.is_empty() {
                let ports = run
                    .extra
                    .entry("ExposedPorts".to_owned())
                    .or_insert_with(|| serde_json::json!({}));
                let new: BTreeMap<_, _> = self
                    .expose
                    .iter()
                    .map(|p| (p.clone(), serde_json::json!({})))
                    .collect();
                match ports.as_object_mut() {
                    Some(ports) => ports.extend(new),
                    None => *ports = serde_json::json!(new),
                }
            }
        })
    }
}

/// `SOURCE_DATE_EPOCH`, if it is set.
fn epoch() -> Result<Option<i64>, CliError> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    seconds.map(Some).ok_or_else(|| {
        CliError::usage(format!(
            "SOURCE_DATE_EPOCH is {}, and should be seconds since 1970",
            text.display()
        ))
    })
}

/// Where in the directory the destination is, if it is there.
fn destination_inside(args: &Pack) -> Option<PathBuf> {
    let directory = args.directory.canonicalize().ok()?;
    let path = args.destination.path()?;
    // What does not exist yet has a parent that does.
    let real = path.canonicalize().ok().or_else(|| {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    })?;
    // An archive is written under another name beside its place.
    let written = match &args.destination {
        Transport::OciArchive { .. } => real.parent()?,
        _ => &real,
    };
    written.strip_prefix(&directory).ok().map(Path::to_owned)
}

pub(crate) fn run(args: &Pack, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let minimum = args.min_layer_size.unwrap_or(names::DEFAULT_MIN_LAYER_SIZE);
    let settings = args.index.settings(minimum, &args.run, access, shown)?;
    let cache = args.run.cache(shown);
    let epoch = epoch()?;
    let walk = args.files.walk(epoch)?;
    let configure = args.image.configure()?;
    let metadata = std::fs::metadata(&args.directory)
        .map_err(CliError::io("pack", args.directory.display()))?;
    if !metadata.is_dir() {
        return Err(CliError::failed(format!(
            "cannot pack {}: it is no directory",
            args.directory.display()
        )));
    }
    if let Some(inside) = destination_inside(args)
        && !walk.excludes.excludes(inside.as_os_str().as_bytes(), true)
    {
        return Err(CliError::failed(format!(
            "the destination {} is inside the directory that is packed",
            args.destination
        ))
        .hint(if inside.as_os_str().is_empty() {
            "put it elsewhere".to_owned()
        } else {
            format!(
                "put it elsewhere, or leave it out with --exclude '/{}'",
                inside.display()
            )
        }));
    }
    let opened = args
        .base
        .as_ref()
        .map(|base| Opened::new(base, access))
        .transpose()?;
    let image = opened
        .as_ref()
        .map(|base| base.image.one(&*base.source, args.platform.as_ref()))
        .transpose()?;
    let base = match (&opened, &image) {
        (Some(opened), Some(image)) => Some(Base {
            source: &*opened.source,
            image,
            plain: opened.plain,
        }),
        _ => None,
    };
    let sink = create(&args.destination, access)?;
    let options = Options {
        directory: &args.directory,
        walk,
        settings: &settings,
        min_layer_size: args.min_layer_size.unwrap_or(0),
        level: args.level,
        base,
        platform: args
            .platform
            .clone()
            .unwrap_or_else(Platform::host)
            .normalize(),
        configure: &configure,
        created: epoch.and_then(|seconds| Time { seconds, nanos: 0 }.to_rfc3339()),
        cache: cache.as_ref(),
        tag: args.destination.tag(),
    };
    let report = pack(sink, options, shown.run(args.run.jobs))?;
    report::print(&report, &args.destination, args.json, shown)
}
