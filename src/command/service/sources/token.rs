//! A signed JWT that a source receives, held to what its issuer is trusted for. Pure: keys come in, and nothing is fetched.
//!
//! RFC 7519, RFC 8725: the algorithm, the type, the issuer and the audience are configuration, never the token's wish.

use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::compact::Unverified;
use entra_gate::jose::json::Object;
use entra_gate::jose::jwk::{Key, KeySet, KeySetFault};
use entra_gate::jose::signature::Software;
use serde_json::Value;

/// What an issuer's tokens are held to.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// `iss`
    pub(crate) issuer: String,
    /// One of these must be in `aud`.
    pub(crate) audiences: Vec<String>,
    /// Which algorithms may sign.
    pub(crate) algorithms: Vec<Algorithm>,
    /// `typ`, without `application/`.
    pub(crate) kind: &'static str,
    /// Whether a token may come without that type.
    pub(crate) typing: Typing,
}

/// Whether a token says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// Tokens without a type, or that call themselves `JWT`, are taken as well.
    Lax,
    /// Its type is the one that is expected.
    Strict,
}

/// Why a token is not acceptable. Nothing of it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// `alg` is not one of those that may sign.
    Algorithm,
    /// `aud` names others.
    Audience,
    /// `iss` is another one's.
    Issuer,
    /// The key that it names is not the issuer's.
    KeyUnknown,
    /// No compact JWS of a JSON object.
    Malformed,
    /// The signature is not the key's.
    Signature,
    /// It says that it is something else.
    Type,
}

impl TokenFault {
    /// For whoever sent it.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Algorithm => "The token's alg is not one that is accepted.",
            Self::Audience => "The token's aud does not name this receiver.",
            Self::Issuer => "The token's iss is not the issuer that is accepted here.",
            Self::KeyUnknown => "The key that the token names is not the issuer's.",
            Self::Malformed => "This is no compact JWS of a JSON object with unique members.",
            Self::Signature => "The token's signature is not the key's.",
            Self::Type => "The token's typ is not the one that is accepted here.",
        }
    }
}

/// An issuer's keys. Unlike the core's set it can leave its thread.
pub(crate) type Keys = Vec<Key>;

/// Reads a JWK set.
pub(crate) fn keys(document: &[u8]) -> Result<Keys, KeySetFault> {
    Ok(KeySet::read(document)?.keys().map(|key| Key::clone(key)).collect())
}

impl Trust {
    /// Takes a token apart and holds it to all that needs no key: a forged one costs no signature.
    pub(crate) fn examine<'a>(&self, token: &'a str) -> Result<Candidate<'a>, TokenFault> {
        let unverified = Unverified::read(token).map_err(|_| TokenFault::Malformed)?;
        if !self.is_of_kind(unverified.header.typ.as_deref()) {
            return Err(TokenFault::Type);
        }
        let algorithm = Algorithm::from_name(&unverified.header.alg);
        let algorithm = algorithm.filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        if unverified.claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(TokenFault::Issuer);
        }
        let named = |name: &Value| name.as_str().is_some_and(|name| self.audiences.iter().any(|known| known == name));
        let for_us = match unverified.claims.get("aud") {
            Some(Value::Array(names)) => names.iter().any(named),
            Some(name) => named(name),
            None => false,
        };
        if !for_us {
            return Err(TokenFault::Audience);
        }
        Ok(Candidate { unverified, algorithm })
    }

    fn is_of_kind(&self, typ: Option<&str>) -> bool {
        let lax = self.typing == Typing::Lax;
        let Some(typ) = typ else { return lax };
        // RFC 7515 section 4.1.9: media types, of which `application/` is left out as a rule.
        let named = typ.get(..12).filter(|prefix| prefix.eq_ignore_ascii_case("application/"));
        let short = if named.is_some() { typ.get(12..).unwrap_or_default() } else { typ };
        short.eq_ignore_ascii_case(self.kind) || (lax && short.eq_ignore_ascii_case("JWT"))
    }
}

