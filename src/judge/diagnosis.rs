//! From a cause to what a developer must change, in a sentence; and to the fuller line for the operator.
//!
//! The sentence names kinds of mistakes and their fix, nothing of the token, and of the configuration nothing but kinds
//! and what a client must ask for: claims and permissions.
//! The operator's line has what was found and what was expected.

use super::excerpt;
use super::refusal::{AudienceHint, IssuerHint, KeyFault, MissingKey, Refusal, RequestFault, TokenFault, TypeFault};
use crate::entra::issuer::tenant_in;
use crate::entra::{PERSONAL_ACCOUNTS, TokenVersion};
use crate::jose::compact::{Malformed, Segment};
use crate::policy::provider::Kind;

/// Most authentication contexts that a line lists.
const MOST_CONTEXTS: usize = 5;

impl Refusal {
    /// What a developer must change.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one exhaustive table from cause to sentence")]
    pub fn sentence(&self) -> String {
        match self {
            Self::AlgorithmNotAllowed { .. } => {
                "The token's alg is not accepted here. Send the access token as Entra issued it.".into()
            }
            Self::AudienceNotAllowed { hint, .. } => match hint {
                AudienceHint::Form => {
                    "The token's aud is this API's in another form: v1 tokens carry the App ID URI (api://...), v2 tokens \
                     the application ID. Configure both forms as audiences, or request the scope of the configured one."
                        .into()
                }
                AudienceHint::Graph => {
                    "The token was issued for Microsoft Graph or Azure Resource Manager and cannot be used here. Request \
                     a scope of this API: api://<application ID>/<scope>."
                        .into()
                }
                AudienceHint::IdToken => {
                    "This looks like an ID token: its aud is the client. Send the access token instead.".into()
                }
                AudienceHint::Other => {
                    "The token was issued for another API. Request a scope of this API: api://<application ID>/<scope>."
                        .into()
                }
                AudienceHint::OtherRule => {
                    "The token's aud is accepted by this gateway, but not on this route.".into()
                }
            },
            Self::ClaimMissing { claim } => format!("The token has no {claim} claim, which is required here."),
            Self::ClaimNotAllowed { claim, .. } => format!("The token's {claim} claim has a value that is not accepted here."),
            Self::ClientNotAllowed { .. } => {
                "The token was issued to a client application that may not call this API. Have its application ID added to \
                 client_applications."
                    .into()
            }
            Self::EncryptionNotAllowed { .. } => {
                "The token is encrypted in a way that is not supported. Encrypt it with alg RSA-OAEP or RSA-OAEP-256 and \
                 enc A256GCM or A128CBC-HS256."
                    .into()
            }
            Self::IntrospectionUnavailable { .. } => {
                "The gateway cannot tell whether the token is good: whoever can vouch for it has not answered. Try again; the \
                 token may be good."
                    .into()
            }
            Self::IssuerNotAllowed(fault) => match &fault.hint {
                IssuerHint::B2c => format!(
                    "This is an Azure AD B2C token; this route accepts {}. Configure a provider of kind b2c for its tenant \
                     and policy, or sign in where this route expects it.",
                    accepted(&fault.kinds)
                ),
                IssuerHint::ExternalId => format!(
                    "This is an External ID (CIAM) token, from ciamlogin.com; this route accepts {}. Configure a provider \
                     of kind external_id for its tenant, or sign in where this route expects it.",
                    accepted(&fault.kinds)
                ),
                IssuerHint::ExternalIdHost => {
                    "This is an External ID (CIAM) token whose issuer is not on its tenant's ID host. The issuer must be \
                     https://<tenant ID>.ciamlogin.com/<tenant ID>/v2.0."
                        .into()
                }
                IssuerHint::Inconsistent { claim, .. } => format!(
                    "The token contradicts itself: its {claim} claim does not fit its issuer. Entra issues no such token: \
                     send one as it was issued, by the authority of its own tenant."
                ),
                IssuerHint::NotAsStated { .. } => {
                    "The token's issuer is not the one that the provider's metadata states. Get the token from the \
                     authority that the API's provider is configured for."
                        .into()
                }
                IssuerHint::OtherRule { .. } => {
                    "The token's issuer is accepted by this gateway, but not on this route.".into()
                }
                IssuerHint::OtherSource { .. } => {
                    "The token's issuer is accepted here, but not where the token was sent: another header, query \
                     parameter or cookie is for its tokens."
                        .into()
                }
                IssuerHint::OtherCloud { found } => format!(
                    "The token comes from another Microsoft cloud ({}) than this route accepts. Sign in to the cloud of the \
                     API's tenant.",
                    found.name()
                ),
                IssuerHint::Spelling => {
                    "The token's issuer differs from an accepted one only in spelling: a trailing slash, letter case or a \
                     port. Issuers of v1 and B2C tokens end in a slash, those of v2 tokens do not."
                        .into()
                }
                IssuerHint::Unknown => "The token's issuer is not accepted here.".into(),
                IssuerHint::Unresolved => {
                    "The token's issuer still holds a placeholder: common and organizations are for signing in, and name \
                     no issuer. Get the token from Entra, and have the accepted tenants configured."
                        .into()
                }
                IssuerHint::Workforce => format!(
                    "This is a workforce token (Entra ID); this route accepts {}. Configure a provider of kind workforce \
                     for its tenant, or sign in where this route expects it.",
                    accepted(&fault.kinds)
                ),
            },
            Self::Insufficient(shortfall) => shortfall.sentence(),
            Self::KeyNotAllowed(fault) => match fault {
                KeyFault::Algorithm { .. } => "The token's key does not fit the token's algorithm.".into(),
                KeyFault::Cloud { .. } => {
                    "The token's key belongs to another Microsoft cloud than the provider. Sign in to the cloud of the \
                     API's tenant, or have the provider's cloud set to the token's."
                        .into()
                }
                KeyFault::Issuer { .. } => {
                    "The token's key may not sign for the token's issuer: personal accounts and organizations have keys of \
                     their own. Get the token from the authority of its own tenant."
                        .into()
                }
            },
            Self::KeyUnknown(_) => {
                "The token's key is not among the provider's keys. An application with claims mapping needs app_id in the \
                 provider; B2C and External ID tokens need a provider of that kind; otherwise get a new token."
                    .into()
            }
            Self::KeysUnavailable { .. } => {
                "The gateway has no keys to check the token with: the identity provider has not answered. Try again; the \
                 token may be good."
                    .into()
            }
            Self::RequestMalformed(fault) => match fault {
                RequestFault::CredentialCharacters => {
                    "The credential holds characters that no token has: it is not of the form Bearer <token>."
                }
                RequestFault::EmptyCredential => "The place for a token is there, but holds none.",
                RequestFault::ParameterSpelling => {
                    "A query parameter is spelled so that only some servers take it for the token's. Send the token once, \
                     and not in the query where you can."
                }
                RequestFault::Path => "The path holds so many encodings that it cannot be read safely.",
                RequestFault::SeveralCredentials => "The request carries several credentials. Send one access token.",
            }
            .into(),
            Self::RequiredClaim(fault) => fault.sentence(),
            Self::RevocationUnavailable { .. } => {
                "The gateway cannot tell whether the token has been revoked: the revocation feed has not answered. Try \
                 again; the token may be good."
                    .into()
            }
            Self::SignatureInvalid { .. } => {
                "The token's signature is not valid: it was changed on the way, or not issued by this provider. A token for \
                 Microsoft Graph cannot be verified by anybody else."
                    .into()
            }
            Self::StatusUnavailable { .. } => {
                "The gateway cannot tell whether the token has been revoked: its status list could not be had. Try again; \
                 the token may be good."
                    .into()
            }
            Self::StepUpRequired { .. } => {
                "This operation asks for a stronger sign-in than the token's: its acrs claim lacks the authentication \
                 context. Sign in again with a claims request for it; a token without a user cannot have it."
                    .into()
            }
            Self::TenantNotAllowed { found, .. } if found == PERSONAL_ACCOUNTS => {
                "The token is of a personal Microsoft account, which is not accepted here. Sign in with an account of the \
                 organization."
                    .into()
            }
            Self::TenantNotAllowed { .. } => {
                "The token is of a tenant that is not accepted here. Sign in to the right tenant: use its ID in the \
                 authority, not common."
                    .into()
            }
            Self::TokenExpired { .. } => "The token has expired. Get a new one.".into(),
            Self::TokenInactive { status: None, .. } => {
                "The token is not active: its authorization server does not vouch for it. It was revoked, has expired, or was \
                 not issued for this API. Get a new one."
                    .into()
            }
            Self::TokenInactive { status: Some(_), .. } => {
                "Microsoft Graph does not take the token: it was revoked, has expired, was changed, or lacks the permission \
                 openid. Get a new one; better one for this API: api://<application ID>/<scope>."
                    .into()
            }
            Self::TokenLifetimeTooLong { .. } => "The token lives longer than is accepted here.".into(),
            Self::TokenMalformed(fault) => match fault {
                TokenFault::ClaimType { claim, expected } => format!("The token's {claim} claim is not {expected}."),
                TokenFault::ClaimSpellings { claim } => {
                    format!("The token holds the {claim} claim in several spellings.")
                }
                TokenFault::Form(form) => form_sentence(*form).into(),
            },
            Self::TokenMissing { usage } => format!("No token was sent. Send an access token of this API {usage}."),
            Self::TokenNotYetValid { .. } => {
                "The token is not valid yet. Check the clocks of the client and the gateway.".into()
            }
            Self::TokenRevoked { .. } => "The token has been revoked. Sign in again.".into(),
            Self::TokenTypeNotAllowed(fault) => match fault {
                TypeFault::IdToken => "This looks like an ID token. Send the access token instead.",
                TypeFault::Nested => "The token holds another token. Send the access token itself.",
                TypeFault::Typ(_) => "The token is of another kind than an access token (typ).",
            }
            .into(),
            Self::TokenVersionNotAllowed { found: TokenVersion::V1, .. } => {
                "This is a v1 token; this route accepts v2. Set api.requestedAccessTokenVersion to 2 in the manifest of the \
                 API's registration (not the client's), and get a new token; or add 1 to token_versions."
                    .into()
            }
            Self::TokenVersionNotAllowed { found: TokenVersion::V2, .. } => {
                "This is a v2 token; this route accepts v1. Add 2 to token_versions, or set \
                 api.requestedAccessTokenVersion to 1 in the manifest of the API's registration and get a new token."
                    .into()
            }
        }
    }

