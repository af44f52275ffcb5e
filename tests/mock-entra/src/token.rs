//! Tokens: the claims Entra puts into them, and every way to get one wrong.
//!
//! Follows Microsoft's «Access token claims reference» and, for the generic provider, RFC 9068. Signed as RFC 7515 says.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{digest, hmac};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::authority::{
    Authority, CONTOSO, CONTOSO_B2C, CONTOSO_CUSTOMERS, Cloud, Kind, Policy, Tenancy, Version, tenant_named,
};
use crate::encryption::Encryption;
use crate::inquiry::transformed;
use crate::keyring::Key;
use crate::merge::merge;
use crate::publication::Publication;
use crate::registration::{Api, Client, DAEMON, ORDERS};

/// The user who is always signed in.
pub(crate) const USER: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
const USER_NAME: &str = "Abe Lincoln";
const USER_PRINCIPAL_NAME: &str = "abe@contoso.example";

/// A signature algorithm (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// ECDSA with P-256.
    Es256,
    /// HMAC keyed with the `secret`, or with the public key: the confusion of RFC 8725 section 2.1.
    Hs256,
    /// Unsigned.
    #[serde(rename = "none")]
    None,
    /// RSASSA-PSS.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

impl Algorithm {
    /// The value of `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
            Self::None => "none",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SignatureFault {
    /// One bit is flipped.
    Corrupt,
    /// Nothing after the second dot.
    Empty,
    /// No second dot.
    Strip,
}

/// A token to mint. The defaults make a user's v2 token for the orders API, valid for an hour.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRequest {
    /// The kind of the issuer.
    pub kind: Kind,
    /// The cloud of a workforce issuer.
    pub cloud: Cloud,
    /// GUID or a name of the mock's table; by default the tenant named contoso… of that kind.
    pub tenant: Option<String>,
    /// By default what the audience's registration says, or 2.
    pub version: Option<Version>,
    /// The B2C policy, by default `B2C_1_signin`.
    pub policy: Option<String>,
    /// `aud`; by default the orders API.
    pub audience: Option<String>,
    /// `azp` or `appid`; by default the daemon.
    pub client: Option<String>,
    /// `scp` of a user token; `Some(None)` for none. By default `Orders.Read` unless there are roles.
    #[serde(deserialize_with = "present")]
    pub scopes: Option<Option<String>>,
    /// `roles`; without scopes the token is app-only.
    pub roles: Vec<String>,
    /// Seconds from now to `exp`, by default 3600.
    pub expires_in: Option<i64>,
    /// Seconds from `iat` and `nbf` to now, by default 300 as Entra does.
    pub issued_ago: Option<i64>,
    /// Merged over the claims (RFC 7396); `null` removes.
    pub claims: Value,
    /// Merged over the header (RFC 7396); `null` removes.
    pub header: Value,
    /// By default the key's own.
    pub alg: Option<Algorithm>,
    /// The fixture that signs, by default the document's current key. `kid` follows it.
    pub key: Option<String>,
    /// Taken verbatim as the header's JSON text.
    pub raw_header: Option<String>,
    /// Taken verbatim as the payload's JSON text.
    pub raw_payload: Option<String>,
    /// By default the signature is right.
    pub signature: Option<SignatureFault>,
    /// What HS256 is keyed with, base64url; by default the public key.
    pub secret: Option<String>,
    /// By default the token is not encrypted.
    pub encrypt: Option<Encryption>,
    /// Signed as tokens for Microsoft Graph are: with a `nonce` in the header, which only Graph knows how to take.
    pub graph_bound: bool,
}

/// Tells a member that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A minted token, with its parts as they were signed (a string where the raw text is not JSON).
#[derive(Clone, Debug, Serialize)]
pub struct Minted {
    /// The compact serialization.
    pub access_token: String,
    /// The protected header.
    pub header: Value,
    /// The payload.
    pub claims: Value,
}

/// Why a token cannot be minted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MintError {
    /// The key cannot sign with that algorithm.
    AlgorithmNotForKey(&'static str, &'static str),
    /// The key is not an RSA key.
    NotForEncryption(String),
    /// The secret is not base64url.
    Secret,
    /// No fixture has that name.
    UnknownKey(String),
    /// B2C has no such policy here.
    UnknownPolicy(String),
    /// Neither a GUID nor a known name.
    UnknownTenant(String),
}

impl fmt::Display for MintError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlgorithmNotForKey(algorithm, key) => {
                write!(formatter, "key {key:?} cannot sign with {algorithm}")
            }
            Self::NotForEncryption(name) => write!(formatter, "key {name:?} cannot encrypt"),
            Self::Secret => write!(formatter, "the secret is not base64url"),
            Self::UnknownKey(name) => write!(formatter, "no fixture key is named {name:?}"),
            Self::UnknownPolicy(name) => write!(formatter, "no B2C policy is named {name:?}"),
            Self::UnknownTenant(name) => {
                write!(formatter, "{name:?} is neither a GUID nor a known tenant")
            }
        }
    }
}

impl std::error::Error for MintError {}

