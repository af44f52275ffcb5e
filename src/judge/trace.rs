//! What a judgement did, written down: where the token was, which rule matched, every check in order and what came of it.
//!
//! It never decides: the judge tells it what it has just done, and an ordinary judgement has nobody to tell. Holds no
//! token and no signature, and of the claims only those that matter here, cut short.

use std::cell::RefCell;

use serde_json::Value;

use super::request::Request;
use super::{Given, excerpt};
use crate::jose::algorithm::Algorithm;
use crate::jose::compact::Unverified;
use crate::jose::json::Object;
use crate::policy::rules::Numbered;

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What is checked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Check { $($(#[$doc])* $variant,)* }

        impl Check {
            /// All of them, in the order in which a token meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

checks! {
    /// Whether it is a CORS preflight, which passes without a token.
    Preflight => "preflight",
    /// Whether the path can be read safely, and a rule be found.
    Path => "path",
    /// Whether there is one credential where tokens may be.
    Credential => "credential",
    /// Whether it is a compact JWS, or can be decrypted to one.
    Form => "form",
    /// `typ` and `cty`.
    Type => "type",
    /// Whether `iss` is an issuer of a provider that the rule accepts.
    Issuer => "issuer",
    /// `ver`.
    Version => "version",
    /// `tid`, against `iss` and the accepted tenants.
    Tenant => "tenant",
    /// The B2C policy.
    Policy => "policy",
    /// `alg`.
    Algorithm => "algorithm",
    /// `exp`.
    Expiry => "expiry",
    /// `nbf`.
    NotBefore => "not_before",
    /// `exp` − `iat`.
    Lifetime => "lifetime",
    /// `aud`.
    Audience => "audience",
    /// `azp` or `appid`.
    Client => "client",
    /// The provider's `required_claims`.
    Claims => "claims",
    /// What the rule asks of audience, client and claims.
    Rule => "rule",
    /// Whether keys are held.
    Keys => "keys",
    /// Whether metadata states the token's issuer.
    StatedIssuer => "stated_issuer",
    /// Whether the key that the token names is among them.
    KeyId => "kid",
    /// Whether that key may sign this token.
    Key => "key",
    /// The signature.
    Signature => "signature",
    /// Whether Microsoft Graph takes a token that only Graph can verify, as that of the same user.
    Userinfo => "userinfo",
    /// Whether the claims that identify the token can be read.
    Identity => "identity",
    /// Whether the token is revoked.
    Revocation => "revocation",
    /// Whether its authorization server calls the token active. For an opaque token this comes first.
    Introspection => "introspection",
    /// Its status in a status list.
    Status => "status",
    /// Scopes, roles and kinds of tokens.
    Permissions => "permissions",
    /// `acrs`.
    AuthContext => "auth_context",
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The token or request did not satisfy it.
    Failed,
    /// It cannot be told without keys, or somebody's answer.
    Lacking,
    /// It did.
    Passed,
}

impl Outcome {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Lacking => "lacking",
            Self::Passed => "passed",
        }
    }
}

/// What was expected and what was found, in words.
pub(super) struct Told {
    pub(super) expected: String,
    pub(super) found: String,
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub check: Check,
    /// For which provider; none before one is chosen.
    pub provider: Option<String>,
    /// What would have satisfied it.
    pub expected: String,
    /// What there was.
    pub found: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// One way to read the path, and the rule that is the first to match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The path as it was read.
    pub path: String,
    /// Which of the rules, from 0; none: no rule matched, so a token of any provider is required.
    pub rule: Option<usize>,
    /// The rule's match, in words.
    pub matches: String,
}

/// What the token says of itself. Unverified unless the signature check passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenTold {
    /// How the client sent it.
    pub source: String,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// Whether it was verified before and what was found then still holds.
    pub remembered: bool,
    /// The header members that matter.
    pub header: Object,
    /// The claims that matter, cut short.
    pub claims: Object,
    /// The names of the others.
    pub others: Vec<String>,
}

/// The key that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTold {
    /// The provider that it belongs to.
    pub provider: String,
    /// `kid`
    pub kid: String,
    /// What it is used with.
    pub algorithm: Algorithm,
    /// The metadata document that led to it; none for inline keys.
    pub metadata: Option<String>,
    /// The key document.
    pub document: Option<String>,
    /// How many keys are held with it.
    pub keys: usize,
    /// How old they are, in seconds; none for inline keys.
    pub age: Option<u64>,
    /// How old they may become, in seconds; none for inline keys.
    pub max_age: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The time of the judgement, in Unix seconds.
    pub at: u64,
    /// The method, where anything looks at it.
    pub method: String,
    /// The host, where anything looks at it.
    pub host: String,
    /// The path without its query.
    pub path: String,
    /// The rules that matched, one for each way to read the path; empty if there are no rules.
    pub rules: Vec<Reading>,
    /// What the token says, once it can be read.
    pub token: Option<TokenTold>,
    /// The checks, in order.
    pub checks: Vec<Step>,
    /// The key, once it is chosen.
    pub key: Option<KeyTold>,
    /// The documents whose keys were waited for, and who was asked.
    pub waited_for: Vec<String>,
}

