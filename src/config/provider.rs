//! `providers`: the members of each, and which of them go together.

use std::time::Duration;

use super::authority::{Documents, Plan};
use super::claims;
use super::decryption::DecryptionKeys;
use super::environment::Environment;
use super::node::{Members, Node};
use super::{inquiry, jwks, sources};
use crate::entra::TokenVersion;
use crate::entra::cloud::Cloud;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{KeyMaterial, KeySet};
use crate::policy::provider::{Expiry, Kind, PersonalAccounts, Provider, Tenants};
use crate::policy::sources::Source as TokenSource;

pub(super) const MEMBERS: [&str; 25] = [
    "algorithms",
    "app_id",
    "audiences",
    "client_applications",
    "clock_skew",
    "cloud",
    "decryption_keys",
    "domain",
    "graph_tokens",
    "introspection",
    "issuers",
    "jwks",
    "keys",
    "kind",
    "max_lifetime",
    "metadata_url",
    "personal_accounts",
    "policies",
    "require_expiration_time",
    "required_claims",
    "status_lists",
    "tenants",
    "token_sources",
    "token_versions",
    "upstream",
];
pub(super) const UPSTREAM_MEMBERS: [&str; 2] = ["cluster", "timeout"];
pub(super) const KEYS_MEMBERS: [&str; 3] = ["max_age", "refresh", "unknown_kid_cooldown"];

/// What providers share.
pub(super) struct Gathered<'a> {
    pub(super) documents: Documents,
    pub(super) sources: Vec<TokenSource>,
    pub(super) decryption_keys: DecryptionKeys,
    environment: &'a Environment<'a>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(environment: &'a Environment<'a>) -> Self {
        let (documents, decryption_keys) = (Documents::default(), DecryptionKeys::default());
        Self { documents, sources: Vec::new(), decryption_keys, environment }
    }
}

pub(super) fn compile_all(node: &Node<'_>, gathered: &mut Gathered<'_>) -> Option<Vec<Provider>> {
    let compiled: Vec<Option<Provider>> =
        node.entries()?.into_iter().map(|(name, node)| compile(name, &node, gathered)).collect();
    compiled.into_iter().collect()
}

fn compile(name: &str, node: &Node<'_>, gathered: &mut Gathered<'_>) -> Option<Provider> {
    let members = node.object(&MEMBERS)?;
    let kind = members
        .get("kind")
        .map_or(Some(Kind::Workforce), |node| node.choice(&Kind::ALL.map(|kind| (kind.name(), kind))));
    let cloud = members
        .get("cloud")
        .map_or(Some(Cloud::Public), |node| node.choice(&Cloud::ALL.map(|cloud| (cloud.name(), cloud))));
    let audiences =
        members.required("audiences").and_then(|node| node.list(|audience| audience.text().map(str::to_owned)));
    let client_applications =
        members.optional("client_applications", |node| node.list(|client| client.text().map(str::to_owned)));
    let algorithms = members.get("algorithms").map_or(Some(vec![Algorithm::Rs256]), |node| {
        node.list(|algorithm| algorithm.choice(&Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm))))
    });
    let clock_skew = members
        .get("clock_skew")
        .map_or(Some(Duration::from_secs(60)), |node| node.duration(Duration::ZERO..=Duration::from_secs(600)));
    let max_lifetime = members.optional("max_lifetime", |node| {
        node.duration(Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 86_400))
    });
    let required_claims = members.get("required_claims").map_or(Some(Vec::new()), |node| claims::compile(&node));
    let source = Source::read(&members, gathered.environment);
    let sources = sources::compile(members.get("token_sources").as_ref(), &mut gathered.sources);
    let decryption_keys = match members.get("decryption_keys") {
        Some(node) => gathered.decryption_keys.compile(&node, gathered.environment),
        None => Some(Vec::new()),
    };

    let kind = kind?;
    let inquiries =
        cloud.and_then(|cloud| inquiry::compile(&members, kind, cloud, algorithms.as_deref(), gathered.environment));
    forbid_what_does_not_fit(&members, kind);
    let expiry = expiry(&members, kind);
    if let (Some(algorithms), Some(source)) = (&algorithms, &source) {
        secrets_stay_apart(&members, kind, algorithms, source)?;
    }
    let tenants = tenants(&members, kind);
    let versions = versions(&members, kind);
    let plan = Plan { members: &members, kind, cloud: cloud?, tenants: tenants?, versions: versions?, source: source? };
    let cloud = plan.cloud;
    let authorities = plan.authorities(&mut gathered.documents)?;
    let inquiries = inquiries?;
    Some(Provider {
        name: name.to_owned(),
        kind,
        cloud,
        tenants: plan.tenants,
        authorities,
        algorithms: algorithms?,
        audiences: audiences?,
        client_applications: client_applications?,
        required_claims: required_claims?,
        clock_skew: clock_skew?,
        max_lifetime: max_lifetime?,
        expiry: expiry?,
        sources: sources?,
        decryption_keys: decryption_keys?,
        introspection: inquiries.introspection,
        graph_tokens: inquiries.graph_tokens,
        status_lists: inquiries.status_lists,
    })
}

