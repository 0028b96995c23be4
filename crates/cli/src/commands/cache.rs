//! `sociable cache`.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::args::CacheArgs;
use crate::error::CliError;
use crate::progress::Shown;
use crate::{output, text};

/// Shows or empties the store of zTOCs that saves reading layers again
#[derive(Debug, Args)]
pub(crate) struct CacheCommand {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says where it is and how much it holds
    Info {
        #[command(flatten)]
        cache: CacheArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes everything in it
    Clear {
        #[command(flatten)]
        cache: CacheArgs,
    },
}

pub(crate) fn run(args: &CacheCommand, shown: &Shown) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Info {
        directory: String,
        ztocs: u64,
        bytes: u64,
        limit: u64,
    }
    match &args.command {
        Action::Info { cache, json } => {
            let opened = cache.open()?;
            let usage = opened.usage()?;
            let info = Info {
                directory: opened.dir().display().to_string(),
                ztocs: usage.entries,
                bytes: usage.bytes,
                limit: cache.cache_limit,
            };
            if *json {
                return output::print_json(&info);
            }
            output::print(&format!(
                "{}: {} zTOCs, {} of at most {}\n",
                info.directory,
                info.ztocs,
                text::size(info.bytes),
                text::size(info.limit)
            ))
        }
        Action::Clear { cache } => {
            let opened = cache.open()?;
            let removed = opened.clear()?;
            shown.line(&format!(
                "{}: removed {} zTOCs, {}",
                opened.dir().display(),
                removed.entries,
                text::size(removed.bytes)
            ));
            Ok(())
        }
    }
}
