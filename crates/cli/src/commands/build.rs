//! `sociable build`.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use sociable_oci::Access;
use tempfile::TempDir;

use crate::args::Style;
use crate::build::DockerArgs;
use crate::build::docker::{Docker, ending};
use crate::build::made::{self, Made};
use crate::build::output::Place;
use crate::build::plan::{Plan, Wishes};
use crate::build::policies;
use crate::error::CliError;
use crate::output;
use crate::policy::lock;
use crate::progress::{self, Shown};
use crate::text::parse_size;

/// The frontend that belongs to this version.
const FRONTEND: &str = concat!("ghcr.io/sociable/frontend:", env!("CARGO_PKG_VERSION"));

/// Builds a Dockerfile with `docker buildx build`, and makes the image's SOCI index within the build
///
/// Takes all flags of `docker buildx build`, and those below; no order is needed, and no -- in between. What docker has (-q and
/// --progress, too) means what it means there.
#[derive(Debug, Args)]
#[command(
    override_usage = "sociable build [OPTIONS] [OPTIONS OF docker buildx build] CONTEXT",
    after_help = "\
What leaves the build:
  -t HOST/REPO:TAG --push     image and index go into the registry; the same with
                              -o type=registry and -o type=image,push=true
  -o type=oci,dest=FILE       an OCI archive with index; with tar=false a directory,
                              with dest=- standard output
  --load, -o type=docker      no index: Docker would take the image alone
  -o type=local, -o DIR       refused: files of the root file system are no image

Docker is given --build-arg BUILDKIT_SYNTAX, SOCI_OUTPUT, SOCI_REPO and so on, and the
credentials for the registries that are pushed to as the secret soci-registry: see --dry-run.
What you give of these yourself stays as it is. A link to this program with the name
docker-sociable in ~/.docker/cli-plugins makes it `docker sociable build`.

Examples:
  sociable build -t registry.example/app:1 --push .
  sociable build --platform linux/amd64,linux/arm64 -t registry.example/app:1 --push .
  sociable build -o type=oci,dest=app.tar --soci-prefetch /bin/app .
  sociable build --soci-policy profile=trace=@start.json -t registry.example/app:1 --push .
  sociable build --dry-run -t registry.example/app:1 --push ."
)]
pub(crate) struct Build {
    /// The BuildKit frontend that makes image and index
    #[arg(long, value_name = "IMAGE", env = "SOCIABLE_FRONTEND", default_value = FRONTEND, help_heading = "Index")]
    frontend: String,
    /// Smallest span, in uncompressed bytes [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Index")]
    soci_span_size: Option<u64>,
    /// Make no zTOC for layers with fewer compressed bytes [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Index")]
    soci_min_layer_size: Option<u64>,
    /// How hard layers are compressed [default: 5]
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u32).range(0..=9), help_heading = "Index")]
    soci_level: Option<u32>,
    /// Do not index the layers of the base image
    #[arg(long, help_heading = "Index")]
    soci_no_base: bool,
    /// A file that the snapshotter shall fetch first (repeat for more)
    #[arg(long, value_name = "PATH", help_heading = "Index")]
    soci_prefetch: Vec<String>,
    /// Let a policy decide about the build's layers, as --policy does elsewhere (repeat for more): its files become the build context
    /// `policy`
    #[arg(
        long,
        value_name = "[INTERFACE=]POLICY[=PARAMETERS]",
        help_heading = "Index"
    )]
    soci_policy: Vec<String>,
    /// Use no component but those in this file, which `sociable policy lock` writes
    #[arg(
        long = "policy-lock",
        value_name = "FILE",
        env = "SOCIABLE_POLICY_LOCK",
        help_heading = "Index"
    )]
    policy_lock: Option<PathBuf>,
    /// Print docker's command, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was made as JSON; what docker prints goes to standard error
    #[arg(long)]
    json: bool,
    /// Behind `build` this is docker's own: auto, plain, tty, quiet or rawjson
    #[arg(long, value_name = "HOW", default_value = "auto", hide = true)]
    progress: Style,
    /// What docker is given, sorted out before.
    #[arg(last = true, hide = true)]
    docker: Vec<OsString>,
}