pub(crate) fn mint(publication: &Publication, request: &TokenRequest, now: i64) -> Result<Minted, MintError> {
    let authority = authority(request)?;
    let version = version(request);
    let key = signing_key(publication, &authority, version, request)?;
    let algorithm = request.alg.unwrap_or_else(|| key.usual_algorithm());

    let mut claims = claims(&authority, version, request, now);
    merge_over(&mut claims, &request.claims);
    let mut header = header(&authority, version, key, algorithm);
    if request.graph_bound {
        header["nonce"] = json!(opaque());
    }
    merge_over(&mut header, &request.header);

    let header_text = request.raw_header.clone().unwrap_or_else(|| header.to_string());
    let payload_text = request.raw_payload.clone().unwrap_or_else(|| claims.to_string());
    let encoded =
        |header: &str| format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload_text));
    let sent = encoded(&header_text);
    let signing_input = match transformed(&header_text).filter(|_| request.graph_bound) {
        Some(transformed) => encoded(&transformed),
        None => sent.clone(),
    };
    let mut signature = match (&request.secret, algorithm) {
        (Some(secret), Algorithm::Hs256) => {
            let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| MintError::Secret)?;
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signing_input.as_bytes()).as_ref().to_vec()
        }
        _ => key
            .sign(algorithm, signing_input.as_bytes())
            .ok_or(MintError::AlgorithmNotForKey(algorithm.name(), key.name))?,
    };
    let signed = match request.signature {
        None => format!("{sent}.{}", URL_SAFE_NO_PAD.encode(signature)),
        Some(SignatureFault::Corrupt) => {
            if let Some(byte) = signature.first_mut() {
                *byte ^= 1;
            }
            format!("{sent}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
        Some(SignatureFault::Empty) => format!("{sent}."),
        Some(SignatureFault::Strip) => sent,
    };
    let access_token = match &request.encrypt {
        Some(encryption) => encryption.encrypt(&signed)?,
        None => signed,
    };
    Ok(Minted { access_token, header: as_signed(header_text), claims: as_signed(payload_text) })
}

/// An ID token (OpenID Connect Core 1.0 section 2) of the user, in the version of the endpoint.
pub(crate) fn id_token(
    publication: &Publication,
    authority: &Authority,
    version: Version,
    client: &str,
    nonce: Option<&str>,
    now: i64,
) -> Result<Minted, MintError> {
    let claims = json!({
        "acr": null, "aio": null, "amr": null, "appid": null, "appidacr": null, "azp": null, "azpacr": null,
        "client_id": null, "jti": null, "scope": null, "scp": null,
        "name": USER_NAME, "nonce": nonce, "preferred_username": USER_PRINCIPAL_NAME,
    });
    let request = TokenRequest {
        version: Some(version),
        audience: Some(client.to_owned()),
        client: Some(client.to_owned()),
        claims,
        header: json!({"typ": "JWT"}),
        ..TokenRequest::of(authority)
    };
    mint(publication, &request, now)
}

impl TokenRequest {
    /// The request for a token of that authority.
    pub(crate) fn of(authority: &Authority) -> Self {
        let policy = match authority {
            Authority::B2c { policy } => Some(policy.name.to_owned()),
            Authority::ExternalId { .. } | Authority::Oidc | Authority::Workforce { .. } => None,
        };
        Self {
            kind: authority.kind(),
            cloud: authority.cloud(),
            tenant: authority.tenant().map(str::to_owned),
            policy,
            ..Self::default()
        }
    }
}

fn authority(request: &TokenRequest) -> Result<Authority, MintError> {
    let tenant = |default: &str| {
        let name = request.tenant.as_deref().unwrap_or(default);
        tenant_named(name).ok_or_else(|| MintError::UnknownTenant(name.to_owned()))
    };
    match request.kind {
        Kind::B2c => {
            let name = request.policy.as_deref().unwrap_or("B2C_1_signin");
            let policy = Policy::named(name).ok_or_else(|| MintError::UnknownPolicy(name.to_owned()))?;
            let tenant = tenant(CONTOSO_B2C)?;
            if tenant == CONTOSO_B2C { Ok(Authority::B2c { policy }) } else { Err(MintError::UnknownTenant(tenant)) }
        }
        Kind::ExternalId => Ok(Authority::ExternalId { tenant: tenant(CONTOSO_CUSTOMERS)? }),
        Kind::Oidc => Ok(Authority::Oidc),
        Kind::Workforce => {
            let tenant = tenant(CONTOSO)?;
            let tenancy = Tenancy::of_path(&tenant).unwrap_or(Tenancy::One(tenant));
            Ok(Authority::Workforce { cloud: request.cloud, tenancy })
        }
    }
}

fn version(request: &TokenRequest) -> Version {
    request
        .version
        .unwrap_or_else(|| request.audience.as_deref().and_then(Api::named).map(|api| api.version).unwrap_or_default())
}

fn signing_key(
    publication: &Publication,
    authority: &Authority,
    version: Version,
    request: &TokenRequest,
) -> Result<&'static Key, MintError> {
    let name = match (&request.key, request.alg) {
        (Some(name), _) => name.as_str(),
        (None, Some(Algorithm::Es256)) => "ec",
        (None, Some(Algorithm::Ps256)) if request.kind == Kind::Oidc => "oidc-pss",
        (None, _) => publication.current(authority, version),
    };
    Key::named(name).ok_or_else(|| MintError::UnknownKey(name.to_owned()))
}

