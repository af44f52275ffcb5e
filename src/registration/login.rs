//! The token for Graph: client credentials (RFC 6749 section 4.4), one request for all who wait, renewed before it ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::jose::json;
use crate::jose::signing::SigningCertificate;
use crate::keys::freshness::{Millis, millis};
use crate::policy::registration::{Credential, Registration};

/// How long before its end a token is replaced, if it lives twice as long.
const REFRESH_BEFORE: Millis = 300_000;
/// How long before its end a token is no longer used: the call takes a while, and clocks differ.
const UNUSABLE_BEFORE: Millis = 30_000;
/// Between two requests that failed.
const PAUSE_AFTER_FAILURE: Millis = 2_000;
/// How long a client assertion is good, in seconds. Entra advises five to ten minutes.
const ASSERTION_LIFETIME: u64 = 300;
/// What an `application/x-www-form-urlencoded` value may hold as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The form that asks for a token. It holds the secret, or what `sign` makes of an assertion, whose ID must be random.
///
/// # Errors
/// It could not be signed.
pub fn form(
    settings: &Registration,
    now: Millis,
    id: [u64; 2],
    sign: impl FnOnce(&SigningCertificate, &[u8]) -> Option<Vec<u8>>,
) -> Result<String, LoginFault> {
    let encode = |text: &str| utf8_percent_encode(text, KEPT).to_string();
    let proof = match &settings.credential {
        Credential::Certificate(certificate) => {
            let assertion = assertion(certificate, settings, now, id);
            let signature = sign(certificate, assertion.as_bytes()).ok_or(LoginFault::NotSigned)?;
            // RFC 7523 section 2.2.
            let kind = encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            let signature = URL_SAFE_NO_PAD.encode(signature);
            format!("client_assertion_type={kind}&client_assertion={assertion}.{signature}")
        }
        Credential::Secret(secret) => format!("client_secret={}", encode(secret)),
    };
    Ok(format!(
        "client_id={}&{proof}&scope={}&grant_type=client_credentials",
        settings.client_id,
        encode(&settings.graph_scope),
    ))
}

/// A client assertion without its signature («Microsoft identity platform application authentication certificate
/// credentials»; RFC 7523 section 3). The host signs with RSASSA-PKCS1-v1_5 and nothing else, so it is RS256 with the
/// `x5t` that Microsoft's libraries send beside that, not only the `x5t#S256` that they send beside PS256.
fn assertion(certificate: &SigningCertificate, settings: &Registration, now: Millis, id: [u64; 2]) -> String {
    let seconds = now / 1_000;
    let [one, other] = id;
    let header = json!({
        "alg": "RS256",
        "typ": "JWT",
        "x5t": certificate.x5t,
        "x5t#S256": certificate.x5t_s256,
    });
    let claims = json!({
        "aud": settings.login.address.to_string(),
        "iss": settings.client_id.as_str(),
        "sub": settings.client_id.as_str(),
        "jti": format!("{one:016x}{other:016x}"),
        "iat": seconds,
        "nbf": seconds,
        "exp": seconds.saturating_add(ASSERTION_LIFETIME),
    });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token for Graph. Shows nothing.
#[derive(Clone)]
pub struct GraphToken {
    /// What is sent.
    pub text: String,
    /// When it is to be replaced.
    pub refresh_at: Millis,
    /// When it ends.
    pub expires_at: Millis,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// An answer that is none.
    Answer,
    /// No answer, or not sent at all.
    NoAnswer,
    /// The host has not signed the assertion.
    NotSigned,
    /// Refused, with a status and the number after `AADSTS`, if there is one.
    Refused(u16, Option<u64>),
}

impl std::fmt::Display for LoginFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer => formatter.write_str("no usable answer"),
            Self::NoAnswer => formatter.write_str("no answer"),
            Self::NotSigned => formatter.write_str("the host does not sign"),
            Self::Refused(status, Some(code)) => write!(formatter, "status {status}, AADSTS{code}"),
            Self::Refused(status, None) => write!(formatter, "status {status}"),
        }
    }
}

