//! A transmitter of Shared Signals 1.0, by push (RFC 8935) and poll (RFC 8936), and an issuer of logout tokens (OpenID Connect
//! Back-Channel Logout 1.0): the generic provider at `idp.example.com`, with its keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::authority::{Kind, OIDC_ISSUER};
use crate::token::{TokenRequest, USER};

/// Who receives, unless told otherwise.
pub(crate) const AUDIENCE: &str = "https://gate.example/signals";
/// What a receiver that polls says of itself.
pub(crate) const AUTHORIZATION: &str = "Bearer worthless-stream-token";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A security event token to make. The defaults revoke all sessions of the user who is always signed in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetRequest {
    /// The event's type.
    pub event: Option<String>,
    /// The event's own members.
    pub members: Map<String, Value>,
    /// `sub_id`.
    pub subject: Option<Value>,
    /// Whatever else is different; `claims` and `header` replace members, `null` removes them.
    pub token: TokenRequest,
    /// Where it is sent; else it waits for whoever polls.
    pub push: Option<Push>,
    /// Whether it waits for whoever polls; not if it is sent.
    pub hold: Option<bool>,
}

/// Where a SET is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// An http address.
    pub url: String,
    /// `Authorization`
    pub authorization: Option<String>,
}

/// The stream of whoever polls.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    waiting: Vec<(String, String)>,
    acknowledged: Vec<String>,
    errors: BTreeMap<String, Value>,
}

impl SetRequest {
    /// As a token of the generic provider.
    pub(crate) fn token(&self, now: i64) -> TokenRequest {
        let event = self.event.as_deref().unwrap_or(SESSION_REVOKED);
        let subject = self.subject.clone();
        let subject = subject.unwrap_or_else(|| json!({"format": "iss_sub", "iss": OIDC_ISSUER, "sub": USER}));
        let claims = json!({
            "aud": AUDIENCE, "iat": now, "jti": Uuid::new_v4().simple().to_string(), "txn": Uuid::new_v4().to_string(),
            "sub_id": subject, "events": {event: self.members},
            // An access token has these.
            "client_id": null, "exp": null, "nbf": null, "scope": null, "sub": null,
        });
        over(&self.token, claims, "secevent+jwt")
    }
}

/// A logout token of the generic provider for the client `gate`; `changes` replace its members.
pub(crate) fn logout_token(changes: &TokenRequest, now: i64) -> TokenRequest {
    let claims = json!({
        "aud": "gate", "iat": now, "exp": now + 120, "jti": Uuid::new_v4().simple().to_string(), "sub": USER,
        "events": {LOGOUT: {}}, "client_id": null, "nbf": null, "scope": null,
    });
    over(changes, claims, "logout+jwt")
}

fn over(changes: &TokenRequest, mut claims: Value, kind: &str) -> TokenRequest {
    let mut header = json!({"typ": kind});
    for (target, changes) in [(&mut claims, &changes.claims), (&mut header, &changes.header)] {
        for (name, value) in changes.as_object().into_iter().flatten() {
            target[name] = value.clone();
        }
    }
    TokenRequest { kind: Kind::Oidc, claims, header, ..changes.clone() }
}

impl Stream {
    pub(crate) fn hold(&mut self, jti: &str, set: &str) {
        self.waiting.push((jti.to_owned(), set.to_owned()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what the question tells, and answers with what waits.
    pub(crate) fn poll(&mut self, question: &Value) -> Value {
        let acknowledged = question["ack"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.acknowledged.extend(acknowledged.map(str::to_owned));
        for (jti, error) in question["setErrs"].as_object().into_iter().flatten() {
            self.errors.insert(jti.clone(), error.clone());
        }
        let (acknowledged, errors) = (&self.acknowledged, &self.errors);
        self.waiting.retain(|(jti, _)| !acknowledged.contains(jti) && !errors.contains_key(jti));
        let most = question["maxEvents"].as_u64().map_or(usize::MAX, |most| most.try_into().unwrap_or(usize::MAX));
        let sets: Map<String, Value> =
            self.waiting.iter().take(most).map(|(jti, set)| (jti.clone(), json!(set))).collect();
        json!({"sets": sets, "moreAvailable": self.waiting.len() > most})
    }

    pub(crate) fn summary(&self) -> Value {
        let waiting: Vec<&String> = self.waiting.iter().map(|(jti, _)| jti).collect();
        json!({"waiting": waiting, "acknowledged": self.acknowledged, "errors": self.errors})
    }
}

/// The transmitter's metadata (section 7.1).
pub(crate) fn metadata() -> Value {
    json!({
        "spec_version": "1_0",
        "issuer": OIDC_ISSUER,
        "jwks_uri": format!("{OIDC_ISSUER}/keys"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
    })
}