pub(crate) fn run(
    build: &Build,
    access: &Access,
    shown: &Shown,
    docker: &Docker,
) -> Result<(), CliError> {
    let args = DockerArgs::new(&build.docker);
    let named = match &build.policy_lock {
        Some(_) if args.gives("build-arg", "SOCI_POLICY") => {
            return Err(CliError::usage(
                "with a lock file policies are named by --soci-policy, not by --build-arg SOCI_POLICY",
            ));
        }
        Some(lock) => policies::locked(&build.soci_policy, lock, access)?,
        None => build.soci_policy.clone(),
    };
    let limits = build.policy_lock.as_deref().map(lock::limits).transpose()?;
    let quiet = shown.quiet || args.is_quiet();
    let builder = args.last("builder").map(ToOwned::to_owned);
    let plan = Plan::new(
        args,
        &Wishes {
            frontend: &build.frontend,
            span_size: build.soci_span_size,
            min_layer_size: build.soci_min_layer_size,
            level: build.soci_level,
            no_base: build.soci_no_base,
            prefetch: &build.soci_prefetch,
            policies: &named,
            policy_limits: limits.flatten(),
            plain_http: &access.registry.plain_http,
            ca_files: &access.registry.ca_files,
            authfile: access.registry.authfile.as_deref(),
        },
    )?;
    let note = |text: &str| {
        if !quiet {
            shown.note(text);
        }
    };
    for text in &plan.outputs.notes {
        note(text);
    }
    if !access.registry.skip_tls_verify.is_empty() && plan.outputs.references().next().is_some() {
        note(
            "--skip-tls-verify is for us alone: the build verifies certificates. --ca FILE gives it some to trust",
        );
    }
    for kept in plan.kept.iter().filter(|_| shown.verbose) {
        shown.note(kept);
    }
    if build.dry_run {
        for (variable, _) in &plan.variables {
            shown.note(&format!(
                "docker finds {variable} in its environment, and nobody else does"
            ));
        }
        return output::print(&(plan.shown(docker.before())? + "\n"));
    }
    docker.check()?;
    let mut command = docker.build();
    if shown.quiet && plan.builds {
        command.arg("--quiet");
    }
    let metadata = Metadata::of(&plan)?;
    if metadata.own.is_some() {
        // Without the provenance, which nobody reads.
        command.env("BUILDX_METADATA_PROVENANCE", "disabled");
        command.arg("--metadata-file").arg(&metadata.path);
    }
    command.args(&plan.words);
    command.envs(plan.variables.iter().map(|(name, value)| (name, value)));
    let said = Said::of(&plan, build.json, quiet);
    if let Some(stdout) = said.by_docker()? {
        command.stdout(stdout);
    }
    if let Err(failed) = ending(docker.run(command)?) {
        if !progress::interrupted()
            && let Some(hint) = docker.hint(builder.as_deref())
        {
            shown.line(&format!("hint: {hint}"));
        }
        return Err(failed);
    }
    if !plan.builds {
        return Ok(());
    }
    let made = look(&plan, &metadata.path, access, &note)?;
    settle(&plan, &made)?;
    said.by_us(&made)
}

/// What standard output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Docker's words, if any, and our report.
    Report,
    /// Our report alone.
    Json,
    /// A digest that docker does not know.
    Digest,
    /// What docker writes: an archive, a digest, an answer.
    Dockers,
}

impl Said {
    fn of(plan: &Plan, json: bool, quiet: bool) -> Self {
        if !plan.builds || plan.outputs.places.contains(&Place::Stdout) {
            Self::Dockers
        } else if json {
            Self::Json
        } else if !quiet {
            Self::Report
        } else if plan.outputs.are_behind_docker() {
            // BuildKit's exporters for files know none, and buildx prints an empty one.
            Self::Digest
        } else {
            Self::Dockers
        }
    }

    /// Where docker's standard output goes instead.
    fn by_docker(self) -> Result<Option<Stdio>, CliError> {
        Ok(match self {
            Self::Report | Self::Dockers => None,
            Self::Digest => Some(Stdio::null()),
            Self::Json => {
                let stderr = std::io::stderr().as_fd().try_clone_to_owned();
                Some(
                    stderr
                        .map_err(CliError::io("use", "standard error"))?
                        .into(),
                )
            }
        })
    }

    fn by_us(self, made: &Made) -> Result<(), CliError> {
        match (self, made.digest) {
            (Self::Report, _) => output::print(&made.human()),
            (Self::Json, _) => output::print_json(made),
            (Self::Digest, Some(digest)) => output::print(&format!("{digest}\n")),
            (Self::Digest, None) | (Self::Dockers, _) => Ok(()),
        }
    }
}

/// Where buildx says what it made.
struct Metadata {
    path: PathBuf,
    own: Option<TempDir>,
}

impl Metadata {
    fn of(plan: &Plan) -> Result<Self, CliError> {
        if !plan.builds || plan.metadata_file.is_some() {
            let path = plan.metadata_file.clone().unwrap_or_default();
            return Ok(Self { path, own: None });
        }
        let dir = tempfile::Builder::new()
            .prefix("sociable-")
            .tempdir()
            .map_err(CliError::io("create", "a temporary directory"))?;
        Ok(Self {
            path: dir.path().join("metadata.json"),
            own: Some(dir),
        })
    }
}

/// Looks at what was made. A registry may be one that only the builder reaches: that is said and no failure.
fn look(
    plan: &Plan,
    metadata: &Path,
    access: &Access,
    note: &impl Fn(&str),
) -> Result<Made, CliError> {
    let mut made = Made {
        // What docker says is another image, or none.
        digest: made::digest(metadata).filter(|_| !plan.outputs.are_behind_docker()),
        images: Vec::new(),
    };
    for place in &plan.outputs.places {
        match made::look(place, made.digest, access) {
            Ok(found) => made.images.extend(found),
            Err(error) if matches!(place, Place::Registry(_)) => note(&format!(
                "the image is pushed, and cannot be looked at from here: {error}"
            )),
            Err(error) => {
                return Err(
                    error.hint("is the frontend (--frontend, BUILDKIT_SYNTAX) one of Sociable's?")
                );
            }
        }
    }
    if made.digest.is_none() {
        made.digest = made.images.iter().find_map(|image| image.digest);
    }
    if !made.images.is_empty() && !made.has_index() {
        note(
            "the image has no SOCI index. Are its layers too small? --soci-min-layer-size 0 indexes them all",
        );
    }
    Ok(made)
}

/// Files that docker would have written, had it known.
fn settle(plan: &Plan, made: &Made) -> Result<(), CliError> {
    let Some(digest) = &made.digest else {
        return Ok(());
    };
    if let Some(file) = &plan.iidfile {
        std::fs::write(file, digest.to_string()).map_err(CliError::io("write", file.display()))?;
    }
    match &plan.metadata_file {
        Some(file) if plan.outputs.are_behind_docker() => made::complete(file, digest),
        _ => Ok(()),
    }
}
