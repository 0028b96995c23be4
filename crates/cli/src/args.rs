//! The command line: what there is, and what several commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use sociable_layer::Limits;
use sociable_oci::{Access, Platform, Transport, containerd, registry};
use sociable_soci::cache::{self, Cache};
use sociable_soci::{IndexSettings, Platforms, names};

use crate::commands;
use crate::error::CliError;
use crate::policy::PolicyArgs;
use crate::progress::{self, Shown};
use crate::text::parse_size;

/// Makes container images that start before they are downloaded.
///
/// A SOCI index records where in a gzip layer each file can be decompressed from, so that a node can run a container
/// while its image is still in the registry. sociable makes image and index in one pass, without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "sociable",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Images are named as skopeo names them:
  docker://HOST/REPO[:TAG] an image in a registry
  oci:DIR[:TAG]            an OCI image layout in a directory
  oci-archive:FILE[:TAG]   an OCI image layout in a tar file; always written anew
  containerd:REFERENCE     an image in containerd's store
  docker-archive:FILE[:REFERENCE]  what docker save writes; only read
  docker-daemon:REFERENCE  an image of a running Docker (DOCKER_HOST); written only where
                           containerd's image store keeps the images
  -                        an oci-archive on standard input or output

Exit codes: 0 done; 1 failed, or `verify` found a claim that does not hold; 2 wrong usage; 130 interrupted.

Examples:
  sociable pack ./rootfs oci:app --entrypoint /bin/app
  sociable convert docker://registry.example/app:1 docker://registry.example/app:1-soci
  sociable convert oci:app oci:app-soci
  sociable build -t registry.example/app:1 --push .
  sociable cat oci:app-soci /etc/os-release"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Convert(Box<commands::make::Convert>),
    Create(Box<commands::make::Create>),
    Copy(commands::copy::Copy),
    Pull(commands::copy::Pull),
    Push(commands::copy::Push),
    Rm(commands::rm::Rm),
    Pack(Box<commands::pack::Pack>),
    Build(Box<commands::build::Build>),
    Inspect(commands::inspect::Inspect),
    Verify(commands::verify::Verify),
    Ls(commands::ls::Ls),
    Cat(commands::cat::Cat),
    Ztoc(commands::ztoc::Ztoc),
    Policy(commands::policy::PolicyCommand),
    Trace(Box<commands::trace::TraceCommand>),
    Cache(commands::cache::CacheCommand),
    Completions(commands::docs::Completions),
    Man(commands::docs::Man),
}

/// What is shown while a command works.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Say nothing but errors and the result
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub(crate) quiet: bool,
    /// Say more: what each thing cost
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// How to show progress, on standard error
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub(crate) progress: Style,
}

/// How to reach images that are not files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Speak plain HTTP with this registry (repeat for more)
    #[arg(
        long,
        global = true,
        value_name = "HOST[:PORT]",
        env = "SOCIABLE_PLAIN_HTTP",
        value_delimiter = ','
    )]
    plain_http: Vec<String>,
    /// Do not verify the certificate of this registry (repeat for more)
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    skip_tls_verify: Vec<String>,
    /// Trust the certificates in this PEM file, beside the system's (repeat for more)
    #[arg(long, global = true, value_name = "FILE", env = "SOCIABLE_CA_FILE", value_hint = ValueHint::FilePath)]
    ca: Vec<OsString>,
    /// Credentials for registries, in the form of docker's config.json [default: docker's and podman's own files]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REGISTRY_AUTH_FILE",
        hide_env_values = true
    )]
    authfile: Option<PathBuf>,
    /// Read from MIRROR first, in the place of HOST (repeat for more)
    #[arg(long, global = true, value_name = "HOST=MIRROR[/PREFIX]", value_parser = mirror)]
    mirror: Vec<(String, String)>,
    /// How often a request that failed is sent again
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// Give a connection up on which next to nothing came for so long, and try again
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    idle_timeout: u64,
    /// containerd's socket, for containerd:REFERENCE
    #[arg(
        long,
        global = true,
        value_name = "SOCKET",
        env = "CONTAINERD_ADDRESS",
        default_value = containerd::DEFAULT_ADDRESS
    )]
    containerd_address: PathBuf,
    /// containerd's namespace: k8s.io for Kubernetes, moby for Docker
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "CONTAINERD_NAMESPACE",
        default_value = containerd::DEFAULT_NAMESPACE
    )]
    containerd_namespace: String,
}