    /// What was found and what was expected, for the operator's log and for `detail: full`.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::AlgorithmNotAllowed { found, allowed } => {
                let allowed: Vec<&str> = allowed.iter().map(|algorithm| algorithm.name()).collect();
                format!("alg {found}, accepted [{}]", allowed.join(", "))
            }
            Self::AudienceNotAllowed { found, expected, hint } => {
                let hint = match hint {
                    AudienceHint::Form => " (differs in form only: v1 tokens carry the App ID URI, v2 tokens the GUID)",
                    AudienceHint::Graph => " (a token for Microsoft Graph or Azure Resource Manager)",
                    AudienceHint::IdToken => " (the marks of an ID token)",
                    AudienceHint::Other => "",
                    AudienceHint::OtherRule => " by this rule",
                };
                format!("aud [{}]{hint}, accepted [{}]", found.join(", "), expected.join(", "))
            }
            Self::ClaimMissing { claim } => format!("no {claim}"),
            Self::ClaimNotAllowed { claim, found, expected } => format!("{claim} {found}, expected {expected}"),
            Self::ClientNotAllowed { found, expected } => {
                format!("azp or appid {found}, accepted [{}]", expected.join(", "))
            }
            Self::EncryptionNotAllowed { alg, enc } => format!("encrypted with alg {alg}, enc {enc}"),
            Self::IntrospectionUnavailable { from, fault, retry_after } => {
                format!("{from}: {fault}, next attempt in {retry_after} s")
            }
            Self::IssuerNotAllowed(fault) => {
                let hint = match &fault.hint {
                    IssuerHint::B2c => "a B2C token".to_owned(),
                    IssuerHint::ExternalId => match tenant_in(&fault.found) {
                        Some(tenant) => {
                            format!("an External ID token: kind external_id with tenant {tenant} accepts it")
                        }
                        None => "an External ID token".to_owned(),
                    },
                    IssuerHint::ExternalIdHost => {
                        "an External ID token with another host than its tenant ID's".to_owned()
                    }
                    IssuerHint::Inconsistent { claim, found } => format!("{claim} {found} contradicts iss"),
                    IssuerHint::NotAsStated { stated } => format!("metadata states {stated}"),
                    IssuerHint::OtherRule { provider } => {
                        format!("of provider {provider}, which this rule does not accept")
                    }
                    IssuerHint::OtherSource { provider } => {
                        format!("of provider {provider}, whose tokens come from elsewhere")
                    }
                    IssuerHint::OtherCloud { found } => format!("of cloud {}", found.name()),
                    IssuerHint::Spelling => "differs only in spelling".to_owned(),
                    IssuerHint::Unknown => "of no known kind".to_owned(),
                    IssuerHint::Unresolved => "an unresolved template".to_owned(),
                    IssuerHint::Workforce => "a workforce token".to_owned(),
                };
                format!("iss {} ({hint}), accepted [{}]", fault.found, fault.expected.join(", "))
            }
            Self::Insufficient(shortfall) => shortfall.detail(),
            Self::KeyNotAllowed(fault) => match fault {
                KeyFault::Algorithm { kid } => format!("key {kid} is for another algorithm"),
                KeyFault::Cloud { kid, found, expected } => format!("key {kid} of cloud {found}, expected {expected}"),
                KeyFault::Issuer { kid, bound_to, found } => format!("key {kid} may sign for {bound_to}, iss {found}"),
            },
            Self::KeyUnknown(missing) => missing.detail(),
            Self::KeysUnavailable { document, retry_after } => {
                format!("no keys from {document}, next attempt in {retry_after} s")
            }
            Self::RequestMalformed(fault) => match fault {
                RequestFault::CredentialCharacters => "characters outside b64token",
                RequestFault::EmptyCredential => "an empty credential",
                RequestFault::ParameterSpelling => "another spelling of the token's parameter",
                RequestFault::Path => "ambiguous path",
                RequestFault::SeveralCredentials => "several credentials",
            }
            .into(),
            Self::RequiredClaim(fault) => fault.detail(),
            Self::RevocationUnavailable { feed, age: None, .. } => format!("nothing loaded from {feed} yet"),
            Self::RevocationUnavailable { feed, age: Some(age), .. } => {
                format!("{feed} was last current {age} s ago")
            }
            Self::SignatureInvalid { kid } => format!("not a signature of key {kid}"),
            Self::StatusUnavailable { list, fault, retry_after } => {
                format!("{list}: {fault}, next attempt in {retry_after} s")
            }
            Self::StepUpRequired { context, found, .. } => {
                let found: Vec<String> = found.iter().take(MOST_CONTEXTS).map(|context| excerpt(context)).collect();
                format!("acrs [{}], expected {context}", found.join(", "))
            }
            Self::TenantNotAllowed { found, allowed } => {
                let allowed = if allowed.is_empty() { "any organization".to_owned() } else { allowed.join(", ") };
                let personal = if found == PERSONAL_ACCOUNTS { " (personal Microsoft accounts)" } else { "" };
                format!("tenant {found}{personal}, accepted [{allowed}]")
            }
            Self::TokenExpired { expires, now, skew } => {
                format!("exp {expires}, {} s ago, skew {skew} s", now.saturating_sub(*expires))
            }
            Self::TokenInactive { by, status: None } => format!("not active, by {by}"),
            Self::TokenInactive { by, status: Some(status) } => format!("status {status} of {by}"),
            Self::TokenLifetimeTooLong { lifetime, longest } => format!("exp - iat {lifetime} s, accepted {longest} s"),
            Self::TokenMalformed(TokenFault::Form(form)) => format!("{form:?}"),
            Self::TokenMalformed(TokenFault::ClaimType { claim, expected }) => format!("{claim} is not {expected}"),
            Self::TokenMalformed(TokenFault::ClaimSpellings { claim }) => format!("several spellings of {claim}"),
            Self::TokenMissing { .. } => "no token".into(),
            Self::TokenNotYetValid { not_before, now, skew } => {
                format!("nbf {not_before}, in {} s, skew {skew} s", not_before.saturating_sub(*now))
            }
            Self::TokenRevoked { subject, .. } => format!("by {subject}"),
            Self::TokenTypeNotAllowed(fault) => match fault {
                TypeFault::IdToken => "the marks of an ID token".into(),
                TypeFault::Nested => "cty of a nested token".into(),
                TypeFault::Typ(typ) => format!("typ {typ}"),
            },
            Self::TokenVersionNotAllowed { found, provider, audience } => {
                format!("version {}, aud {audience}, provider {provider} accepts the other", found.number())
            }
        }
    }
}