fn forbid_what_does_not_fit(members: &Members<'_>, kind: Kind) {
    match kind {
        Kind::Workforce => {
            for name in ["domain", "policies"] {
                members.forbidden(name, "it is for kinds external_id and b2c");
            }
            members.forbidden("issuers", "a workforce tenant's issuers are fixed");
        }
        Kind::ExternalId => members.forbidden("policies", "they are for kind b2c"),
        Kind::B2c => {
            members.forbidden("token_versions", "B2C tokens have one version");
            members.forbidden("app_id", "B2C has no application keys");
        }
        Kind::Oidc => {
            for name in ["app_id", "cloud", "domain", "policies", "tenants", "token_versions"] {
                members.forbidden(name, "kind oidc knows nothing of it");
            }
        }
    }
    if kind != Kind::Workforce {
        members.forbidden("personal_accounts", "it is for kind workforce with tenants `any`");
    }
    if members.get("jwks").is_some() {
        for name in ["app_id", "keys", "metadata_url", "upstream"] {
            members.forbidden(name, "with inline `jwks` nothing is fetched");
        }
    }
}

fn expiry(members: &Members<'_>, kind: Kind) -> Option<Expiry> {
    let Some(node) = members.get("require_expiration_time") else {
        return Some(Expiry::Required);
    };
    if node.flag()? {
        return Some(Expiry::Required);
    }
    if kind != Kind::Oidc {
        return node.mistake("true: tokens of Entra have `exp` (false is for kind oidc)");
    }
    if members.get("max_lifetime").is_some() {
        return node.mistake("true beside `max_lifetime`: a token without `exp` has no end");
    }
    Some(Expiry::Optional)
}

/// HS256 is for a secret that is given here, and for nothing else: a public key must never be taken for a secret
/// (RFC 8725 section 2.1).
fn secrets_stay_apart(members: &Members<'_>, kind: Kind, algorithms: &[Algorithm], source: &Source) -> Option<()> {
    let is_secret = |material: &KeyMaterial| matches!(material, KeyMaterial::Secret(_));
    let secrets: Vec<bool> = match source {
        Source::Inline(keys) => keys.keys().map(|key| is_secret(&key.material)).collect(),
        Source::Fetched { .. } => Vec::new(),
    };
    let symmetric = algorithms.iter().position(|algorithm| *algorithm == Algorithm::Hs256);
    match symmetric {
        None if secrets.contains(&true) => {
            members.at("jwks").mistake_of("a secret (oct)", "algorithms: [HS256] for it")
        }
        None => Some(()),
        Some(at) => {
            let mistake = |expected| members.at("algorithms").element(at).mistake_of("HS256", expected);
            if kind != Kind::Oidc {
                mistake("an algorithm with public keys: HS256 is for kind oidc")
            } else if algorithms.len() > 1 {
                mistake("HS256 alone, never beside an algorithm with public keys")
            } else if secrets.is_empty() || secrets.contains(&false) {
                mistake("an inline `jwks` of secrets (oct) alone")
            } else {
                Some(())
            }
        }
    }
}