/// A token that is good but for its signature, which was not looked at.
pub(crate) struct Candidate<'a> {
    unverified: Unverified<'a>,
    algorithm: Algorithm,
}

impl Candidate<'_> {
    /// Whether one of these keys may be the one.
    pub(crate) fn knows(&self, keys: &Keys) -> bool {
        self.key(keys).is_some()
    }

    /// The claims, if the issuer signed them.
    pub(crate) fn verify(&self, keys: &Keys) -> Result<Object, TokenFault> {
        let key = self.key(keys).ok_or(TokenFault::KeyUnknown)?;
        match self.unverified.verify(self.algorithm, &key.material, &Software) {
            Ok(signed) => Ok(signed.claims().clone()),
            Err(Some(_)) => Err(TokenFault::Malformed),
            Err(None) => Err(TokenFault::Signature),
        }
    }

    /// The key that the token names; where it names none, the only one that it can be.
    fn key<'a>(&self, keys: &'a Keys) -> Option<&'a Key> {
        let fits = |key: &&Key| {
            key.material.fits(self.algorithm) && key.algorithm.is_none_or(|algorithm| algorithm == self.algorithm)
        };
        let kid = self.unverified.header.kid.as_deref();
        let mut fitting = keys.iter().filter(fits).filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let first = fitting.next()?;
        (kid.is_some() || fitting.next().is_none()).then_some(first)
    }
}

/// A claim that is a time: whole Unix seconds, whatever stands behind the point.
pub(crate) fn seconds(claims: &Object, name: &str) -> Option<u64> {
    let value = claims.get(name)?;
    let whole = |number: f64| format!("{:.0}", number.floor()).parse().ok();
    value.as_u64().or_else(|| whole(value.as_f64()?))
}

/// A claim that is an identifier: printable, and of a length that can be kept.
pub(crate) fn identifier<'a>(claims: &'a Object, name: &str) -> Option<&'a str> {
    const MOST: usize = 255;
    let text = claims.get(name)?.as_str()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && !text.is_empty() && text.len() <= MOST).then_some(text)
}