impl MissingKey {
    fn detail(&self) -> String {
        let Self { kid, document, provider, keys, age, next_refresh } = self;
        let age = match age {
            Some(age) => format!("{age} s old, the last refresh was good"),
            None => "inline".to_owned(),
        };
        let next = match next_refresh {
            Some(0) => "; an unknown kid may refresh them now".to_owned(),
            Some(seconds) => format!("; an unknown kid may refresh them in {seconds} s"),
            None => String::new(),
        };
        let hint = match provider {
            Kind::B2c => "; each B2C policy has its own keys: policies must hold the token's tfp",
            Kind::ExternalId => "; External ID signs with the keys of its ciamlogin.com metadata only",
            Kind::Oidc => "",
            Kind::Workforce if document.contains("appid=") => "; these are the keys of the configured app_id",
            Kind::Workforce => "; an application with claims mapping signs with a key of its own: app_id",
        };
        format!("kid {kid} is not among the {keys} keys of {document} ({age}{next}){hint}")
    }
}

fn accepted(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds
        .iter()
        .map(|kind| match kind {
            Kind::B2c => "Azure AD B2C tokens",
            Kind::ExternalId => "External ID tokens",
            Kind::Oidc => "tokens of another OpenID provider",
            Kind::Workforce => "workforce tokens (Entra ID)",
        })
        .collect();
    if names.is_empty() { "no tokens at all".to_owned() } else { names.join(" and ") }
}