fn tenants(members: &Members<'_>, kind: Kind) -> Option<Tenants> {
    if kind == Kind::Oidc {
        return Some(Tenants::Unknown);
    }
    let node = members.required("tenants")?;
    let personal = members.optional("personal_accounts", Node::flag)?.unwrap_or(false);
    if node.is("any") {
        if kind != Kind::Workforce {
            return node.mistake("a list with the one tenant's GUID: each tenant has its own address");
        }
        return Some(Tenants::Any(if personal { PersonalAccounts::Accepted } else { PersonalAccounts::Refused }));
    }
    if personal {
        members.at("personal_accounts").mistake_of::<()>("true", "`tenants: any` beside it");
    }
    if !node.json().is_array() {
        return node.mistake("a list of tenant GUIDs, or the word any");
    }
    let tenants = node.list(Node::guid)?;
    if kind != Kind::Workforce && tenants.len() != 1 {
        return node.mistake("a list with the one tenant's GUID: each tenant has its own address");
    }
    Some(Tenants::Only(tenants))
}

fn versions(members: &Members<'_>, kind: Kind) -> Option<Vec<TokenVersion>> {
    let Some(node) = members.get("token_versions").filter(|_| matches!(kind, Kind::Workforce | Kind::ExternalId))
    else {
        let of_address = members.get("metadata_url").and_then(|node| {
            node.json().as_str().map(|url| if url.contains("/v2.0/") { TokenVersion::V2 } else { TokenVersion::V1 })
        });
        return Some(of_address.map_or_else(|| vec![TokenVersion::V1, TokenVersion::V2], |version| vec![version]));
    };
    let mut versions =
        node.list(|version| Some(if version.integer(1..=2)? == 1 { TokenVersion::V1 } else { TokenVersion::V2 }))?;
    versions.dedup();
    if members.get("metadata_url").is_some() && versions.len() > 1 {
        return node.mistake("one version: metadata_url is the document of one");
    }
    Some(versions)
}

/// Where keys come from.
pub(super) enum Source {
    Fetched { cluster: String, timeout: Duration, refresh: Duration, unknown_kid_cooldown: Duration, max_age: Duration },
    Inline(KeySet),
}

impl Source {
    fn read(members: &Members<'_>, environment: &Environment<'_>) -> Option<Self> {
        if let Some(node) = members.get("jwks") {
            return jwks::compile(&node, environment).map(Self::Inline);
        }
        let second = Duration::from_secs(1);
        let (hour, day) = (second * 3_600, second * 86_400);
        let upstream = members.required("upstream").and_then(|node| node.object(&UPSTREAM_MEMBERS));
        let cluster = upstream.as_ref().and_then(|upstream| upstream.required("cluster")?.text());
        let timeout = upstream
            .as_ref()
            .and_then(|upstream| upstream.get("timeout"))
            .map_or(Some(second * 5), |node| node.duration(Duration::from_millis(10)..=second * 60));
        let keys = members.optional("keys", |node| node.object(&KEYS_MEMBERS))?;
        let of_keys = |name: &str, default: Duration, range| {
            keys.as_ref().and_then(|keys| keys.get(name)).map_or(Some(default), |node| node.duration(range))
        };
        let refresh = of_keys("refresh", hour, second..=day);
        let unknown_kid_cooldown = of_keys("unknown_kid_cooldown", second * 30, second..=hour);
        let max_age = of_keys("max_age", day, second..=day * 30);
        let (refresh, max_age) = (refresh?, max_age?);
        if let Some(keys) = keys.filter(|_| max_age < refresh) {
            return keys.at("max_age").mistake_of("a time below `refresh`", "at least `refresh`");
        }
        Some(Self::Fetched {
            cluster: cluster?.to_owned(),
            timeout: timeout?,
            refresh,
            unknown_kid_cooldown: unknown_kid_cooldown?,
            max_age,
        })
    }
}