impl AccessArgs {
    pub(crate) fn access(&self) -> Access {
        Access::new(
            registry::Options {
                plain_http: self.plain_http.clone(),
                skip_tls_verify: self.skip_tls_verify.clone(),
                // An empty variable says nothing.
                ca_files: (self.ca.iter())
                    .filter(|file| !file.is_empty())
                    .map(PathBuf::from)
                    .collect(),
                authfile: self.authfile.clone(),
                mirrors: self.mirror.clone(),
                retries: self.retries,
                idle_timeout: Duration::from_secs(self.idle_timeout),
                interrupted: Some(progress::interrupted),
                ..registry::Options::default()
            },
            containerd::Options {
                address: self.containerd_address.clone(),
                namespace: self.containerd_namespace.clone(),
            },
        )
    }
}

fn mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((host, mirror)) if !host.is_empty() && !mirror.is_empty() => {
            Ok((host.to_owned(), mirror.trim_end_matches('/').to_owned()))
        }
        _ => Err("it has the form HOST=MIRROR or HOST=MIRROR/PREFIX".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bar,
    /// A line for each layer that is done
    Plain,
    /// Nothing
    None,
}

/// An image that is read.
pub(crate) const IMAGE_HELP: &str = "The image: docker://HOST/REPO[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE], \
     docker-daemon:REFERENCE, containerd:REFERENCE, or - for standard input";

/// An image that is written.
pub(crate) const DESTINATION_HELP: &str = "Where the image goes: docker://HOST/REPO[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-daemon:NAME[:TAG], \
     containerd:REFERENCE, or - for standard output";

/// Which platforms of an image are meant.
#[derive(Debug, Args)]
pub(crate) struct PlatformArgs {
    /// A platform, such as linux/arm64 (repeat for more)
    #[arg(
        short,
        long = "platform",
        value_name = "OS/ARCH",
        conflicts_with = "all_platforms"
    )]
    platforms: Vec<Platform>,
    /// Every platform that the image has
    #[arg(long)]
    all_platforms: bool,
}

impl PlatformArgs {
    pub(crate) fn platforms(&self) -> Platforms {
        match (self.all_platforms, &self.platforms[..]) {
            (true, _) => Platforms::All,
            (false, []) => Platforms::Default,
            (false, these) => Platforms::These(these.to_vec()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Optimization {
    /// Mark layers without extended attributes, so that the snapshotter need not look for them
    Xattr,
}

/// What a zTOC depends on.
#[derive(Debug, Args)]
pub(crate) struct ZtocArgs {
    /// Smallest span, in uncompressed bytes (4194304, 4MiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = names::DEFAULT_SPAN_SIZE)]
    span_size: u64,
    /// Who builds the index: written into zTOCs and index, and so part of their digests
    #[arg(long, value_name = "TEXT", default_value = names::DEFAULT_BUILD_TOOL)]
    build_tool_identifier: String,
    /// Refuse layers with more tar entries
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    max_entries: usize,
    /// Refuse layers which, beyond 1 GiB, inflate to more bytes for each compressed one (gzip can reach 1032)
    #[arg(long, value_name = "N", default_value_t = Limits::default().ratio)]
    max_ratio: u64,
    /// Write an index even of a layer that soci-snapshotter cannot read through one (PAX sparse files)
    #[arg(long)]
    allow_unreadable: bool,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// How the layers of an image are indexed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Index")]
pub(crate) struct IndexArgs {
    #[command(flatten)]
    pub(crate) ztoc: ZtocArgs,
    /// An optional part of the index (repeat for more)
    #[arg(long = "optimizations", value_name = "NAME", value_delimiter = ',')]
    optimizations: Vec<Optimization>,
    /// A file that the snapshotter shall fetch first (repeat for more)
    #[arg(long = "prefetch-file", value_name = "PATH")]
    prefetch_files: Vec<String>,
    /// A file with a JSON list of files that the snapshotter shall fetch first
    #[arg(long, value_name = "FILE")]
    prefetch_files_json: Option<PathBuf>,
}

/// Speed and reuse.
#[derive(Debug, Args)]
#[command(next_help_heading = "Speed and reuse")]
pub(crate) struct RunArgs {
    /// Index layers again that the cache knows
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep nothing for later runs, and use nothing of earlier ones
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    cache: CacheArgs,
    /// Threads: layers indexed at once, or pieces compressed at once [default: all processors]
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) jobs: usize,
}

/// Where zTOCs are kept from run to run.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Where zTOCs are kept from run to run [default: sociable in the user's cache directory]
    #[arg(long, value_name = "DIR", env = "SOCIABLE_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// How much is kept there; what was not used for longest goes first
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "2GiB")]
    pub(crate) cache_limit: u64,
}

impl ZtocArgs {
    /// These settings with one policy more.
    ///
    /// # Errors
    /// When the policy cannot be had, or another decides the same.
    pub(crate) fn with_policy(
        &self,
        mut settings: IndexSettings,
        policy: &str,
        access: &Access,
        shown: &Shown,
    ) -> Result<IndexSettings, CliError> {
        self.policy
            .add(policy, &mut settings.policies, access, shown)?;
        Ok(settings)
    }

