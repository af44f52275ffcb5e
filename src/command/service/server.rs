//! Listening: connections with limits, and an end that lets requests finish.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Connections at a time. A gate holds one or two.
const MOST_CONNECTIONS: usize = 8_192;
/// How long a request's headers may take to arrive, and how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(30);
/// How long requests may go on after the end was announced.
const FAREWELL: Duration = Duration::from_secs(10);
/// After an accept failed, for lack of file descriptors for example.
const BREATH: Duration = Duration::from_millis(100);

/// A place to listen.
pub(crate) struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Takes the address.
    pub(crate) async fn bind(address: SocketAddr, router: Router) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, router })
    }

    /// The address that was taken.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the end is announced, and then lets requests finish.
    pub(crate) async fn run(self, mut end: watch::Receiver<bool>) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(64 * 1024);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).keep_alive_interval(HEADERS);
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = end.wait_for(|end| *end) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    sleep(BREATH).await;
                    continue;
                }
            };
            // Whoever finds no room is turned away at once: a gate asks again, and a person sees it.
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                warn!("too many connections: one was closed");
                continue;
            };
            let router = TowerToHyperService::new(self.router.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), router).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "a connection ended badly");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        if timeout(FAREWELL, graceful.shutdown()).await.is_err() {
            warn!("some requests were not finished");
        }
    }
}
