//! The connection: HTTP/2 over the pipes that are this process's standard input and output, BuildKit being the server.

use std::io;

use hyper_util::rt::TokioIo;
use rustix::io::fcntl_dupfd_cloexec;
use tokio::net::unix::pipe;
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// Connects. It can be done once in a process.
pub(crate) async fn connect() -> Result<Channel, Error> {
    let failed = |error: io::Error| Error::Connection(error.into());
    // Copies: closing ours at the end must not close what the process began with.
    let input = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|e| failed(e.into()))?;
    let output = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(|e| failed(e.into()))?;
    let input = pipe::Receiver::from_owned_fd(input).map_err(failed)?;
    let output = pipe::Sender::from_owned_fd(output).map_err(failed)?;
    let mut pipes = Some(TokioIo::new(tokio::io::join(input, output)));
    let connector = tower::service_fn(move |_| {
        let pipes = pipes.take();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "BuildKit has gone");
        async move { pipes.ok_or_else(gone) }
    });
    // The address is not looked at, but has to be one.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::Connection(error.into()))
}
