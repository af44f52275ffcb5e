//! The HTTP client of the command and of the service.

use std::sync::Once;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Error};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that trusts what the system trusts and never follows a redirect: credentials go where they were meant to.
pub(crate) fn client() -> Result<Client, Error> {
    use_ring();
    // Where the system trusts nobody, as in a slim container, plain HTTP still works, and HTTPS says whom it cannot trust.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}

fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .user_agent(concat!("entra-gate/", env!("CARGO_PKG_VERSION")))
}

/// Lets every client of this process speak TLS by ring.
pub(crate) fn use_ring() {
    static PROVIDER: Once = Once::new();
    // It fails when there is one already, which then does.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
