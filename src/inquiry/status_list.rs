//! Token Status List (draft-ietf-oauth-status-list-21): where a token's status is, and the signed list that holds it.
//!
//! A list is read with a limit before and after it is inflated: a few KiB of zlib may stand for megabytes.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use serde_json::Value;

use super::source::StatusLists;
use super::{Call, Fault, Response, Said, Word, time};
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::Unverified;
use crate::jose::json::Object;
use crate::jose::jwk::{Key, KeySet};
use crate::jose::signature::Signatures;
use crate::keys::document::Address;
use crate::keys::freshness::Millis;

/// Largest list as it is sent, in bytes: ten million tokens of which one in a hundred is revoked take 135 KB.
pub const MAX_LIST_BYTES: usize = 512 * 1024;
/// Largest list when it is inflated, in bytes: 32 million tokens with one bit each.
pub const MAX_INFLATED_BYTES: usize = 4 * 1024 * 1024;
/// `typ` of a list (section 5.1).
const TYP: &str = "statuslist+jwt";

/// Where a token's status is (section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its place in the list.
    pub index: u64,
    /// The list.
    pub uri: String,
}

impl Reference {
    /// Reads the claim `status`; none where it names no status list.
    ///
    /// # Errors
    /// What the claim should be.
    pub fn read(claims: &Object) -> Result<Option<Self>, &'static str> {
        let status = match claims.get("status") {
            None => return Ok(None),
            Some(Value::Object(status)) => status,
            Some(_) => return Err("an object"),
        };
        let list = match status.get("status_list") {
            // Another mechanism's.
            None => return Ok(None),
            Some(Value::Object(list)) => list,
            Some(_) => return Err("an object whose status_list is an object"),
        };
        match (list.get("idx").and_then(Value::as_u64), list.get("uri").and_then(Value::as_str)) {
            (Some(index), Some(uri)) => Ok(Some(Self { index, uri: uri.to_owned() })),
            _ => Err("an object whose status_list has a whole number idx and a text uri"),
        }
    }
}

/// The statuses of many tokens (section 4.1). Made from a signed list, and from nothing else.
#[derive(Debug, PartialEq, Eq)]
pub struct StatusList {
    bits: u8,
    bytes: Vec<u8>,
}

/// Why a list is none that can be used. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFault {
    /// It is over.
    Expired,
    /// It is no signed list.
    Form,
    /// None of the keys may have signed it.
    Key,
    /// The signature is not the key's.
    Signature,
    /// It is another list than the one that was asked for.
    Subject,
    /// Inflated it is larger than the limit.
    TooLarge,
    /// It is a token of another kind.
    Typ,
}

impl fmt::Display for ListFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Expired => "the status list is over (exp)",
            Self::Form => "not a signed status list",
            Self::Key => "no key of the provider, or of status_lists.jwks, has signed the status list",
            Self::Signature => "the status list's signature is not its key's",
            Self::Subject => "the status list is another one (sub)",
            Self::TooLarge => "the status list is too large when it is inflated",
            Self::Typ => "not a status list (typ)",
        })
    }
}

impl StatusList {
    /// The status of a token; none if the list is not that long. 0 is valid, all else is not (section 7.1).
    #[must_use]
    pub fn status(&self, index: u64) -> Option<u8> {
        let bits = u64::from(self.bits);
        let first = index.checked_mul(bits)?;
        let byte = self.bytes.get(usize::try_from(first / 8).ok()?)?;
        // The first is in the least significant bits.
        let shifted = byte >> (first % 8);
        Some(shifted & (u8::MAX >> (8_u8.saturating_sub(self.bits))))
    }

    /// How many tokens it is for.
    #[must_use]
    pub fn len(&self) -> u64 {
        let bytes = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        bytes.saturating_mul(8).checked_div(self.bits.into()).unwrap_or_default()
    }

    /// Whether it is for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.bytes.len()
    }

    /// Reads the claim `status_list` (section 4.2).
    fn read(claims: &Object) -> Result<Self, ListFault> {
        let list = claims.get("status_list").and_then(Value::as_object).ok_or(ListFault::Form)?;
        let bits = match list.get("bits").and_then(Value::as_u64) {
            Some(1) => 1,
            Some(2) => 2,
            Some(4) => 4,
            Some(8) => 8,
            Some(_) | None => return Err(ListFault::Form),
        };
        let deflated = list.get("lst").and_then(Value::as_str).and_then(|lst| URL_SAFE_NO_PAD.decode(lst).ok());
        let inflated = decompress_to_vec_zlib_with_limit(&deflated.ok_or(ListFault::Form)?, MAX_INFLATED_BYTES);
        let bytes = inflated.map_err(|error| match error.status {
            TINFLStatus::HasMoreOutput => ListFault::TooLarge,
            _ => ListFault::Form,
        })?;
        Ok(Self { bits, bytes })
    }
}

