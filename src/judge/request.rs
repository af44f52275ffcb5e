//! What is judged: the facts of a request, taken once.

use std::fmt;

use crate::policy::sources::Carried;

/// The facts of a request that a decision needs. A request that waits for keys is judged again from this.
#[derive(Clone)]
pub struct Request {
    /// `:method`.
    pub method: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`, with its query but without tokens.
    pub path: String,
    /// Whether it is a CORS preflight: `OPTIONS` with `origin` and `access-control-request-method`.
    pub preflight: bool,
    /// What it carries where tokens may be.
    pub carried: Carried,
}

/// Neither credentials nor queries are shown.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        formatter.debug_struct("Request").field("method", &self.method).field("path", &path).finish_non_exhaustive()
    }
}
