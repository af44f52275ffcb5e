//! Every cause for which a request is refused, with its facts, and the stable code of each.

use super::challenge::ClaimsChallenge;
use super::permissions::Shortfall;
use super::requirement::ClaimFault;
use crate::entra::TokenVersion;
use crate::entra::cloud::Instance;
use crate::inquiry::Fault;
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::Malformed;
use crate::policy::provider::Kind;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)*) => {
        /// The stable word for a cause: in the body, the metric, the log line and the filter state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word itself.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

reasons! {
    /// The token's algorithm is not configured.
    AlgorithmNotAllowed => "algorithm_not_allowed",
    /// The token is for another API.
    AudienceNotAllowed => "audience_not_allowed",
    /// A claim that is needed is missing.
    ClaimMissing => "claim_missing",
    /// A claim has a value that is not accepted.
    ClaimNotAllowed => "claim_not_allowed",
    /// The token was issued to a client that is not configured.
    ClientNotAllowed => "client_not_allowed",
    /// Whoever can vouch for the token has not answered.
    IntrospectionUnavailable => "introspection_unavailable",
    /// The issuer is not configured.
    IssuerNotAllowed => "issuer_not_allowed",
    /// The key is known, but may not sign this token.
    KeyNotAllowed => "key_not_allowed",
    /// No key has the token's `kid`.
    KeyUnknown => "key_unknown",
    /// The gate has no keys to judge with.
    KeysUnavailable => "keys_unavailable",
    /// The credentials cannot be read.
    RequestMalformed => "request_malformed",
    /// The gate does not know what is revoked.
    RevocationUnavailable => "revocation_unavailable",
    /// The token is good, but lacks a role.
    RoleInsufficient => "role_insufficient",
    /// The token is good, but lacks a scope.
    ScopeInsufficient => "scope_insufficient",
    /// The signature is not the key's.
    SignatureInvalid => "signature_invalid",
    /// The user must sign in in a stronger way.
    StepUpRequired => "step_up_required",
    /// The tenant is not configured.
    TenantNotAllowed => "tenant_not_allowed",
    /// The token's time is over.
    TokenExpired => "token_expired",
    /// Whoever can vouch for the token does not.
    TokenInactive => "token_inactive",
    /// The token is good, but of a user where applications are asked for, or the other way round.
    TokenKindNotAllowed => "token_kind_not_allowed",
    /// The token lives longer than is accepted.
    TokenLifetimeTooLong => "token_lifetime_too_long",
    /// The token cannot be read.
    TokenMalformed => "token_malformed",
    /// No token was sent.
    TokenMissing => "token_missing",
    /// The token's time has not begun.
    TokenNotYetValid => "token_not_yet_valid",
    /// The token was revoked.
    TokenRevoked => "token_revoked",
    /// It is a token of another kind than an access token.
    TokenTypeNotAllowed => "token_type_not_allowed",
    /// The token's version is not configured.
    TokenVersionNotAllowed => "token_version_not_allowed",
}

/// A cause with its facts. Facts from tokens are unverified, and are shown only where the operator asked for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// See [`Reason::AlgorithmNotAllowed`].
    AlgorithmNotAllowed {
        /// `alg`
        found: String,
        /// The configured ones.
        allowed: Vec<Algorithm>,
    },
    /// See [`Reason::AudienceNotAllowed`].
    AudienceNotAllowed {
        /// `aud`
        found: Vec<String>,
        /// The configured ones.
        expected: Vec<String>,
        /// What the mistake probably is.
        hint: AudienceHint,
    },
    /// See [`Reason::ClaimMissing`].
    ClaimMissing {
        /// Its name.
        claim: &'static str,
    },
    /// See [`Reason::ClaimNotAllowed`].
    ClaimNotAllowed {
        /// Its name.
        claim: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// See [`Reason::ClientNotAllowed`].
    ClientNotAllowed {
        /// `azp` or `appid`
        found: String,
        /// The configured ones.
        expected: Vec<String>,
    },
    /// See [`Reason::RoleInsufficient`], [`Reason::ScopeInsufficient`] and [`Reason::TokenKindNotAllowed`].
    Insufficient(Shortfall),
    /// See [`Reason::AlgorithmNotAllowed`]: the token is encrypted in a way that is not supported.
    EncryptionNotAllowed {
        /// `alg`
        alg: String,
        /// `enc`
        enc: String,
    },
    /// See [`Reason::IntrospectionUnavailable`].
    IntrospectionUnavailable {
        /// Who was asked.
        from: String,
        /// Why there is no answer.
        fault: Fault,
        /// When asking again makes sense, in seconds.
        retry_after: u64,
    },
    /// See [`Reason::IssuerNotAllowed`].
    IssuerNotAllowed(IssuerFault),
    /// See [`Reason::KeyNotAllowed`].
    KeyNotAllowed(KeyFault),
    /// See [`Reason::KeyUnknown`].
    KeyUnknown(Box<MissingKey>),
    /// See [`Reason::KeysUnavailable`].
    KeysUnavailable {
        /// Where the keys should come from.
        document: String,
        /// When asking again makes sense, in seconds.
        retry_after: u64,
    },
    /// See [`Reason::RequestMalformed`].
    RequestMalformed(RequestFault),
    /// See [`Reason::ClaimMissing`] and [`Reason::ClaimNotAllowed`]: a claim that the configuration asks for.
    RequiredClaim(ClaimFault),
    /// See [`Reason::RevocationUnavailable`].
    RevocationUnavailable {
        /// Where revocations should come from.
        feed: String,
        /// How old what is known is, in seconds; none before anything was.
        age: Option<u64>,
        /// When asking again makes sense, in seconds.
        retry_after: u64,
    },
    /// See [`Reason::SignatureInvalid`].
    SignatureInvalid {
        /// `kid`
        kid: String,
    },
    /// See [`Reason::RevocationUnavailable`]: the token's status list cannot be had.
    StatusUnavailable {
        /// The list.
        list: String,
        /// Why there is none.
        fault: Fault,
        /// When asking again makes sense, in seconds.
        retry_after: u64,
    },
    /// See [`Reason::StepUpRequired`].
    StepUpRequired {
        /// The authentication context that the rule asks for.
        context: String,
        /// `acrs`
        found: Vec<String>,
        /// How the client gets a token that would pass; none if it would not know what to do with that.
        challenge: Option<Box<ClaimsChallenge>>,
    },
    /// See [`Reason::TenantNotAllowed`].
    TenantNotAllowed {
        /// The token's tenant.
        found: String,
        /// The configured ones; empty for «every organization».
        allowed: Vec<String>,
    },
    /// See [`Reason::TokenExpired`].
    TokenExpired {
        /// `exp`, Unix seconds.
        expires: u64,
        /// Unix seconds.
        now: u64,
        /// Seconds.
        skew: u64,
    },
    /// See [`Reason::TokenInactive`].
    TokenInactive {
        /// Who was asked.
        by: String,
        /// The status with which the token itself was refused, if it was.
        status: Option<u16>,
    },
    /// See [`Reason::TokenLifetimeTooLong`].
    TokenLifetimeTooLong {
        /// `exp` − `iat`, seconds.
        lifetime: u64,
        /// Seconds.
        longest: u64,
    },
    /// See [`Reason::TokenMalformed`].
    TokenMalformed(TokenFault),
    /// See [`Reason::TokenMissing`].
    TokenMissing {
        /// How clients send a token, in words.
        usage: String,
    },
    /// See [`Reason::TokenNotYetValid`].
    TokenNotYetValid {
        /// `nbf`, Unix seconds.
        not_before: u64,
        /// Unix seconds.
        now: u64,
        /// Seconds.
        skew: u64,
    },
    /// See [`Reason::TokenRevoked`].
    TokenRevoked {
        /// The kind of subject that revokes it.
        subject: &'static str,
        /// How the client gets a new token; none if it would not know what to do with that.
        challenge: Option<Box<ClaimsChallenge>>,
    },
    /// See [`Reason::TokenTypeNotAllowed`].
    TokenTypeNotAllowed(TypeFault),
    /// See [`Reason::TokenVersionNotAllowed`].
    TokenVersionNotAllowed {
        /// The token's version.
        found: TokenVersion,
        /// The provider that accepts the other one.
        provider: String,
        /// `aud`: the API whose registration says which version its tokens have.
        audience: String,
    },
}

/// A key that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey {
    /// `kid`
    pub kid: String,
    /// Where the keys come from: the key document, or what stands for it.
    pub document: String,
    /// What kind of provider they are of.
    pub provider: Kind,
    /// How many keys are held.
    pub keys: usize,
    /// How old they are, in seconds; none for inline keys.
    pub age: Option<u64>,
    /// In how many seconds an unknown key may cause the next refresh; none before anybody asked.
    pub next_refresh: Option<u64>,
}

