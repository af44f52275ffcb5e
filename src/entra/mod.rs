//! What is Entra's own: clouds and their hosts, tenant GUIDs, issuer templates.
//!
//! Facts only; what a provider does with them is in [`crate::policy::provider`].

pub mod cloud;
pub mod guid;
pub mod issuer;

/// The tenant of all personal Microsoft accounts.
pub const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// The version of an access token, chosen by the API's registration (`requestedAccessTokenVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenVersion {
    /// `ver` "1.0", issuer on the STS host, client in `appid`.
    V1,
    /// `ver` "2.0", issuer on the login host, client in `azp`.
    V2,
}

impl TokenVersion {
    /// The value of `ver`.
    #[must_use]
    pub fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    /// The number that configuration uses.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}
