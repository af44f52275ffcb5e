//! Compact JWS (RFC 7515 section 3.1), read strictly and not yet believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::json::{self, JsonFault, Object};
use super::jwk::KeyMaterial;
use super::signature::Signatures;

/// Longest token that is read, in bytes. Entra's largest (200 groups) are near 12 KiB; Envoy's whole header block is 60 KiB.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;
/// Longest `kid` that is looked up, in bytes. Entra's have 27 or 43.
pub const MAX_KID_BYTES: usize = 256;

/// Why a text is no acceptable compact JWS. Carries nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A segment is not canonical base64url: alphabet, padding, length or unused bits (RFC 4648 sections 3.5 and 5).
    Base64(Segment),
    /// `crit` is present: it names extensions that are not understood here, or is itself ill-formed (RFC 7515 4.1.11).
    Critical,
    /// The token was compressed before it was encrypted (RFC 7516 section 4.1.3).
    Compressed,
    /// The token is encrypted: five segments (RFC 7516).
    Encrypted,
    /// A segment does not hold a JSON object with unique members.
    Json(Segment, JsonFault),
    /// `kid` is missing where keys are found by it, empty, too long or not a string.
    KeyId,
    /// A header member that is read has the wrong type.
    Member(&'static str),
    /// Not three segments.
    Segments,
    /// There is no signature.
    Unsigned,
    /// Longer than [`MAX_TOKEN_BYTES`].
    TooLong,
    /// The token is encrypted, and none of the keys opens it, or what is within is no text.
    Undecipherable,
    /// The payload is declared as not base64url-encoded (RFC 7797).
    UnencodedPayload,
}

/// One of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Anything of an encrypted token but its header.
    Encrypted,
    /// The JOSE header.
    Header,
    /// The claims.
    Payload,
    /// The signature.
    Signature,
}

/// The header members that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`, as the token wishes it.
    pub alg: String,
    /// `cty`: present when the payload is itself a token.
    pub cty: Option<String>,
    /// `kid`, never empty.
    pub kid: Option<String>,
    /// `typ`, if there is one.
    pub typ: Option<String>,
    /// Whether there is a `nonce`: the mark of tokens for Microsoft Graph, which nobody else can verify.
    pub has_nonce: bool,
}

/// A token taken apart. Nothing in it is to be trusted yet.
pub struct Unverified<'a> {
    /// The JOSE header.
    pub header: Header,
    /// The claims, only to be used for refusing or for choosing a key.
    pub claims: Object,
    signing_input: &'a [u8],
    payload: &'a str,
    signature: &'a str,
}

/// Claims whose signature was verified. The only way to one is [`Unverified::verify`].
pub struct Signed<'a> {
    token: &'a Unverified<'a>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Names the first rule that the token breaks.
    pub fn read(token: &'a str) -> Result<Self, Malformed> {
        Self::read_up_to(token, MAX_TOKEN_BYTES)
    }

    /// Takes a token apart that may be so many bytes long: no client has sent it.
    ///
    /// # Errors
    /// Names the first rule that the token breaks.
    pub fn read_up_to(token: &'a str, most_bytes: usize) -> Result<Self, Malformed> {
        if token.len() > most_bytes {
            return Err(Malformed::TooLong);
        }
        let mut segments = token.split('.');
        let (header, payload, signature) = match (segments.next(), segments.next(), segments.next()) {
            (Some(header), Some(payload), Some(signature)) => match segments.count() {
                0 => (header, payload, signature),
                2 => return Err(Malformed::Encrypted),
                _ => return Err(Malformed::Segments),
            },
            _ => return Err(Malformed::Segments),
        };
        let signing_input = token
            .as_bytes()
            .get(..header.len().saturating_add(1).saturating_add(payload.len()))
            .ok_or(Malformed::Segments)?;
        let header = Header::read(header)?;
        Ok(Self { header, claims: segment_object(payload, Segment::Payload)?, signing_input, payload, signature })
    }

    /// A token that says nothing itself, for claims that were told of it. It has no signature, and never gets one.
    #[must_use]
    pub fn opaque(claims: Object) -> Self {
        let header = Header { alg: String::new(), cty: None, kid: None, typ: None, has_nonce: false };
        Self { header, claims, signing_input: &[], payload: "", signature: "" }
    }

    /// The payload segment: base64url of the claims.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload
    }

    /// Turns the token into trusted claims if its signature is good.
    ///
    /// # Errors
    /// `Err(Some(_))` when the signature is not even well-formed, `Err(None)` when it is not the key's.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        signatures: &dyn Signatures,
    ) -> Result<Signed<'_>, Option<Malformed>> {
        if self.signature.is_empty() {
            return Err(Some(Malformed::Unsigned));
        }
        let signature =
            URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| Some(Malformed::Base64(Segment::Signature)))?;
        if signatures.verify(algorithm, key, self.signing_input, &signature) {
            Ok(Signed { token: self })
        } else {
            Err(None)
        }
    }
}

impl Signed<'_> {
    /// The verified claims.
    #[must_use]
    pub fn claims(&self) -> &Object {
        &self.token.claims
    }

    /// The payload segment as it was signed: base64url of the claims.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.token.payload
    }
}

