//! What is traced: a directory or an image, and how its files are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sociable_oci::document::RunConfig;
use sociable_oci::{Access, Platform, Transport};
use sociable_soci::image::{Image, config};
use sociable_trace::{Directory, Error, Layered, Root};

use crate::commands::opened;
use crate::error::CliError;
use crate::text::parse_size;

/// The root, and the kernel's read-ahead.
#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    /// The root directory of an image, unpacked; or an image, such as oci:app or docker-daemon:app
    #[arg(value_name = "DIR|IMAGE", value_parser = place)]
    root: Place,
    /// The platform, if the image has several and this machine's is not meant
    #[arg(short, long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Record what the kernel reads ahead, too, up to so much: 128KiB is what soci-snapshotter is asked for; 0 records
    /// the pages that programs themselves touched
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0")]
    read_ahead: u64,
}

#[derive(Debug, Clone)]
enum Place {
    Directory(PathBuf),
    Image(Box<Transport>),
}

/// A root, and what its image says of how it is run.
pub(super) struct Opened {
    pub(super) root: Arc<dyn Root>,
    pub(super) config: RunConfig,
}

fn place(text: &str) -> Result<Place, String> {
    // A directory's name need not be told apart by a prefix, and what there is counts.
    if Path::new(text).is_dir() {
        return Ok(Place::Directory(text.into()));
    }
    match text.parse::<Transport>() {
        Ok(Transport::Stream) => Err("an image on standard input cannot be run".to_owned()),
        Ok(image) => Ok(Place::Image(Box::new(image))),
        Err(_) if !text.contains(':') || text.starts_with(['.', '/']) => {
            Err("there is no such directory, and it is no image such as oci:DIR".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

impl RootArgs {
    pub(super) fn open(&self, access: &Access) -> Result<Opened, CliError> {
        let transport = match &self.root {
            Place::Directory(path) => {
                return Ok(Opened {
                    root: Arc::new(Directory::open(path).map_err(failed)?),
                    config: RunConfig::default(),
                });
            }
            Place::Image(transport) => transport,
        };
        let (source, _) = opened::open(transport, access)?;
        let image = Image::open(&*source, transport.tag())?;
        let of = image.one(&*source, self.platform.as_ref())?;
        let config = config(&*source, &of.manifest)?.config;
        Ok(Opened {
            root: Arc::new(Layered::open(source, &image, &of).map_err(failed)?),
            config,
        })
    }

    pub(super) fn name(&self) -> String {
        match &self.root {
            Place::Directory(path) => path.display().to_string(),
            Place::Image(transport) => transport.to_string(),
        }
    }

    pub(super) fn read_ahead(&self) -> u32 {
        u32::try_from(self.read_ahead).unwrap_or(u32::MAX)
    }
}

/// An error of the recorder, and what to do.
pub(super) fn failed(error: Error) -> CliError {
    let hint = match &error {
        Error::Denied { what, .. } if what.contains("/dev/fuse") => {
            "/dev/fuse must be yours to read and write, as it is on most systems: chmod a+rw /dev/fuse, or run as root"
        }
        Error::Denied { .. } => {
            "run as root, or in a user namespace of your own: unshare --map-root-user --mount sociable trace run …"
        }
        Error::Command { .. } => {
            "the program must be in the root, in its PATH, with its interpreter and libraries; in a user namespace only --user root works"
        }
        Error::Mount { .. } => {
            "without root this needs fusermount3 (package fuse3), and a mount point that is yours"
        }
        Error::NoUser { .. } => "name the user by number: --user UID:GID",
        Error::Unseen(_) => "unpack the image, and trace the directory",
        Error::Image(_) => {
            return match error {
                Error::Image(error) => error.into(),
                error => CliError::failed(error.to_string()),
            };
        }
        _ => return CliError::failed(error.to_string()),
    };
    CliError::failed(error.to_string()).hint(hint)
}
