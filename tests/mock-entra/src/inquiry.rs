//! What a gate may ask about a token: an introspection endpoint (RFC 7662), Microsoft Graph's `oidc/userinfo`, status lists
//! (draft-ietf-oauth-status-list-21).

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use miniz_oxide::deflate::compress_to_vec_zlib;
use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::keyring::Key;
use crate::merge::merge;
use crate::question::without_port;
use crate::token::Algorithm;

/// Where status lists are.
const LISTS: (&str, &str) = ("status.example.com", "/lists/");
/// Who may introspect.
const CLIENT: (&str, &str) = ("gate", "worthless-introspection-secret");

/// What is known of tokens.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    told: HashMap<String, Value>,
    lists: HashMap<String, ListRequest>,
}

/// What is said of a token from now on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The token.
    pub token: String,
    /// The answer to questions about it.
    pub answer: Value,
}

/// A status list that is served from now on. The defaults make a good one of a thousand valid tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListRequest {
    /// What follows `https://status.example.com/lists/`.
    pub name: String,
    /// How many bits a status has.
    pub bits: u8,
    /// How many bytes the list has when it is inflated.
    pub bytes: usize,
    /// Statuses that are not 0, by their places.
    pub set: BTreeMap<usize, u8>,
    /// Seconds from now to `exp`, by default none.
    pub expires_in: Option<i64>,
    /// The fixture that signs.
    pub key: String,
    /// Merged over the claims (RFC 7396); `null` removes.
    pub claims: Value,
    /// Merged over the header (RFC 7396); `null` removes.
    pub header: Value,
    /// Whether a bit of the signature is flipped.
    pub corrupt: bool,
}

impl Default for ListRequest {
    fn default() -> Self {
        Self {
            name: "1".to_owned(),
            bits: 1,
            bytes: 125,
            set: BTreeMap::new(),
            expires_in: None,
            key: "oidc".to_owned(),
            claims: json!({}),
            header: json!({}),
            corrupt: false,
        }
    }
}

impl Inquiries {
    pub(crate) fn tell(&mut self, told: Told) {
        self.told.insert(told.token, told.answer);
    }

    pub(crate) fn list(&mut self, list: ListRequest) {
        self.lists.insert(list.name.clone(), list);
    }

    /// Answers a request to `/introspect`: what was told, else that a JWT is active and anything else is not.
    pub(crate) fn introspect(&self, authorization: Option<&str>, form: &[u8]) -> (u16, Value) {
        let member = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(form);
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let in_header = authorization.and_then(|value| {
            let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
            let (client, secret) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
            Some((client.to_owned(), secret.to_owned()))
        });
        let in_form = || Some((member("client_id")?, member("client_secret")?));
        match in_header.or_else(in_form) {
            Some((client, secret)) if (client.as_str(), secret.as_str()) == CLIENT => {}
            Some(_) | None => return (401, json!({"error": "invalid_client"})),
        }
        let Some(token) = member("token") else {
            return (400, json!({"error": "invalid_request"}));
        };
        if let Some(answer) = self.told.get(&token) {
            return (200, answer.clone());
        }
        let answer = match payload(&token) {
            Some(mut claims) => {
                claims["active"] = json!(true);
                claims
            }
            None => json!({"active": false}),
        };
        (200, answer)
    }

    /// A status list, if there is one at this address.
    pub(crate) fn status_list(&self, host: &str, target: &str, now: i64) -> Option<String> {
        if !without_port(host).eq_ignore_ascii_case(LISTS.0) {
            return None;
        }
        let list = self.lists.get(target.strip_prefix(LISTS.1)?)?;
        list.sign(now)
    }
}

impl ListRequest {
    fn sign(&self, now: i64) -> Option<String> {
        let mut bytes = vec![0_u8; self.bytes];
        for (place, status) in &self.set {
            let first = place * usize::from(self.bits);
            *bytes.get_mut(first / 8)? |= status << (first % 8);
        }
        let key = Key::named(&self.key)?;
        let algorithm = key.usual_algorithm();
        let uri = format!("https://{}{}{}", LISTS.0, LISTS.1, self.name);
        let lst = URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(&bytes, 9));
        let mut claims = json!({"sub": uri, "iat": now, "status_list": {"bits": self.bits, "lst": lst}});
        if let Some(seconds) = self.expires_in {
            claims["exp"] = json!(now + seconds);
        }
        merge(&mut claims, &self.claims);
        let mut header = json!({"typ": "statuslist+jwt", "alg": algorithm.name(), "kid": key.kid});
        merge(&mut header, &self.header);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signing_input = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = key.sign(algorithm, signing_input.as_bytes())?;
        if self.corrupt {
            *signature.first_mut()? ^= 1;
        }
        Some(format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Answers a request to `oidc/userinfo` of Graph, which alone can verify tokens with a `nonce` in their header.
pub(crate) fn userinfo(authorization: Option<&str>, now: i64) -> (u16, Value) {
    let refused = |message: &str| (401, json!({"error": {"code": "InvalidAuthenticationToken", "message": message}}));
    let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
        return refused("Access token is empty.");
    };
    let Some(claims) = payload(token).filter(|_| is_signed(token)) else {
        return refused("Access token validation failure. Invalid signature.");
    };
    if claims["exp"].as_i64().is_none_or(|exp| exp <= now) {
        return refused("Lifetime validation failed, the token is expired.");
    }
    let scopes = claims["scp"].as_str().unwrap_or_default();
    if !scopes.split(' ').any(|scope| scope == "openid") {
        return (403, json!({"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges."}}));
    }
    (
        200,
        json!({"sub": claims["sub"], "name": "Abe Lincoln", "picture": "https://graph.microsoft.com/v1.0/me/photo/$value"}),
    )
}

/// The header that is signed in place of the one that is sent: the hash of its `nonce` stands there.
pub(crate) fn transformed(header: &str) -> Option<String> {
    let mut header: Value = serde_json::from_str(header).ok()?;
    let nonce = header["nonce"].as_str()?;
    header["nonce"] = json!(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, nonce.as_bytes())));
    Some(header.to_string())
}

fn is_signed(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return false };
    let header = URL_SAFE_NO_PAD.decode(header).ok().and_then(|header| String::from_utf8(header).ok());
    let kid = |header: &String| {
        let header: Value = serde_json::from_str(header).ok()?;
        header["kid"].as_str().map(str::to_owned)
    };
    let signed = header.and_then(|header| {
        let key = Key::of_kid(&kid(&header)?)?;
        let input = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(transformed(&header)?));
        // RS256 signs the same with the same.
        key.sign(Algorithm::Rs256, input.as_bytes())
    });
    signed.is_some_and(|expected| URL_SAFE_NO_PAD.encode(expected) == *signature)
}

fn payload(token: &str) -> Option<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [_, payload, _] = parts.as_slice() else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok().filter(Value::is_object)
}
