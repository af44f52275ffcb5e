//! Hearing at once of what another process has changed. Nobody relies on it: whoever hears nothing looks now and then.

use std::future;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::sleep;
use tracing::warn;

use super::{CONNECTING, Kind, Store};

/// The channel of the database's triggers.
const CHANNEL: &str = "entra_gate_revocations";
/// After the connection was lost.
const BREATH: Duration = Duration::from_secs(1);

/// What other processes tell.
pub(crate) struct News {
    kind: Kind,
    listener: Option<PgListener>,
}

impl Store {
    /// What other processes tell from now on.
    pub(crate) fn news(&self) -> News {
        News { kind: self.kind.clone(), listener: None }
    }
}

impl News {
    /// Returns when there may be news, several at once included. What is not told, for lack of a connection, is not made
    /// up for; it may be dropped at any time.
    pub(crate) async fn next(&mut self) {
        let Kind::Postgres(options) = &self.kind else {
            return future::pending().await;
        };
        loop {
            let heard = match &mut self.listener {
                None => {
                    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECTING);
                    let listening = async {
                        let mut listener =
                            PgListener::connect_with(&pool.connect_lazy_with(options.as_ref().clone())).await?;
                        listener.listen(CHANNEL).await?;
                        Ok::<_, sqlx::Error>(listener)
                    };
                    match listening.await {
                        // What was told meanwhile was not heard.
                        Ok(listener) => {
                            self.listener = Some(listener);
                            return;
                        }
                        Err(error) => Err(error),
                    }
                }
                Some(listener) => listener.try_recv().await,
            };
            match heard {
                Ok(Some(_)) => {
                    while self.listener.as_mut().and_then(PgListener::next_buffered).is_some() {}
                    return;
                }
                Ok(None) => {
                    warn!("the connection that tells of changes was lost");
                    self.listener = None;
                }
                Err(error) => {
                    warn!(%error, "the database does not tell of changes");
                    self.listener = None;
                    sleep(BREATH).await;
                }
            }
        }
    }
}