#[cfg(test)]
pub(super) mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use mock_entra::{Directory, TokenRequest};
    use serde_json::json;

    use super::*;

    /// The mock's own provider.
    pub(in super::super) const ISSUER: &str = "https://idp.example.com";

    pub(in super::super) fn issuer_keys() -> Keys {
        let document = Directory::new().document("idp.example.com", "/keys").unwrap();
        keys(document.to_string().as_bytes()).unwrap()
    }

    fn trust() -> Trust {
        Trust {
            issuer: ISSUER.into(),
            audiences: vec!["https://sp.example.com/caep".into()],
            algorithms: vec![Algorithm::Rs256],
            kind: "secevent+jwt",
            typing: Typing::Strict,
        }
    }

    fn mint(request: Value) -> String {
        let mut whole = json!({"kind": "oidc", "header": {"typ": "secevent+jwt"}, "claims": {"aud": "https://sp.example.com/caep"}});
        for (name, value) in request.as_object().unwrap() {
            match (whole.get_mut(name), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
                _ => whole[name] = value.clone(),
            }
        }
        let request: TokenRequest = serde_json::from_value(whole).unwrap();
        Directory::new().mint(&request, 1_760_000_000).unwrap().access_token
    }

    fn outcome(trust: &Trust, token: &str) -> Result<Object, TokenFault> {
        trust.examine(token)?.verify(&issuer_keys())
    }

    #[test]
    fn a_token_is_held_to_its_issuer_s_trust() {
        for (request, expected) in [
            (json!({}), None),
            (json!({"header": {"typ": "application/SECEVENT+jwt"}}), None),
            (json!({"claims": {"aud": ["x", "https://sp.example.com/caep"]}}), None),
            (json!({"header": {"typ": "JWT"}}), Some(TokenFault::Type)),
            (json!({"header": {"typ": null}}), Some(TokenFault::Type)),
            (json!({"header": {"typ": "logout+jwt"}}), Some(TokenFault::Type)),
            (json!({"alg": "none"}), Some(TokenFault::Algorithm)),
            (json!({"alg": "HS256"}), Some(TokenFault::Algorithm)),
            (json!({"key": "ec"}), Some(TokenFault::Algorithm)),
            (json!({"claims": {"iss": "https://idp.example.com/"}}), Some(TokenFault::Issuer)),
            (json!({"claims": {"iss": null}}), Some(TokenFault::Issuer)),
            (json!({"claims": {"aud": "https://sp.example.com"}}), Some(TokenFault::Audience)),
            (json!({"claims": {"aud": []}}), Some(TokenFault::Audience)),
            (json!({"claims": {"aud": null}}), Some(TokenFault::Audience)),
            (json!({"key": "stranger"}), Some(TokenFault::KeyUnknown)),
            // Two RSA keys are published: which is meant?
            (json!({"header": {"kid": null}}), None),
            (json!({"signature": "corrupt"}), Some(TokenFault::Signature)),
            (json!({"signature": "empty"}), Some(TokenFault::Malformed)),
            (json!({"signature": "strip"}), Some(TokenFault::Malformed)),
            (json!({"raw_payload": "[]"}), Some(TokenFault::Malformed)),
            (json!({"raw_payload": "{\"iss\":\"a\",\"iss\":\"b\"}"}), Some(TokenFault::Malformed)),
        ] {
            assert_eq!(outcome(&trust(), &mint(request.clone())).err(), expected, "{request}");
        }
        for text in ["", "a.b.c", "x"] {
            assert_eq!(outcome(&trust(), text).err(), Some(TokenFault::Malformed), "{text}");
        }
    }

    #[test]
    fn a_lax_type_is_none_or_any_jwt_and_never_another_kind() {
        let lax = Trust { kind: "logout+jwt", typing: Typing::Lax, ..trust() };
        for (typ, good) in [
            (json!(null), true),
            (json!("JWT"), true),
            (json!("logout+jwt"), true),
            (json!("at+jwt"), false),
            (json!("secevent+jwt"), false),
        ] {
            let token = mint(json!({"header": {"typ": typ}}));
            assert_eq!(outcome(&lax, &token).is_ok(), good, "{typ}");
        }
    }

    #[test]
    fn a_key_without_a_name_is_the_only_one_that_fits() {
        let pss = Trust { algorithms: vec![Algorithm::Rs256, Algorithm::Ps256], ..trust() };
        // The keys of this provider are bound to one algorithm each.
        let token = mint(json!({"header": {"kid": null}}));
        assert!(outcome(&pss, &token).is_ok());
        let candidate = pss.examine(&token).ok().unwrap();
        let unbound: Keys = issuer_keys().into_iter().map(|key| Key { algorithm: None, ..key }).collect();
        assert_eq!(candidate.verify(&unbound).err(), Some(TokenFault::KeyUnknown));
        assert!(!candidate.knows(&Vec::new()));
    }

    #[test]
    fn times_are_whole_seconds() {
        let claims = json!({"a": 5, "b": 5.9, "c": -1, "d": "5", "e": 1e300, "f": null});
        let claims = claims.as_object().unwrap();
        let read = |name| seconds(claims, name);
        assert_eq!((read("a"), read("b"), read("c"), read("d")), (Some(5), Some(5), None, None));
        assert_eq!((read("e"), read("f"), read("g")), (None, None, None));
    }

    #[test]
    fn base64url_of_the_header_is_not_guessed_at() {
        let token = mint(json!({}));
        let (header, rest) = token.split_once('.').unwrap();
        let spelled = format!("{}=.{rest}", header);
        assert_eq!(outcome(&trust(), &spelled).err(), Some(TokenFault::Malformed));
        assert!(URL_SAFE_NO_PAD.decode(header).is_ok());
    }
}