impl GraphToken {
    /// Reads the answer of the token endpoint.
    ///
    /// # Errors
    /// Why there is no token.
    pub fn read(status: u16, body: &[u8], now: Millis) -> Result<Self, LoginFault> {
        let answer = json::object(body).ok();
        if status != 200 {
            let codes = answer.as_ref().and_then(|answer| answer.get("error_codes")).and_then(Value::as_array);
            let code = codes.and_then(|codes| codes.first()).and_then(Value::as_u64);
            return Err(LoginFault::Refused(status, code));
        }
        let answer = answer.ok_or(LoginFault::Answer)?;
        let text = answer.get("access_token").and_then(Value::as_str).ok_or(LoginFault::Answer)?;
        // It becomes a header.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LoginFault::Answer);
        }
        let lifetime = answer.get("expires_in");
        let lifetime = lifetime.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let lifetime = lifetime.ok_or(LoginFault::Answer)?.saturating_mul(1_000);
        let expires_at = now.saturating_add(lifetime);
        let refresh_at = expires_at.saturating_sub(REFRESH_BEFORE.min(lifetime / 2));
        Ok(Self { text: text.to_owned(), refresh_at, expires_at })
    }

    fn is_usable(&self, now: Millis) -> bool {
        now.saturating_add(UNUSABLE_BEFORE) < self.expires_at
    }

    /// Whether it need not be replaced yet.
    #[must_use]
    pub fn is_fresh(&self, now: Millis) -> bool {
        now < self.refresh_at && self.is_usable(now)
    }
}

/// One worker's standing with the login service.
#[derive(Default)]
pub struct Login {
    token: Option<GraphToken>,
    asking: Option<Millis>,
    not_before: Millis,
    fault: Option<LoginFault>,
}

/// What becomes of a call that needs a token.
pub enum Standing<'a> {
    /// It may go.
    Token(&'a str),
    /// It waits for the request that is under way, or that must be sent now.
    Wait,
    /// There will be none soon.
    Fault(LoginFault),
}

impl Login {
    /// Whether it is time for a token.
    #[must_use]
    pub fn is_due(&self, wanted: bool, now: Millis) -> bool {
        let is_fresh = self.token.as_ref().is_some_and(|token| token.is_fresh(now));
        let is_asking = self.asking.is_some_and(|until| now < until);
        wanted && !is_fresh && !is_asking && now >= self.not_before
    }

    /// Whether to ask for a token now; if so, it is asked for.
    pub fn ask(&mut self, settings: &Registration, wanted: bool, now: Millis) -> bool {
        if !self.is_due(wanted, now) {
            return false;
        }
        // An answer that never comes is waited for no longer than its timeout and a second.
        self.asking = Some(now.saturating_add(millis(settings.login.timeout)).saturating_add(1_000));
        true
    }

    /// How a call stands.
    #[must_use]
    pub fn standing(&self, now: Millis) -> Standing<'_> {
        match (&self.token, &self.fault) {
            (Some(token), _) if token.is_usable(now) => Standing::Token(&token.text),
            (_, Some(fault)) if now < self.not_before => Standing::Fault(fault.clone()),
            (Some(_) | None, _) => Standing::Wait,
        }
    }

    /// Takes the end of a request, or what another worker got.
    pub fn take(&mut self, answer: Result<GraphToken, LoginFault>, now: Millis) {
        self.asking = None;
        match answer {
            Ok(token) => {
                self.fault = None;
                self.not_before = 0;
                self.token = Some(token);
            }
            Err(fault) => {
                self.fault = Some(fault);
                self.not_before = now.saturating_add(PAUSE_AFTER_FAILURE);
            }
        }
    }

    /// Forgets a token that Graph refused, unless a newer one is held already.
    pub fn reject(&mut self, token: &str) {
        if self.token.as_ref().is_some_and(|held| held.text == token) {
            self.token = None;
        }
    }
}