    /// # Errors
    /// When a policy cannot be had.
    pub(crate) fn settings(
        &self,
        access: &Access,
        shown: &Shown,
    ) -> Result<IndexSettings, CliError> {
        Ok(IndexSettings {
            span_size: self.span_size,
            build_tool_identifier: self.build_tool_identifier.clone(),
            allow_unreadable: self.allow_unreadable,
            limits: Limits {
                entries: self.max_entries,
                ratio: self.max_ratio,
                ..Limits::default()
            },
            policies: self.policy.policies(access, shown)?,
            compact: self.policy.compact(),
            ..IndexSettings::default()
        })
    }
}

impl IndexArgs {
    /// # Errors
    /// When the file with paths cannot be read.
    pub(crate) fn settings(
        &self,
        min_layer_size: u64,
        run: &RunArgs,
        access: &Access,
        shown: &Shown,
    ) -> Result<IndexSettings, CliError> {
        let mut prefetch = self.prefetch_files.clone();
        if let Some(file) = &self.prefetch_files_json {
            let bytes = std::fs::read(file).map_err(CliError::io("read", file.display()))?;
            let listed: Vec<String> = serde_json::from_slice(&bytes).map_err(|e| {
                CliError::failed(format!(
                    "{} is not a JSON list of paths: {e}",
                    file.display()
                ))
            })?;
            prefetch.extend(listed);
        }
        // As the reference: white space around a path, and empty paths, do not count.
        let prefetch = prefetch
            .iter()
            .map(|path| path.trim().to_owned())
            .filter(|path| !path.is_empty())
            .collect();
        Ok(IndexSettings {
            min_layer_size,
            xattr_optimization: self.optimizations.contains(&Optimization::Xattr),
            prefetch,
            force: run.force,
            ..self.ztoc.settings(access, shown)?
        })
    }
}

impl RunArgs {
    pub(crate) fn cache_limit(&self) -> u64 {
        self.cache.cache_limit
    }

    /// The cache, unless it is unwanted; that it cannot be used is said and no error.
    pub(crate) fn cache(&self, shown: &Shown) -> Option<Cache> {
        if self.no_cache {
            return None;
        }
        let opened = self.cache.open();
        opened
            .inspect_err(|error| shown.note(&format!("going on without a cache: {error}")))
            .ok()
    }
}

impl CacheArgs {
    pub(crate) fn open(&self) -> Result<Cache, CliError> {
        let dir = self
            .cache_dir
            .clone()
            .or_else(cache::default_dir)
            .ok_or_else(|| {
                CliError::failed(
                    "there is no home directory for a cache; name one with --cache-dir",
                )
            })?;
        Ok(Cache::open(dir, self.cache_limit)?)
    }
}

/// Whether a transport is standard input or output.
pub(crate) fn is_stream(transport: &Transport) -> bool {
    matches!(transport, Transport::Stream)
}