impl Header {
    /// Reads a header segment.
    ///
    /// # Errors
    /// Names the first rule that it breaks.
    pub fn read(segment: &str) -> Result<Self, Malformed> {
        read_header(&segment_object(segment, Segment::Header)?)
    }
}

/// A payload segment, decoded: the JSON text of the claims.
#[must_use]
pub fn payload_text(payload: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn segment_object(segment: &str, which: Segment) -> Result<Object, Malformed> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).map_err(|_| Malformed::Base64(which))?;
    json::object(&bytes).map_err(|fault| Malformed::Json(which, fault))
}

fn read_header(members: &Object) -> Result<Header, Malformed> {
    let text = |name: &'static str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Malformed::Member(name)),
    };
    if members.contains_key("crit") {
        return Err(Malformed::Critical);
    }
    if members.get("b64").is_some_and(|value| *value != Value::Bool(true)) {
        return Err(Malformed::UnencodedPayload);
    }
    let alg = text("alg")?.ok_or(Malformed::Member("alg"))?;
    let (cty, typ) = (text("cty")?, text("typ")?);
    // `alg: none` is told as that, whatever else such a token lacks.
    let kid = match text("kid") {
        Ok(Some(kid)) if !kid.is_empty() && kid.len() <= MAX_KID_BYTES => Some(kid),
        Ok(None) => None,
        _ if Algorithm::from_name(&alg).is_none() => None,
        _ => return Err(Malformed::KeyId),
    };
    Ok(Header { alg, cty, kid, typ, has_nonce: members.contains_key("nonce") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn fault(token: &str) -> Option<Malformed> {
        Unverified::read(token).err()
    }

    const HEADER: &str = r#"{"alg":"RS256","kid":"k"}"#;

    #[test]
    fn a_well_formed_token_is_read() {
        let text = token(r#"{"typ":"JWT","alg":"RS256","kid":"k","nonce":"n"}"#, r#"{"iss":"i"}"#);
        let unverified = Unverified::read(&text).ok().unwrap();
        assert_eq!(unverified.header.typ.as_deref(), Some("JWT"));
        assert!(unverified.header.has_nonce);
        assert_eq!(unverified.claims.get("iss"), Some(&Value::from("i")));
        assert_eq!(unverified.signing_input, text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn other_numbers_of_segments_are_refused() {
        let (h, p) = (URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode("{}"));
        for text in ["", "a", "a.b", &format!("{h}.{p}"), &format!("{h}.{p}.s."), &format!(".{h}.{p}.s")] {
            assert_eq!(fault(text), Some(Malformed::Segments), "{text}");
        }
        assert_eq!(fault("a.b.c.d.e"), Some(Malformed::Encrypted));
        assert_eq!(fault(&format!("{h}..{p}")), Some(Malformed::Json(Segment::Payload, JsonFault::Syntax)));
    }

    #[test]
    fn base64url_is_canonical() {
        let good = token(HEADER, "{}");
        let (header, rest) = good.split_once('.').unwrap();
        for bad in
            [format!("{header}=.{rest}"), format!("{header} .{rest}"), format!("{header}\n.{rest}"), format!("+{good}")]
        {
            assert_eq!(fault(&bad), Some(Malformed::Base64(Segment::Header)), "{bad}");
        }
        // `{}` is `e30`: its last character leaves two bits unused, which must be zero.
        assert_eq!(fault(&good.replace(".e30.", ".e31.")), Some(Malformed::Base64(Segment::Payload)));
    }

    #[test]
    fn header_members_have_their_types() {
        for (header, expected) in [
            (r#"{"alg":1,"kid":"k"}"#, Malformed::Member("alg")),
            (r#"{"kid":"k"}"#, Malformed::Member("alg")),
            (r#"{"alg":"RS256","kid":""}"#, Malformed::KeyId),
            (r#"{"alg":"RS256","kid":["k"]}"#, Malformed::KeyId),
            (r#"{"alg":"RS256","kid":null}"#, Malformed::KeyId),
            (r#"{"alg":"RS256","kid":"k","typ":1}"#, Malformed::Member("typ")),
            (r#"{"alg":"RS256","kid":"k","crit":[]}"#, Malformed::Critical),
            (r#"{"alg":"RS256","kid":"k","crit":["exp"],"exp":1}"#, Malformed::Critical),
            (r#"{"alg":"RS256","kid":"k","b64":false}"#, Malformed::UnencodedPayload),
        ] {
            assert_eq!(fault(&token(header, "{}")), Some(expected), "{header}");
        }
        assert_eq!(
            fault(&token(r#"{"alg":"RS256","alg":"none","kid":"k"}"#, "{}")),
            Some(Malformed::Json(Segment::Header, JsonFault::DuplicateMember))
        );
    }

    #[test]
    fn a_token_beyond_the_limit_is_not_read() {
        let long = token(HEADER, &format!(r#"{{"x":"{}"}}"#, "y".repeat(MAX_TOKEN_BYTES)));
        assert_eq!(fault(&long), Some(Malformed::TooLong));
    }
}