/// Who may have signed a list.
pub struct Signers<'a> {
    /// The algorithms that are accepted.
    pub algorithms: &'a [Algorithm],
    /// The keys.
    pub keys: &'a KeySet,
    /// Who verifies.
    pub signatures: &'a dyn Signatures,
}

impl Signers<'_> {
    /// The claims of a list that one of the keys has signed.
    fn verify(&self, token: &Unverified<'_>) -> Result<(), ListFault> {
        let algorithm = Algorithm::from_name(&token.header.alg).filter(|named| self.algorithms.contains(named));
        let algorithm = algorithm.ok_or(ListFault::Key)?;
        let may_sign = |key: &&std::rc::Rc<Key>| {
            key.material.fits(algorithm) && key.algorithm.is_none_or(|bound| bound == algorithm)
        };
        let named = token.header.kid.as_deref().and_then(|kid| self.keys.with_kid(kid).find(may_sign));
        let unnamed = self.keys.without_kid().filter(may_sign).filter(|_| named.is_none());
        let mut fault = ListFault::Key;
        for key in named.into_iter().chain(unnamed) {
            match token.verify(algorithm, &key.material, self.signatures) {
                Ok(_) => return Ok(()),
                Err(Some(_)) => return Err(ListFault::Form),
                Err(None) => fault = ListFault::Signature,
            }
        }
        Err(fault)
    }
}

/// The request for a list (section 8.1); none if its address is none.
#[must_use]
pub fn call(settings: &StatusLists, uri: &str) -> Option<Call> {
    Some(Call {
        method: "GET",
        address: Address::parse(uri)?,
        cluster: settings.cluster.clone(),
        timeout: settings.timeout,
        headers: vec![("accept", "application/statuslist+jwt".to_owned())],
        form: None,
    })
}

/// What an answer means (section 8.3). Without keys nobody can have signed.
#[must_use]
pub fn understand(
    settings: &StatusLists,
    uri: &str,
    response: &Response,
    signers: Option<&Signers<'_>>,
    now: Millis,
) -> Word {
    if response.status != 200 {
        return Word::none(Fault::Status(response.status), now, response.retry_after);
    }
    match read(uri, &response.body, signers, now) {
        Ok((list, claims)) => {
            // The issuer's own wish, and ours: the shorter counts (section 13.7).
            let ttl = time(&claims, "ttl").map_or(settings.cache, Duration::from_millis);
            Word::good(Said::Listed(list), now, settings.cache.min(ttl), time(&claims, "exp"))
        }
        Err(fault) => Word::none(Fault::List(fault), now, None),
    }
}

