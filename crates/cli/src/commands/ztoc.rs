//! `sociable ztoc`: single layers.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use sociable_oci::{Access, Digest};
use sociable_soci::inspect::ztoc_info;
use sociable_soci::tree::Tree;
use sociable_soci::verify::check_ztoc;
use sociable_soci::{IndexSettings, chain, single};
use sociable_ztoc::{LayerReader, Ztoc as Content, format};

use crate::args::ZtocArgs;
use crate::commands::opened;
use crate::error::{CliError, index_hint};
use crate::progress::Shown;
use crate::{output, text};

/// Builds and reads the zTOC of a single layer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sociable ztoc build layer.tar.gz --output layer.ztoc
  gzip -c layer.tar | sociable ztoc build -
  sociable ztoc ls layer.ztoc
  sociable ztoc cat layer.ztoc layer.tar.gz etc/passwd")]
pub(crate) struct Ztoc {
    #[command(subcommand)]
    command: ZtocCommand,
}

#[derive(Debug, Subcommand)]
enum ZtocCommand {
    /// Indexes a layer; prints digest and size of the zTOC
    Build(Build),
    /// Shows what a zTOC is
    Info(Info),
    /// Lists the entries of a zTOC
    Ls(List),
    /// Writes a file of a layer to standard output, reading only the spans that hold it
    Cat(Read),
    /// Reads a layer again and checks everything that its zTOC claims; exits with 1 if anything does not hold
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Build {
    /// A gzip layer or a plain tar; - for standard input
    layer: PathBuf,
    /// Where to write the zTOC
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    ztoc: ZtocArgs,
    /// Print the layer's diff ID too: the digest of its tar
    #[arg(long)]
    diff_id: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Info {
    /// The zTOC
    ztoc: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// The zTOC
    ztoc: PathBuf,
}

#[derive(Debug, Args)]
struct Read {
    /// The zTOC
    ztoc: PathBuf,
    /// The layer to which it belongs
    layer: PathBuf,
    /// A file of the layer
    path: String,
}

#[derive(Debug, Args)]
struct Verify {
    /// The zTOC
    ztoc: PathBuf,
    /// The layer to which it belongs
    layer: PathBuf,
}

pub(crate) fn run(args: &Ztoc, access: &Access, shown: &Shown) -> Result<(), CliError> {
    match &args.command {
        ZtocCommand::Build(args) => build(args, access, shown),
        ZtocCommand::Info(args) => info(args),
        ZtocCommand::Ls(args) => ls(args),
        ZtocCommand::Cat(args) => cat(args, shown),
        ZtocCommand::Verify(args) => verify(args),
    }
}

fn build(args: &Build, access: &Access, shown: &Shown) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Built {
        layer: Digest,
        layer_size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        diff_id: Option<Digest>,
        ztoc: sociable_soci::inspect::ZtocInfo,
    }
    let settings = IndexSettings {
        diff_id: args.diff_id,
        ..args.ztoc.settings(access, shown)?
    };
    let run = shown.run(0);
    let indexed = if args.layer.as_os_str() == "-" {
        single::index_layer(opened::stdin()?, &settings, run)
    } else {
        let file = File::open(&args.layer).map_err(CliError::io("open", args.layer.display()))?;
        if let Ok(metadata) = file.metadata() {
            run.progress.event(&sociable_soci::Event::Plan {
                layers: 1,
                bytes: metadata.len(),
            });
        }
        single::index_layer(file, &settings, run)
    };
    let place = args.layer.display();
    let indexed = indexed.map_err(|error| {
        if run.cancel.is_cancelled() {
            return CliError::from(sociable_soci::Error::Cancelled);
        }
        let failed = CliError::failed(format!("{place} cannot be indexed: {}", chain(&error)));
        match index_hint(&error) {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    })?;
    let encoded = settings
        .encode(&indexed.ztoc)
        .map_err(|e| CliError::failed(format!("the zTOC of {place} cannot be written: {e}")))?;
    if let Some(path) = &args.output {
        output::File::begin(path)?.write(|out| encoded.write_to(out))?;
    }
    let digest = Digest::from_sha256(encoded.digest().0);
    shown.finish();
    shown.spent();
    let diff_id = indexed.diff_id.map(|sum| Digest::from_sha256(sum.0));
    if args.json {
        return output::print_json(&Built {
            layer: Digest::from_sha256(indexed.digest.0),
            layer_size: indexed.size,
            diff_id,
            ztoc: ztoc_info(&indexed.ztoc, digest, encoded.size()),
        });
    }
    if let Some(diff_id) = diff_id {
        output::print(&format!("diff ID {diff_id}\n"))?;
    }
    output::print(&format!("{digest} {}\n", encoded.size()))
}

fn read(path: &Path) -> Result<(Content, Digest, u64), CliError> {
    let place = path.display();
    let size = std::fs::metadata(path)
        .map_err(CliError::io("open", place))?
        .len();
    if size > format::MAX_SIZE {
        return Err(CliError::failed(format!(
            "{} has {size} bytes, and no zTOC has more than {}",
            path.display(),
            format::MAX_SIZE
        )));
    }
    let bytes = std::fs::read(path).map_err(CliError::io("read", path.display()))?;
    let content = Content::decode(&bytes)
        .map_err(|e| CliError::failed(format!("{}: {}", path.display(), chain(&e))))?;
    Ok((content, Digest::sha256_of(&bytes), bytes.len() as u64))
}

fn info(args: &Info) -> Result<(), CliError> {
    let (ztoc, digest, size) = read(&args.ztoc)?;
    let info = ztoc_info(&ztoc, digest, size);
    if args.json {
        return output::print_json(&info);
    }
    let mut out = String::new();
    let _ = writeln!(out, "zTOC       {digest}  {}", text::size(size));
    let _ = writeln!(
        out,
        "built by   {}",
        text::name(info.build_tool_identifier.as_bytes())
    );
    let _ = writeln!(
        out,
        "layer      {}, {} ({} of tar)",
        info.compression,
        text::size(ztoc.compressed_size),
        text::size(info.uncompressed_size)
    );
    let spans = &info.spans;
    let _ = writeln!(
        out,
        "spans      {} of {} to {}, median {}; asked for every {}",
        spans.count,
        text::size(spans.smallest),
        text::size(spans.largest),
        text::size(spans.median),
        text::size(u64::try_from(info.span_size).unwrap_or(0))
    );
    let entries = &info.entries;
    let _ = writeln!(
        out,
        "entries    {}: {} files, {} directories, {} links, {} others",
        entries.count, entries.files, entries.directories, entries.links, entries.others
    );
    output::print(&out)
}

fn ls(args: &List) -> Result<(), CliError> {
    let (ztoc, ..) = read(&args.ztoc)?;
    let mut out = String::new();
    for entry in &ztoc.entries {
        let span = ztoc.span_of(entry.offset);
        let target = if entry.linkname.is_empty() {
            String::new()
        } else {
            format!(" -> {}", text::name(&entry.linkname))
        };
        let _ = writeln!(
            out,
            "{:<8} {:>12} span {span:<5} {}{target}",
            entry.kind.as_str(),
            entry.size,
            text::name(&entry.name)
        );
    }
    output::print(&out)
}

fn cat(args: &Read, shown: &Shown) -> Result<(), CliError> {
    let (ztoc, ..) = read(&args.ztoc)?;
    let layer = File::open(&args.layer).map_err(CliError::io("open", args.layer.display()))?;
    let tree = Tree::merge(&[Some(&ztoc.entries[..])]).map_err(sociable_soci::Error::from)?;
    let found = tree
        .resolve(&args.path)
        .and_then(|node| tree.content(node))
        .map_err(sociable_soci::Error::from)?;
    let wrong = |error: sociable_ztoc::ReadError| match error {
        sociable_ztoc::ReadError::Write(error) => CliError::stdout(error),
        error => CliError::failed(format!("{}: {}", args.layer.display(), chain(&error))),
    };
    let mut reader = LayerReader::open(&ztoc, layer).map_err(wrong)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    reader
        .copy_entry(&ztoc.entries[found.1], &mut out)
        .map_err(wrong)?;
    out.flush().map_err(CliError::stdout)?;
    if shown.verbose {
        let cost = reader.cost();
        shown.line(&format!(
            "read {} of {} ({} of {})",
            text::size(cost.bytes),
            text::size(ztoc.compressed_size),
            cost.spans,
            text::count(ztoc.spans.len(), "span")
        ));
    }
    Ok(())
}

fn verify(args: &Verify) -> Result<(), CliError> {
    let (ztoc, ..) = read(&args.ztoc)?;
    let layer = File::open(&args.layer).map_err(CliError::io("open", args.layer.display()))?;
    let (ztoc_place, layer_place) = (args.ztoc.display(), args.layer.display());
    match check_ztoc(layer, &ztoc) {
        Ok(()) => output::print(&format!(
            "{ztoc_place}: {} and {} entries of {layer_place}: all claims hold\n",
            text::count(ztoc.spans.len(), "span"),
            ztoc.entries.len()
        )),
        Err(what) => Err(CliError::failed(format!(
            "{ztoc_place} is not the zTOC of {layer_place}: {what}"
        ))),
    }
}