/// What is wrong with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// The credential holds other characters than `b64token` allows.
    CredentialCharacters,
    /// The place of the token is there, the token is not.
    EmptyCredential,
    /// A query parameter that only some upstreams would read as the token's.
    ParameterSpelling,
    /// The path can be read in too many ways.
    Path,
    /// More than one credential.
    SeveralCredentials,
}

/// What is wrong with the token's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// A claim has the wrong type.
    ClaimType {
        /// Its name.
        claim: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Two spellings of one claim.
    ClaimSpellings {
        /// The claim.
        claim: &'static str,
    },
    /// Not a compact JWS.
    Form(Malformed),
}

/// Why a token is not an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeFault {
    /// It has the marks of an ID token.
    IdToken,
    /// Its payload is a token itself (`cty`).
    Nested,
    /// `typ` says so.
    Typ(String),
}

/// Why an issuer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFault {
    /// `iss`
    pub found: String,
    /// What would be accepted: issuers and templates.
    pub expected: Vec<String>,
    /// The kinds of providers that would be accepted.
    pub kinds: Vec<Kind>,
    /// What the mistake probably is.
    pub hint: IssuerHint,
}

/// What kind of wrong issuer it is (entra diagnoses 6 to 10 and 12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerHint {
    /// A B2C token where none is accepted.
    B2c,
    /// An External ID token where none is accepted.
    ExternalId,
    /// An External ID token with the name host in its issuer, or of another tenant's host.
    ExternalIdHost,
    /// `iss`, `tid` and `ver` do not fit together.
    Inconsistent {
        /// The claim that contradicts the issuer.
        claim: &'static str,
        /// Its value.
        found: String,
    },
    /// Metadata states another issuer than the token.
    NotAsStated {
        /// That issuer.
        stated: String,
    },
    /// Accepted elsewhere, not by this rule.
    OtherRule {
        /// The provider that it belongs to.
        provider: String,
    },
    /// Accepted by this rule, not from the place where the token was.
    OtherSource {
        /// The provider that it belongs to.
        provider: String,
    },
    /// Another cloud.
    OtherCloud {
        /// The cloud of the issuer.
        found: Instance,
    },
    /// Nearly right: a slash, letter case or port.
    Spelling,
    /// Not an issuer of Microsoft's, or none that is configured.
    Unknown,
    /// The placeholder was never replaced.
    Unresolved,
    /// A workforce token where none is accepted.
    Workforce,
}

