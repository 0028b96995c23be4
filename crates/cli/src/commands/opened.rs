//! Images that are only read: a stream is unpacked into a temporary layout first, and what a daemon exports is kept in a
//! temporary file.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Read};
use std::os::fd::AsFd as _;

use sociable_oci::docker_archive::DockerArchive;
use sociable_oci::oci_dir::{OciDir, OciDirSink};
use sociable_oci::{Access, IndexUpdate, Sink, Source, StreamReader, Transport};
use sociable_soci::Image;
use sociable_soci::repack::Plain;
use tempfile::TempDir;

use crate::args::is_stream;
use crate::error::CliError;

/// What standard input is called in messages.
pub(crate) const STDIN: &str = "standard input";

/// A source, and the image in it that is meant.
pub(crate) struct Opened {
    pub(crate) source: Box<dyn Source>,
    pub(crate) image: Image,
    pub(crate) plain: Plain,
    _unpacked: Option<TempDir>,
}

impl Opened {
    pub(crate) fn new(transport: &Transport, access: &Access) -> Result<Self, CliError> {
        let (source, unpacked) = open(transport, access)?;
        let image = Image::open(&*source, transport.tag())?;
        Ok(Self {
            source,
            image,
            plain: plain(transport),
            _unpacked: unpacked,
        })
    }
}

/// Opens a source, and gives the directory that it may be unpacked into.
pub(crate) fn open(
    transport: &Transport,
    access: &Access,
) -> Result<(Box<dyn Source>, Option<TempDir>), CliError> {
    if let Some(source) = transport.open(access)? {
        return Ok((source, None));
    }
    if let Some(export) = transport.export()? {
        let archive = DockerArchive::spool(export, &transport.to_string(), None)?;
        return Ok((Box::new(archive), None));
    }
    let (source, dir) = unpack()?;
    Ok((source, Some(dir)))
}

fn unpack() -> Result<(Box<dyn Source>, TempDir), CliError> {
    let dir = tempfile::Builder::new()
        .prefix("sociable-")
        .tempdir()
        .map_err(CliError::io("create", "a temporary directory"))?;
    let sink = OciDirSink::create(dir.path())?;
    let index = StreamReader::new(stdin()?, STDIN).unpack_into(&sink)?;
    // The stream's own index.json, whatever it lists.
    let mut entries = index.manifests.into_iter();
    if let Some(first) = entries.next() {
        let tag = first.tag().map(str::to_owned);
        let mut update = IndexUpdate::new(first).tagged(tag);
        for entry in entries {
            update = update.also(entry);
        }
        Sink::finish(Box::new(sink), &update)?;
    }
    Ok((Box::new(OciDir::open(dir.path())?), dir))
}

/// Opens a destination.
pub(crate) fn create(transport: &Transport, access: &Access) -> Result<Box<dyn Sink>, CliError> {
    if is_stream(transport) && std::io::stdout().is_terminal() {
        return Err(CliError::failed(
            "standard output is a terminal, and - writes an archive to it",
        )
        .hint("redirect it: sociable … - > image.tar"));
    }
    Ok(transport.create(access)?)
}

/// What happens to layers of a source that are plain tars.
pub(crate) fn plain(transport: &Transport) -> Plain {
    if transport.has_plain_layers() {
        Plain::Pack
    } else {
        Plain::Keep
    }
}

/// A source without random access, and what it is called in messages.
pub(crate) fn stream(transport: &Transport) -> Result<(Box<dyn Read + Send>, String), CliError> {
    Ok(match transport.export()? {
        Some(export) => (export, transport.to_string()),
        None => (Box::new(stdin()?), STDIN.to_owned()),
    })
}

/// Standard input, for an archive or a layer.
pub(crate) fn stdin() -> Result<impl Read + Send, CliError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::failed(
            "standard input is a terminal, and - reads an archive from it",
        )
        .hint("pipe one into sociable: docker buildx build -o type=oci,dest=- . | sociable …"));
    }
    let fd = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(CliError::io("open", STDIN))?;
    Ok(BufReader::with_capacity(1 << 18, File::from(fd)))
}
