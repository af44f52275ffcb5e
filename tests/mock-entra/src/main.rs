//! Runs the mock and its upstream until it is stopped.

use std::io;
use std::net::SocketAddr;

use clap::Parser;
use mock_entra::{MockEntra, Upstream};

/// A mock of Microsoft Entra ID, faults included, and an upstream that echoes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the mock of Entra ID listens.
    #[arg(long, env = "MOCK_ENTRA_LISTEN", default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Where the upstream listens.
    #[arg(long, env = "MOCK_UPSTREAM_LISTEN", default_value = "127.0.0.1:9101")]
    upstream_listen: SocketAddr,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let entra = MockEntra::start(arguments.listen).await?;
    let upstream = Upstream::start(arguments.upstream_listen).await?;
    println!("mock-entra: Entra ID on http://{}, upstream on http://{}", entra.addr(), upstream.addr());
    stopped().await
}

/// Docker stops with SIGTERM, which process 1 of a container ignores unless it asks for it.
#[cfg(unix)]
async fn stopped() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn stopped() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
