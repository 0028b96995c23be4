//! Being a frontend.

use std::process::ExitCode;

use crate::error::chain;
use crate::{Error, Gateway, Options, Reply};

/// Runs a frontend: connects, lets `build` do its work, returns what comes of it, be it a result or an error.
///
/// Nothing else may write to standard output. What is written to standard error goes to BuildKit's own log.
#[allow(clippy::print_stderr, reason = "BuildKit's log")]
pub fn run(build: impl AsyncFnOnce(&Gateway, &Options) -> Result<Reply, Error>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(answer(build)),
        Err(error) => Err(Error::Connection(error.into())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // BuildKit's log is all that is left.
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn answer(
    build: impl AsyncFnOnce(&Gateway, &Options) -> Result<Reply, Error>,
) -> Result<(), Error> {
    let gateway = Gateway::connect().await?;
    let outcome = build(&gateway, &Options::from_env()).await;
    gateway.answer(outcome).await
}
