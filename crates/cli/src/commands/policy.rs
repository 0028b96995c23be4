//! `sociable policy`: policies, and WebAssembly components that are some.

mod check;
mod info;
mod new;
mod span_map;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sociable_oci::Access;
use sociable_policy_wasm::Bounds;

use crate::error::CliError;
use crate::output::{self, print};
use crate::policy::fetch::{self, Component};
use crate::policy::{HostArgs, lock};
use crate::progress::Shown;

/// Looks at policies, tries them, and moves them
///
/// Policies decide where spans begin, in which order files are packed, how hard they are compressed, which layers get an index and
/// what is fetched first. Some are built in; others are WebAssembly components, which get nothing but what
/// they are asked. Use one with --policy of `convert`, `create`, `pack` and `ztoc build`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable policy new my-policy --lang rust
  sociable policy list
  sociable policy info ./my-policy.wasm
  sociable policy check ./my-policy.wasm
  sociable policy run adaptive --layer layer.tar.gz
  sociable policy push ./my-policy.wasm oci://registry.example/policies/my-policy:1
  sociable policy lock policies.lock oci://registry.example/policies/my-policy:1 --limits fuel=1000,memory=64MiB
  sociable convert oci:app oci:app-soci --policy oci://registry.example/policies/my-policy:1 --policy-lock policies.lock")]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    command: PolicySubcommand,
}

#[derive(Debug, Subcommand)]
enum PolicySubcommand {
    /// Begin a policy: a project that builds, and passes its own test
    New(new::New),
    /// List the policies that are built in
    List(info::List),
    /// Show what a policy decides, and the parameters it takes
    Info(info::Info),
    /// Check a component: what it exports and imports, and that it answers, the same each time
    Check(check::Check),
    /// Show what a policy makes of a layer, beside the default
    Run(span_map::Run),
    /// Put a component into a registry or an image layout, as wkg does
    #[command(visible_alias = "pack")]
    Push(Push),
    /// Fetch a component from a registry or an image layout
    Pull(Pull),
    /// Write which components may be used, by digest
    Lock(Lock),
}

#[derive(Debug, Args)]
struct Push {
    /// The component's file
    component: PathBuf,
    /// Where it goes: `oci://HOST/REPO:TAG`, or an image layout `oci:DIR[:TAG]`
    destination: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Pull {
    /// Where it is: `oci://HOST/REPO:TAG[@DIGEST]`, or an image layout `oci:DIR[:TAG]`
    reference: String,
    /// The file to write
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Lock {
    /// The file to write, for --policy-lock; what was in it is replaced, but for its limits
    file: PathBuf,
    /// What the project lets components use at most: any of fuel=MILLIONS,memory=SIZE,output=SIZE
    #[arg(long, value_name = "LIMITS", value_parser = lock::lower)]
    limits: Option<Bounds>,
    /// Components: files, or `oci://HOST/REPO:TAG`
    #[arg(required = true)]
    references: Vec<String>,
}

pub(crate) fn run(args: &PolicyCommand, access: &Access, shown: &Shown) -> Result<(), CliError> {
    match &args.command {
        PolicySubcommand::New(args) => new::run(args),
        PolicySubcommand::List(args) => info::list(args),
        PolicySubcommand::Info(args) => info::info(args, access, shown),
        PolicySubcommand::Check(args) => check::run(args, access, shown),
        PolicySubcommand::Run(args) => span_map::run(args, access, shown),
        PolicySubcommand::Push(args) => push(args, access, shown),
        PolicySubcommand::Pull(args) => pull(args, access),
        PolicySubcommand::Lock(args) => write_lock(args, access),
    }
}

fn push(args: &Push, access: &Access, shown: &Shown) -> Result<(), CliError> {
    let component = Component::fetch(&args.component.display().to_string(), access)?;
    // What is no policy is not pushed.
    let opened = args.host.open(&args.host.host(shown)?, &component)?;
    let manifest = fetch::push(&component, &opened.description, &args.destination, access)?;
    print(&format!(
        "{} {}  {}\nmanifest  {}\n",
        opened.description.name, opened.description.version, component.digest, manifest.digest
    ))
}

fn pull(args: &Pull, access: &Access) -> Result<(), CliError> {
    let component = Component::fetch(&args.reference, access)?;
    output::File::begin(&args.file)?.write(|out| out.write_all(&component.bytes))?;
    print(&format!("{}  {}\n", component.digest, args.file.display()))
}

fn write_lock(args: &Lock, access: &Access) -> Result<(), CliError> {
    let components = (args.references.iter())
        .map(|reference| Component::fetch(reference, access)?.checked())
        .collect::<Result<Vec<_>, _>>()?;
    let limits = match args.limits {
        None if args.file.exists() => lock::limits(&args.file)?,
        limits => limits,
    };
    let lines = lock::lines(&components, limits);
    output::File::begin(&args.file)?.write(|out| out.write_all(lines.as_bytes()))?;
    print(&lines)
}