fn header(authority: &Authority, version: Version, key: &Key, algorithm: Algorithm) -> Value {
    let mut header = json!({"typ": "JWT", "alg": algorithm.name(), "kid": key.kid});
    match (authority, version) {
        (Authority::Oidc, _) => header["typ"] = json!("at+jwt"),
        (Authority::ExternalId { .. } | Authority::Workforce { .. }, Version::V1) => header["x5t"] = json!(key.kid),
        (Authority::B2c { .. } | Authority::ExternalId { .. } | Authority::Workforce { .. }, _) => {}
    }
    header
}

fn claims(authority: &Authority, version: Version, request: &TokenRequest, now: i64) -> Value {
    let audience = request.audience.as_deref().unwrap_or_else(|| ORDERS.audience(version));
    let client = request.client.as_deref().unwrap_or(DAEMON);
    let scopes = match &request.scopes {
        Some(scopes) => scopes.as_deref(),
        None if request.roles.is_empty() => Some(ORDERS.scope),
        None => None,
    };
    let app_only = scopes.is_none();
    let issued = now - request.issued_ago.unwrap_or(300);
    let mut claims = json!({
        "aud": audience,
        "iss": authority.issuer(version),
        "iat": issued,
        "nbf": issued,
        "exp": now + request.expires_in.unwrap_or(3600),
    });
    let mut add = |more: &Value| merge(&mut claims, more);

    if let Authority::Oidc = authority {
        let subject = if app_only { client } else { USER };
        add(&json!({"client_id": client, "jti": Uuid::new_v4(), "nbf": null, "scope": scopes, "sub": subject}));
        if !request.roles.is_empty() {
            add(&json!({"roles": request.roles}));
        }
        return claims;
    }

    let tenant = authority.tenant().unwrap_or_default();
    let object = if app_only { service_principal(tenant, client) } else { USER.to_owned() };
    let subject = if app_only { object.clone() } else { pairwise(tenant, audience) };
    add(&json!({"oid": object, "scp": scopes, "sub": subject}));
    if !request.roles.is_empty() {
        add(&json!({"roles": request.roles}));
    }

    if let Authority::B2c { policy } = authority {
        // B2C tokens say 1.0 and carry no `tid` unless a custom policy adds it.
        add(&json!({"azp": client, "name": USER_NAME, "tfp": policy.name, "ver": "1.0"}));
        return claims;
    }

    let client_authentication = match Client::named(client) {
        Some(Client { secrets, .. }) if secrets.is_empty() => "0",
        Some(_) | None => "1",
    };
    add(&json!({
        "aio": opaque(),
        "idtyp": app_only.then_some("app"),
        "rh": format!("1.{}.", opaque()),
        "tid": tenant,
        "uti": opaque(),
    }));
    match version {
        Version::V1 => add(&json!({"appid": client, "appidacr": client_authentication, "ver": "1.0"})),
        Version::V2 => add(&json!({"azp": client, "azpacr": client_authentication, "ver": "2.0"})),
    }
    match (version, app_only) {
        (Version::V1, true) => add(&json!({"idp": authority.issuer(version)})),
        (Version::V1, false) => add(&json!({
            "acr": "1", "amr": ["pwd"], "family_name": "Lincoln", "given_name": "Abe", "ipaddr": "192.0.2.7",
            "name": USER_NAME, "unique_name": USER_PRINCIPAL_NAME, "upn": USER_PRINCIPAL_NAME,
        })),
        (Version::V2, true) => {}
        // Seen in External ID: the name is «unknown» and there is no user name.
        (Version::V2, false) if authority.kind() == Kind::ExternalId => add(&json!({"name": "unknown"})),
        (Version::V2, false) => add(&json!({"name": USER_NAME, "preferred_username": USER_PRINCIPAL_NAME})),
    }
    claims
}

/// Nothing to merge is said by an absent member, which is not the `null` that would replace all.
fn merge_over(target: &mut Value, patch: &Value) {
    if !patch.is_null() {
        merge(target, patch);
    }
}

fn as_signed(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The `oid` of a client in a tenant.
pub(crate) fn service_principal(tenant: &str, client: &str) -> String {
    let namespace = Uuid::parse_str(tenant).unwrap_or_default();
    Uuid::new_v5(&namespace, client.as_bytes()).to_string()
}

/// A `sub` that differs by tenant and application, and from `oid`.
fn pairwise(tenant: &str, audience: &str) -> String {
    let input = format!("{tenant} {audience} {USER}");
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, input.as_bytes()))
}

/// A value clients must not read.
pub(crate) fn opaque() -> String {
    URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes())
}