fn read(uri: &str, body: &[u8], signers: Option<&Signers<'_>>, now: Millis) -> Result<(StatusList, Object), ListFault> {
    let text = std::str::from_utf8(body.trim_ascii()).map_err(|_| ListFault::Form)?;
    let token = Unverified::read_up_to(text, MAX_LIST_BYTES).map_err(|_| ListFault::Form)?;
    let typ = token.header.typ.as_deref().unwrap_or_default();
    let plain = typ
        .get(..12)
        .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
        .map_or(typ, |_| typ.get(12..).unwrap_or_default());
    if !plain.eq_ignore_ascii_case(TYP) {
        return Err(ListFault::Typ);
    }
    if token.claims.get("sub").and_then(Value::as_str) != Some(uri) {
        return Err(ListFault::Subject);
    }
    // What is there must be a time, and `iat` must be there (section 5.1).
    let seconds =
        |name: &str| token.claims.get(name).map(|_| time(&token.claims, name).ok_or(ListFault::Form)).transpose();
    let (issued_at, expires, _) = (seconds("iat")?, seconds("exp")?, seconds("ttl")?);
    if issued_at.is_none() {
        return Err(ListFault::Form);
    }
    if expires.is_some_and(|expires| expires <= now) {
        return Err(ListFault::Expired);
    }
    signers.ok_or(ListFault::Key)?.verify(&token)?;
    // Nothing is inflated that nobody answers for.
    Ok((StatusList::read(&token.claims)?, token.claims))
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature, SigningKey};
    use serde_json::json;

    use super::*;
    use crate::inquiry::source::{Allowed, OnFailure};
    use crate::jose::signature::Software;

    const NOW: Millis = 1_760_000_000_000;
    const URI: &str = "https://status.example/lists/1";

    fn key(name: u8) -> SigningKey {
        SigningKey::from_slice(&[name; 32]).unwrap()
    }

    fn jwks(names: &[u8]) -> KeySet {
        let jwk = |name: &u8| {
            let point = key(*name).verifying_key().to_sec1_point(false);
            let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..]);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            json!({"kty": "EC", "crv": "P-256", "kid": name.to_string(), "x": x, "y": y})
        };
        let set = json!({"keys": names.iter().map(jwk).collect::<Vec<_>>()});
        KeySet::read(set.to_string().as_bytes()).ok().unwrap()
    }

    fn signed(header: &Value, claims: &Value, signer: u8) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature: Signature = key(signer).sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn lst(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(bytes, 9))
    }

    fn good_header() -> Value {
        json!({"alg": "ES256", "kid": "1", "typ": "statuslist+jwt"})
    }

    fn good_claims() -> Value {
        json!({"sub": URI, "iat": NOW / 1_000, "status_list": {"bits": 1, "lst": lst(&[0xb9, 0xa3])}})
    }

    fn settings() -> StatusLists {
        StatusLists {
            allowed: vec![Allowed::Exact(URI.into())],
            cluster: "status".into(),
            timeout: Duration::from_secs(2),
            keys: None,
            cache: Duration::from_secs(300),
            on_failure: OnFailure::Deny,
        }
    }

    fn heard(status: u16, body: &str) -> (Result<StatusList, String>, u64) {
        let keys = jwks(&[1, 2]);
        let signers = Signers { algorithms: &[Algorithm::Es256], keys: &keys, signatures: &Software };
        let response = Response { status, retry_after: None, body: body.as_bytes().to_vec() };
        let word = understand(&settings(), URI, &response, Some(&signers), NOW);
        let said = match word.said {
            Said::Listed(list) => Ok(list),
            Said::Nothing(fault) => Err(fault.to_string()),
            Said::Active(_) | Said::Inactive | Said::Refused(_) | Said::Taken(_) => Err("another kind".to_owned()),
        };
        (said, word.until - NOW)
    }

    fn list(bits: u8, lst: &str) -> StatusList {
        let claims = json!({"status_list": {"bits": bits, "lst": lst}});
        StatusList::read(claims.as_object().unwrap()).unwrap()
    }

    #[test]
    fn the_draft_s_own_lists_are_read_as_it_says() {
        // Section 4.1 and 4.2.
        let (one, two) = (list(1, "eNrbuRgAAhcBXQ"), list(2, "eNo76fITAAPfAgc"));
        let read = |list: &StatusList| (0..list.len()).map(|index| list.status(index).unwrap()).collect::<Vec<u8>>();
        assert_eq!(read(&one), [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
        assert_eq!(read(&two), [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
        assert_eq!((one.status(16), two.status(12)), (None, None));
    }

    #[test]
    fn every_width_has_its_places_and_an_end() {
        for (bits, expected) in
            [(1, vec![1, 0, 1, 0, 0, 1, 0, 1]), (2, vec![1, 1, 2, 2]), (4, vec![5, 10]), (8, vec![0xa5])]
        {
            let list = list(bits, &lst(&[0xa5]));
            let places: Vec<u8> = (0..).map_while(|index| list.status(index)).collect();
            assert_eq!(places, expected, "{bits}");
            assert_eq!(list.len(), expected.len() as u64);
            for index in [list.len(), u64::from(u32::MAX), u64::MAX / 8, u64::MAX] {
                assert_eq!(list.status(index), None, "{bits} {index}");
            }
        }
        assert_eq!(list(1, &lst(&[])).status(0), None);
    }

    #[test]
    fn a_list_counts_as_long_as_its_issuer_and_the_configuration_say() {
        for (changes, counts) in [
            (json!({}), 300_000),
            (json!({"ttl": 43_200}), 300_000),
            (json!({"ttl": 60}), 60_000),
            (json!({"ttl": 0}), 1_000),
            (json!({"exp": NOW / 1_000 + 30}), 30_000),
            (json!({"ttl": 10, "exp": NOW / 1_000 + 30}), 10_000),
        ] {
            let mut claims = good_claims();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let (said, until) = heard(200, &signed(&good_header(), &claims, 1));
            assert!(said.is_ok(), "{changes}");
            assert_eq!(until, counts, "{changes}");
        }
    }

    #[test]
    fn what_is_not_the_list_that_was_asked_for_is_none() {
        let with = |target: Value, name: &str, value: Value| {
            let mut target = target;
            target[name] = value;
            target
        };
        let header = |name: &str, value: Value| signed(&with(good_header(), name, value), &good_claims(), 1);
        let claim = |name: &str, value: Value| signed(&good_header(), &with(good_claims(), name, value), 1);
        let content = |value: Value| claim("status_list", value);
        let good = signed(&good_header(), &good_claims(), 1);
        assert!(heard(200, &good).0.is_ok());
        assert!(heard(200, &header("typ", json!("application/StatusList+JWT"))).0.is_ok());
        assert!(heard(200, &format!("{good}\n")).0.is_ok());
        let bomb = lst(&vec![0; MAX_INFLATED_BYTES + 1]);
        assert!(bomb.len() < 8 * 1024, "{}", bomb.len());
        let full = content(json!({"bits": 1, "lst": lst(&vec![0; MAX_INFLATED_BYTES])}));
        assert_eq!(heard(200, &full).0.ok().unwrap().len(), 8 * MAX_INFLATED_BYTES as u64);
        for (body, fault) in [
            (content(json!({"bits": 1, "lst": bomb})), ListFault::TooLarge),
            (header("typ", json!("JWT")), ListFault::Typ),
            (header("typ", Value::Null), ListFault::Form),
            (header("kid", json!("3")), ListFault::Key),
            (header("alg", json!("RS256")), ListFault::Key),
            (header("alg", json!("none")), ListFault::Key),
            (header("kid", json!("2")), ListFault::Signature),
            (signed(&good_header(), &good_claims(), 2), ListFault::Signature),
            (header("crit", json!(["exp"])), ListFault::Form),
            (claim("sub", json!("https://status.example/lists/2")), ListFault::Subject),
            (claim("sub", Value::Null), ListFault::Subject),
            (claim("iat", Value::Null), ListFault::Form),
            (claim("iat", json!("now")), ListFault::Form),
            (claim("ttl", json!("long")), ListFault::Form),
            (claim("ttl", json!(-1)), ListFault::Form),
            (claim("exp", json!([])), ListFault::Form),
            (claim("exp", json!(NOW / 1_000)), ListFault::Expired),
            (claim("exp", json!(0)), ListFault::Expired),
            (content(Value::Null), ListFault::Form),
            (content(json!({"bits": 3, "lst": lst(&[0])})), ListFault::Form),
            (content(json!({"bits": 0, "lst": lst(&[0])})), ListFault::Form),
            (content(json!({"bits": "1", "lst": lst(&[0])})), ListFault::Form),
            (content(json!({"lst": lst(&[0])})), ListFault::Form),
            (content(json!({"bits": 1})), ListFault::Form),
            (content(json!({"bits": 1, "lst": "bm90IHpsaWI"})), ListFault::Form),
            (content(json!({"bits": 1, "lst": "eNrbuRgAAhcBX"})), ListFault::Form),
            (content(json!({"bits": 1, "lst": "eNrbuRgAAhcBXQ=="})), ListFault::Form),
            // Cut off, and with another checksum.
            (content(json!({"bits": 1, "lst": "eNrbuRg"})), ListFault::Form),
            (content(json!({"bits": 1, "lst": "eNrbuRgAAhcBXg"})), ListFault::Form),
            (good.replace('.', ""), ListFault::Form),
            ("{}".to_owned(), ListFault::Form),
            (String::new(), ListFault::Form),
            (format!("{good}.{}", "x".repeat(MAX_LIST_BYTES)), ListFault::Form),
        ] {
            let short: String = body.chars().take(400).collect();
            assert_eq!(heard(200, &body), (Err(fault.to_string()), 1_000), "{short}");
        }
        for status in [204, 302, 404, 406, 500, 503] {
            assert_eq!(heard(status, &good).0, Err(format!("status {status}")));
        }
        let response = Response { status: 200, retry_after: None, body: good.into_bytes() };
        let word = understand(&settings(), URI, &response, None, NOW);
        assert!(matches!(word.said, Said::Nothing(Fault::List(ListFault::Key))));
    }

    #[test]
    fn a_token_names_its_status_or_nothing_that_is_looked_at() {
        let read = |claims: Value| Reference::read(claims.as_object().unwrap());
        let named = read(json!({"status": {"status_list": {"idx": 7, "uri": URI, "more": 1}}}));
        assert_eq!(named, Ok(Some(Reference { index: 7, uri: URI.into() })));
        for claims in [json!({}), json!({"status": {}}), json!({"status": {"other": {"idx": 1}}})] {
            assert_eq!(read(claims), Ok(None));
        }
        for status in [
            json!(null),
            json!("valid"),
            json!([]),
            json!({"status_list": null}),
            json!({"status_list": []}),
            json!({"status_list": {"idx": 1}}),
            json!({"status_list": {"uri": URI}}),
            json!({"status_list": {"idx": "1", "uri": URI}}),
            json!({"status_list": {"idx": -1, "uri": URI}}),
            json!({"status_list": {"idx": 1.5, "uri": URI}}),
            json!({"status_list": {"idx": 1, "uri": [URI]}}),
        ] {
            assert!(read(json!({ "status": status })).is_err(), "{status}");
        }
    }

    #[test]
    fn the_request_asks_for_a_jwt() {
        let call = call(&settings(), URI).unwrap();
        assert_eq!((call.method, call.address.to_string().as_str()), ("GET", URI));
        assert_eq!(call.headers, [("accept", "application/statuslist+jwt".to_owned())]);
        assert!(super::call(&settings(), "http://status.example/1").is_none());
    }
}