/// Claims that the filter reads, or that tell people whose token it is. Names for display are not among them.
const CLAIMS: [&str; 22] = [
    "acr", "acrs", "appid", "appidacr", "aud", "azp", "azpacr", "exp", "iat", "idtyp", "iss", "jti", "nbf", "oid",
    "roles", "scope", "scp", "sid", "sub", "tfp", "tid", "uti",
];
/// Further ones.
const MORE_CLAIMS: [&str; 4] = ["client_id", "status", "ver", "xms_cc"];
/// Most values of a list that are shown.
const MOST_VALUES: usize = 20;
/// Most names of other claims.
const MOST_NAMES: usize = 50;

/// Whom a judgement tells what it does: nobody, as a rule.
#[derive(Clone, Copy)]
pub(super) struct Recorder<'a>(pub(super) Option<&'a RefCell<Trace>>);

impl Recorder<'_> {
    /// Whether anybody listens.
    pub(super) fn is_on(self) -> bool {
        self.0.is_some()
    }

    pub(super) fn request(self, request: &Request, at: u64) {
        self.write(&|trace| {
            trace.at = at;
            trace.method.clone_from(&request.method);
            trace.host.clone_from(&request.authority);
            trace.path = path_of(&request.path);
        });
    }

    pub(super) fn rule(self, path: &str, rule: Option<Numbered<'_>>) {
        self.write(&|trace| {
            let matches = rule.map_or_else(|| "no rule".to_owned(), |(_, rule)| rule.matcher.to_string());
            let reading = Reading { path: path.to_owned(), rule: rule.map(|(at, _)| at), matches };
            if !trace.rules.contains(&reading) {
                trace.rules.push(reading);
            }
        });
    }

    pub(super) fn found(self, source: String, remembered: bool) {
        self.write(&|trace| {
            trace.token = Some(TokenTold { source: source.clone(), remembered, ..TokenTold::default() });
        });
    }

    pub(super) fn token(self, token: &Unverified<'_>, encrypted: bool, given: &Given<'_>) {
        self.write(&|trace| {
            let told = trace.token.get_or_insert_with(TokenTold::default);
            told.encrypted = encrypted;
            let header = &token.header;
            if !header.alg.is_empty() {
                told.header.insert("alg".to_owned(), excerpt(&header.alg).into());
            }
            for (name, value) in [("cty", &header.cty), ("kid", &header.kid), ("typ", &header.typ)] {
                if let Some(value) = value {
                    told.header.insert(name.to_owned(), excerpt(value).into());
                }
            }
            if header.has_nonce {
                told.header.insert("nonce".to_owned(), "present".into());
            }
            let asked = &given.policy.rules.asked().claims;
            let required = given.policy.providers.all().iter().flat_map(|provider| &provider.required_claims);
            let required: Vec<&str> = required.flat_map(|required| required.claim.claims()).collect();
            let matters = |name: &str| {
                CLAIMS.contains(&name)
                    || MORE_CLAIMS.contains(&name)
                    || asked.iter().any(|asked| asked == name)
                    || required.contains(&name)
            };
            for (name, value) in &token.claims {
                if matters(name) {
                    told.claims.insert(name.clone(), cut(value));
                } else if told.others.len() < MOST_NAMES {
                    told.others.push(excerpt(name));
                }
            }
        });
    }

    pub(super) fn key(self, key: &dyn Fn() -> Option<KeyTold>) {
        self.write(&|trace| trace.key = key());
    }

    /// A check and what came of it. What cannot be told is not worth telling, unless it failed.
    pub(super) fn check(self, check: Check, provider: Option<&str>, outcome: Outcome, told: &dyn Fn() -> Option<Told>) {
        self.write(&|trace| {
            let told = match told() {
                Some(told) => told,
                None if outcome == Outcome::Passed => return,
                None => Told { expected: String::new(), found: String::new() },
            };
            let Told { expected, found } = told;
            trace.checks.push(Step { check, provider: provider.map(str::to_owned), expected, found, outcome });
        });
    }

    fn write(self, change: &dyn Fn(&mut Trace)) {
        if let Some(trace) = self.0
            && let Ok(mut trace) = trace.try_borrow_mut()
        {
            change(&mut trace);
        }
    }
}

/// Whether a check passed.
pub(super) fn outcome<T, E>(result: &Result<T, E>) -> Outcome {
    if result.is_ok() { Outcome::Passed } else { Outcome::Failed }
}

/// A claim as people read it.
pub(super) fn shown(claims: &Object, name: &str) -> String {
    match claims.get(name) {
        None => "absent".to_owned(),
        Some(Value::String(text)) => excerpt(text),
        Some(value) => cut(value).to_string(),
    }
}

/// Several claims, those that are there, as people read them.
pub(super) fn shown_all(claims: &Object, names: &[&str]) -> String {
    let there = names.iter().filter(|name| claims.contains_key(**name));
    let there: Vec<String> = there.map(|name| format!("{name} {}", shown(claims, name))).collect();
    if there.is_empty() { format!("no {}", names.join(", ")) } else { there.join(", ") }
}

/// A value, cut short.
fn cut(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => excerpt(text).into(),
        Value::Array(elements) => elements.iter().take(MOST_VALUES).map(scalar).collect(),
        Value::Object(_) => excerpt(&value.to_string()).into(),
    }
}

fn scalar(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => excerpt(text).into(),
        Value::Array(_) | Value::Object(_) => excerpt(&value.to_string()).into(),
    }
}

fn path_of(target: &str) -> String {
    target.split('?').next().unwrap_or_default().to_owned()
}