fn form_sentence(form: Malformed) -> &'static str {
    match form {
        Malformed::Base64(Segment::Encrypted | Segment::Header | Segment::Payload | Segment::Signature) => {
            "The token is damaged: a part of it is not base64url. Send it as it was issued."
        }
        Malformed::Critical => "The token's header demands extensions (crit) that are not supported.",
        Malformed::Compressed => "The token was compressed before it was encrypted (zip), which is not supported.",
        Malformed::Encrypted => "The token is encrypted, and no key for it is configured.",
        Malformed::Json(Segment::Encrypted | Segment::Header | Segment::Payload | Segment::Signature, _) => {
            "The token is damaged: a part of it is not a JSON object with unique members."
        }
        Malformed::KeyId => "The token's header has no usable kid.",
        Malformed::Member(_) => "The token's header lacks a member or has one of the wrong type.",
        Malformed::Segments => {
            "The credential is not a JWT: it must have three parts. An opaque token cannot be checked."
        }
        Malformed::TooLong => "The token is too long.",
        Malformed::Undecipherable => {
            "The token cannot be decrypted: it was changed on the way, or encrypted for another key than the gateway's."
        }
        Malformed::UnencodedPayload => "The token's payload is not encoded (b64), which is not supported.",
        Malformed::Unsigned => "The token has no signature.",
    }
}