/// What the mistake about an audience probably is (entra diagnoses 3 to 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceHint {
    /// The same audience in another form: with or without `api://`, or a trailing slash.
    Form,
    /// A token for Microsoft Graph or Azure Resource Manager.
    Graph,
    /// An ID token: its audience is the client.
    IdToken,
    /// Simply another one.
    Other,
    /// Accepted elsewhere, not by this rule.
    OtherRule,
}

/// Why a known key may not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is bound to another algorithm or is of another type.
    Algorithm {
        /// `kid`
        kid: String,
    },
    /// It belongs to another cloud instance than its document.
    Cloud {
        /// `kid`
        kid: String,
        /// The key's.
        found: String,
        /// The document's.
        expected: String,
    },
    /// It may only sign for another issuer.
    Issuer {
        /// `kid`
        kid: String,
        /// The key's issuer.
        bound_to: String,
        /// The token's.
        found: String,
    },
}

impl Refusal {
    /// When asking again makes sense, in seconds, where the gate lacks something.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        if let Self::IntrospectionUnavailable { retry_after, .. }
        | Self::KeysUnavailable { retry_after, .. }
        | Self::RevocationUnavailable { retry_after, .. }
        | Self::StatusUnavailable { retry_after, .. } = self
        {
            Some((*retry_after).max(1))
        } else {
            None
        }
    }

    /// What the client is told to ask its authority for, if it acts on that.
    #[must_use]
    pub fn claims_challenge(&self) -> Option<&ClaimsChallenge> {
        if let Self::StepUpRequired { challenge, .. } | Self::TokenRevoked { challenge, .. } = self {
            challenge.as_deref()
        } else {
            None
        }
    }

    /// The stable word.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AlgorithmNotAllowed { .. } => Reason::AlgorithmNotAllowed,
            Self::AudienceNotAllowed { .. } => Reason::AudienceNotAllowed,
            Self::ClaimMissing { .. } => Reason::ClaimMissing,
            Self::ClaimNotAllowed { .. } => Reason::ClaimNotAllowed,
            Self::ClientNotAllowed { .. } => Reason::ClientNotAllowed,
            Self::Insufficient(shortfall) => shortfall.reason(),
            Self::EncryptionNotAllowed { .. } => Reason::AlgorithmNotAllowed,
            Self::IntrospectionUnavailable { .. } => Reason::IntrospectionUnavailable,
            Self::IssuerNotAllowed(_) => Reason::IssuerNotAllowed,
            Self::KeyNotAllowed(_) => Reason::KeyNotAllowed,
            Self::KeyUnknown(_) => Reason::KeyUnknown,
            Self::KeysUnavailable { .. } => Reason::KeysUnavailable,
            Self::RequestMalformed(_) => Reason::RequestMalformed,
            Self::RequiredClaim(fault) => fault.reason(),
            Self::RevocationUnavailable { .. } | Self::StatusUnavailable { .. } => Reason::RevocationUnavailable,
            Self::SignatureInvalid { .. } => Reason::SignatureInvalid,
            Self::StepUpRequired { .. } => Reason::StepUpRequired,
            Self::TenantNotAllowed { .. } => Reason::TenantNotAllowed,
            Self::TokenExpired { .. } => Reason::TokenExpired,
            Self::TokenInactive { .. } => Reason::TokenInactive,
            Self::TokenLifetimeTooLong { .. } => Reason::TokenLifetimeTooLong,
            Self::TokenMalformed(_) => Reason::TokenMalformed,
            Self::TokenMissing { .. } => Reason::TokenMissing,
            Self::TokenNotYetValid { .. } => Reason::TokenNotYetValid,
            Self::TokenRevoked { .. } => Reason::TokenRevoked,
            Self::TokenTypeNotAllowed(_) => Reason::TokenTypeNotAllowed,
            Self::TokenVersionNotAllowed { .. } => Reason::TokenVersionNotAllowed,
        }
    }
}
