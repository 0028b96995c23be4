//! What is traced: a directory, and how its files are read.

use std::path::{Path, PathBuf};

use clap::Args;
use sociable_trace::{Directory, Error};

use crate::error::CliError;
use crate::text::parse_size;

/// The root, and the kernel's read-ahead.
#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    /// The root directory of an image, unpacked
    #[arg(value_name = "ROOT")]
    root: PathBuf,
    /// Record what the kernel reads ahead, too, up to so much: 128KiB is what soci-snapshotter is asked for; 0 records
    /// the pages that the program itself touched
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0")]
    read_ahead: u64,
}

impl RootArgs {
    pub(super) fn open(&self) -> Result<Directory, CliError> {
        Directory::open(&self.root).map_err(|e| failed(&e))
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    pub(super) fn read_ahead(&self) -> u32 {
        u32::try_from(self.read_ahead).unwrap_or(u32::MAX)
    }
}

/// An error of the recorder, and what to do.
pub(super) fn failed(error: &Error) -> CliError {
    let hint = match error {
        Error::Denied { .. } => {
            "run as root, or in a user namespace of your own: unshare --map-root-user --mount sociable trace run …"
        }
        Error::Command { .. } => {
            "the program must be in the root, in its PATH, with its interpreter and libraries"
        }
        Error::Root { .. } => {
            "name the unpacked root of an image: docker export, or `umoci unpack`, makes one"
        }
        Error::Mount { .. } => {
            "without root this needs fusermount3 (package fuse3), and a mount point that is yours"
        }
        _ => return CliError::failed(error.to_string()),
    };
    CliError::failed(error.to_string()).hint(hint)
}
