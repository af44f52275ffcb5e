//! Client assertions at the token endpoint («Microsoft identity platform application authentication certificate
//! credentials»; RFC 7523 section 3), with Entra's errors.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::keyring::Key;
use crate::refusal::Refusal;
use crate::token::Algorithm;

/// What `client_assertion_type` has to be.
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Clocks differ.
const SKEW: f64 = 300.0;

/// Whether a client proves with this assertion that it has the key of one of its certificates. `audience` is the token
/// endpoint's own URL; `used` are the IDs of assertions that were used, for each counts once.
pub(crate) fn verify(
    assertion: &str,
    client: &str,
    certificates: &[&'static str],
    audience: &str,
    used: &mut HashSet<String>,
    now: i64,
) -> Result<(), Refusal> {
    let malformed = || refuse(50_027, "JWT token is invalid or malformed.");
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let document = |segment: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok().filter(Value::is_object)
    };
    let (header, claims) = (document(header).ok_or_else(malformed)?, document(payload).ok_or_else(malformed)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    let algorithm = match header["alg"].as_str() {
        Some("PS256") => Algorithm::Ps256,
        Some("RS256") => Algorithm::Rs256,
        _ => return Err(malformed()),
    };
    let unknown = || {
        refuse(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        )
    };
    if header["x5t"].is_null() && header["x5t#S256"].is_null() {
        return Err(unknown());
    }
    let is_named = |key: &&Key| {
        is_thumbprint(&header["x5t"], Some(&key.kid)) && is_thumbprint(&header["x5t#S256"], key.x5t_s256.as_deref())
    };
    let key = certificates.iter().filter_map(|name| Key::named(name)).find(is_named).ok_or_else(unknown)?;
    if !key.verifies(algorithm, signed.as_bytes(), &signature) {
        return Err(refuse(700_027, "Client assertion contains an invalid signature."));
    }
    if claims["iss"] != client || claims["sub"] != client {
        return Err(refuse(700_021, "Client assertion application identifier doesn't match 'client_id' parameter."));
    }
    if claims["aud"] != audience {
        return Err(refuse(700_023, "Client assertion audience claim does not match Realm issuer."));
    }
    // A NumericDate may have a fraction (RFC 7519 section 2), and MSAL's have.
    let seconds = |name: &str| claims[name].as_f64();
    let ends = seconds("exp").ok_or_else(malformed)?;
    let begins = seconds("nbf").unwrap_or(f64::MIN);
    let now = now as f64;
    if ends + SKEW <= now || begins - SKEW > now {
        return Err(refuse(700_024, "Client assertion is not within its valid time range."));
    }
    let id = claims["jti"].as_str().filter(|id| !id.is_empty()).ok_or_else(malformed)?;
    if used.insert(id.to_owned()) { Ok(()) } else { Err(malformed()) }
}

/// Whether what the header tells, if it does, is the certificate's. MSAL pads it.
fn is_thumbprint(told: &Value, thumbprint: Option<&str>) -> bool {
    told.is_null() || told.as_str().is_some_and(|told| Some(told.trim_end_matches('=')) == thumbprint)
}

fn refuse(code: u32, description: &str) -> Refusal {
    Refusal::new(401, "invalid_client", code, description)
}
