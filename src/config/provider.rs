//! `providers`: from names and tenants to issuers, documents and rules.

use std::time::Duration;

use super::node::{Members, Node};
use crate::entra::TokenVersion;
use crate::entra::cloud::Cloud;
use crate::entra::guid::Guid;
use crate::entra::issuer::Issuer;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{KeySet, KeySetFault};
use crate::keys::document::{Address, Document, DocumentId, KeysHost};
use crate::keys::store::Held;
use crate::policy::provider::{Authority, Kind, PersonalAccounts, Provider, Stated, Tenants};

pub(super) const MEMBERS: [&str; 18] = [
    "algorithms",
    "app_id",
    "audiences",
    "client_applications",
    "clock_skew",
    "cloud",
    "domain",
    "issuers",
    "jwks",
    "keys",
    "kind",
    "max_lifetime",
    "metadata_url",
    "personal_accounts",
    "policies",
    "tenants",
    "token_versions",
    "upstream",
];
const NOT_YET: [&str; 3] = ["decryption_keys", "required_claims", "token_sources"];
pub(super) const UPSTREAM_MEMBERS: [&str; 2] = ["cluster", "timeout"];
pub(super) const KEYS_MEMBERS: [&str; 3] = ["max_age", "refresh", "unknown_kid_cooldown"];

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The documents of all providers; equal ones are one.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) fetched: Vec<Option<Document>>,
    pub(super) inline: Vec<(usize, Held)>,
}

impl Documents {
    fn add(&mut self, document: Document) -> DocumentId {
        let document = Some(document);
        let at = self.fetched.iter().position(|known| *known == document).unwrap_or_else(|| {
            self.fetched.push(document);
            self.fetched.len().saturating_sub(1)
        });
        DocumentId(at)
    }

    fn add_inline(&mut self, keys: KeySet) -> DocumentId {
        let at = self.fetched.len();
        self.fetched.push(None);
        let held = Held { issuer: None, cloud_instance_name: None, keys, fetched_at: None, max_age: Duration::MAX };
        self.inline.push((at, held));
        DocumentId(at)
    }
}

pub(super) fn compile_all(node: &Node<'_>, documents: &mut Documents) -> Option<Vec<Provider>> {
    let compiled: Vec<Option<Provider>> =
        node.entries()?.into_iter().map(|(name, node)| compile(name, &node, documents)).collect();
    compiled.into_iter().collect()
}

fn compile(name: &str, node: &Node<'_>, documents: &mut Documents) -> Option<Provider> {
    let members = node.object(&MEMBERS, &NOT_YET)?;
    let kind = members
        .get("kind")
        .map_or(Some(Kind::Workforce), |node| node.choice(&Kind::ALL.map(|kind| (kind.name(), kind))));
    let cloud = members
        .get("cloud")
        .map_or(Some(Cloud::Public), |node| node.choice(&Cloud::ALL.map(|cloud| (cloud.name(), cloud))));
    let audiences =
        members.required("audiences").and_then(|node| node.list(|audience| audience.text().map(str::to_owned)));
    let client_applications =
        optional(&members, "client_applications", |node| node.list(|client| client.text().map(str::to_owned)));
    let algorithms = members.get("algorithms").map_or(Some(vec![Algorithm::Rs256]), |node| {
        node.list(|algorithm| algorithm.choice(&Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm))))
    });
    let clock_skew = members
        .get("clock_skew")
        .map_or(Some(Duration::from_secs(60)), |node| node.duration(Duration::ZERO..=Duration::from_secs(600)));
    let max_lifetime = optional(&members, "max_lifetime", |node| {
        node.duration(Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 86_400))
    });
    let source = Source::read(&members);

    let kind = kind?;
    forbid_what_does_not_fit(&members, kind);
    let tenants = tenants(&members, kind);
    let versions = versions(&members, kind);
    let plan = Plan { members: &members, kind, cloud: cloud?, tenants: tenants?, versions: versions?, source: source? };
    let cloud = plan.cloud;
    let authorities = plan.authorities(documents)?;
    Some(Provider {
        name: name.to_owned(),
        kind,
        cloud,
        tenants: plan.tenants,
        authorities,
        algorithms: algorithms?,
        audiences: audiences?,
        client_applications: client_applications?,
        clock_skew: clock_skew?,
        max_lifetime: max_lifetime?,
    })
}

/// A member that may be absent: none if it is there and wrong.
fn optional<'a, T>(members: &Members<'a>, name: &str, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Option<T>> {
    match members.get(name) {
        Some(node) => read(&node).map(Some),
        None => Some(None),
    }
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

fn tenants(members: &Members<'_>, kind: Kind) -> Option<Tenants> {
    if kind == Kind::Oidc {
        return Some(Tenants::Unknown);
    }
    let node = members.required("tenants")?;
    let personal = optional(members, "personal_accounts", Node::flag)?.unwrap_or(false);
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
enum Source {
    Fetched { cluster: String, timeout: Duration, refresh: Duration, unknown_kid_cooldown: Duration, max_age: Duration },
    Inline(KeySet),
}

impl Source {
    fn read(members: &Members<'_>) -> Option<Self> {
        if let Some(node) = members.get("jwks") {
            let text = node.json().to_string();
            return match KeySet::read(text.as_bytes()) {
                Ok(keys) if keys.skipped() == 0 => Some(Self::Inline(keys)),
                Ok(keys) => node.mistake_of(
                    &format!("{} keys that cannot be used", keys.skipped()),
                    "public RSA keys of 2048 to 4096 bits or P-256 keys, each with a kid",
                ),
                Err(KeySetFault::Json(_) | KeySetFault::NoKeys) => {
                    node.mistake("a JWK set: an object with a list `keys`")
                }
                Err(KeySetFault::NoUsableKey) => {
                    node.mistake_of("no usable key", "at least one RSA or P-256 key with a kid")
                }
                Err(KeySetFault::TooManyKeys) => node.mistake_of("too many keys", "at most 200"),
            };
        }
        let second = Duration::from_secs(1);
        let (hour, day) = (second * 3_600, second * 86_400);
        let upstream = members.required("upstream").and_then(|node| node.object(&UPSTREAM_MEMBERS, &[]));
        let cluster = upstream.as_ref().and_then(|upstream| upstream.required("cluster")?.text());
        let timeout = upstream
            .as_ref()
            .and_then(|upstream| upstream.get("timeout"))
            .map_or(Some(second * 5), |node| node.duration(Duration::from_millis(10)..=second * 60));
        let keys = optional(members, "keys", |node| node.object(&KEYS_MEMBERS, &[]))?;
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

/// All that issuers and documents are derived from.
struct Plan<'a> {
    members: &'a Members<'a>,
    kind: Kind,
    cloud: Cloud,
    tenants: Tenants,
    versions: Vec<TokenVersion>,
    source: Source,
}

/// One issuer with the address of its metadata, before documents are shared.
struct Draft {
    issuer: String,
    also_stated: Vec<String>,
    metadata: String,
    version: Option<TokenVersion>,
    policy: Option<String>,
}

impl Plan<'_> {
    fn authorities(&self, documents: &mut Documents) -> Option<Vec<Authority>> {
        let listed = optional(self.members, "issuers", |node| {
            node.list(|issuer| match issuer.text()? {
                // A template would admit any tenant, and here nothing else would hold it.
                template if template.contains(['{', '}']) => issuer.mistake("an exact issuer, without placeholders"),
                exact => Some(exact.to_owned()),
            })
        })?
        .unwrap_or_default();
        let metadata_url =
            optional(self.members, "metadata_url", |node| match node.json().as_str().and_then(Address::parse) {
                Some(address) => Some(address.to_string()),
                None => node.mistake("an absolute https address"),
            })?;
        let app_id = optional(self.members, "app_id", Node::guid)?;
        let drafts = match self.kind {
            Kind::Workforce => self.workforce(),
            Kind::ExternalId => self.external_id()?,
            Kind::B2c => self.b2c()?,
            Kind::Oidc => self.oidc(metadata_url.as_deref(), &listed)?,
        };
        let inline = match &self.source {
            Source::Inline(keys) => Some(documents.add_inline(keys.clone())),
            Source::Fetched { .. } => None,
        };
        let pins_of = |address: &str| -> Vec<Issuer> {
            let same = drafts.iter().filter(|draft| metadata_url.is_some() || draft.metadata == address);
            let mut pins: Vec<Issuer> = same
                .flat_map(|draft| std::iter::once(&draft.issuer).chain(&draft.also_stated))
                .chain(&listed)
                .map(Issuer::new)
                .collect();
            pins.sort_by(|one, other| one.as_str().cmp(other.as_str()));
            pins.dedup();
            pins
        };
        let mut authorities: Vec<Authority> = Vec::new();
        for draft in &drafts {
            let document = match inline {
                Some(document) => document,
                None => {
                    let address = metadata_url.as_ref().unwrap_or(&draft.metadata);
                    let pins = pins_of(&draft.metadata);
                    documents.add(self.document(address, app_id.as_ref(), pins)?)
                }
            };
            let authority = |issuer: &str, version, stated| Authority {
                issuer: Issuer::new(issuer),
                version,
                policy: draft.policy.clone(),
                document,
                stated,
            };
            if !listed.contains(&draft.issuer) {
                authorities.push(authority(&draft.issuer, draft.version, Stated::ByMetadata));
            }
            for issuer in &listed {
                let fits = match draft.version {
                    Some(TokenVersion::V2) => issuer.ends_with("/v2.0"),
                    Some(TokenVersion::V1) => !issuer.ends_with("/v2.0"),
                    None => true,
                };
                let known = authorities.iter().any(|known| {
                    known.issuer.as_str() == issuer && known.policy == draft.policy && known.document == document
                });
                if fits && !known {
                    authorities.push(authority(issuer, draft.version, Stated::ByConfiguration));
                }
            }
        }
        Some(authorities)
    }

    fn document(&self, metadata: &str, app_id: Option<&Guid>, issuers: Vec<Issuer>) -> Option<Document> {
        let Source::Fetched { cluster, timeout, refresh, unknown_kid_cooldown, max_age } = &self.source else {
            return None;
        };
        let metadata = match app_id {
            Some(app_id) if metadata.contains('?') => format!("{metadata}&appid={app_id}"),
            Some(app_id) => format!("{metadata}?appid={app_id}"),
            None => metadata.to_owned(),
        };
        let Some(address) = Address::parse(&metadata) else {
            return self.members.node().mistake_of(&format!("the metadata address {metadata}"), "an https address");
        };
        Some(Document {
            metadata: address,
            issuers,
            keys_host: if self.kind == Kind::Oidc { KeysHost::SameHost } else { KeysHost::SameCloud },
            cluster: cluster.clone(),
            timeout: *timeout,
            refresh: *refresh,
            unknown_kid_cooldown: *unknown_kid_cooldown,
            max_age: *max_age,
        })
    }

    fn workforce(&self) -> Vec<Draft> {
        let (login, sts) = (self.cloud.login_host(), self.cloud.sts_host());
        let draft = |version: TokenVersion, tenant: &str, path: &str| {
            let template = |issuer: &str| match version {
                TokenVersion::V1 => format!("https://{sts}/{issuer}/"),
                TokenVersion::V2 => format!("https://{login}/{issuer}/v2.0"),
            };
            let version_path = if version == TokenVersion::V2 { "/v2.0" } else { "" };
            Draft {
                issuer: template(tenant),
                // A shared document (`common`, by metadata_url) states the template for every tenant.
                also_stated: if self.members.get("metadata_url").is_some() {
                    vec![template("{tenantid}")]
                } else {
                    vec![]
                },
                metadata: format!("https://{login}/{path}{version_path}{WELL_KNOWN}"),
                version: Some(version),
                policy: None,
            }
        };
        self.versions
            .iter()
            .flat_map(|version| match &self.tenants {
                Tenants::Only(tenants) => {
                    tenants.iter().map(|tenant| draft(*version, tenant.as_str(), tenant.as_str())).collect()
                }
                Tenants::Any(personal) => {
                    // There is no v1 document of organizations alone, and personal accounts have no v1 tokens.
                    let shared = match (version, personal) {
                        (TokenVersion::V2, PersonalAccounts::Refused) => "organizations",
                        (TokenVersion::V1, _) | (TokenVersion::V2, PersonalAccounts::Accepted) => "common",
                    };
                    vec![draft(*version, "{tenantid}", shared)]
                }
                Tenants::Unknown => Vec::new(),
            })
            .collect()
    }

    fn external_id(&self) -> Option<Vec<Draft>> {
        let suffix = self.cloud.external_id_suffix();
        let host = self.host(suffix)?;
        let tenant = self.only_tenant()?;
        let draft = |version: &TokenVersion| {
            let path = if *version == TokenVersion::V2 { "v2.0" } else { "" };
            let metadata_path = if path.is_empty() { String::new() } else { format!("/{path}") };
            Draft {
                issuer: format!("https://{tenant}{suffix}/{tenant}/{path}"),
                also_stated: Vec::new(),
                metadata: format!("https://{host}/{tenant}{metadata_path}{WELL_KNOWN}"),
                version: Some(*version),
                policy: None,
            }
        };
        Some(self.versions.iter().map(draft).collect())
    }

    fn b2c(&self) -> Option<Vec<Draft>> {
        let suffix = self.cloud.b2c_suffix();
        let domain = self.members.required("domain").and_then(|node| node.text());
        let policies = self.members.required("policies").and_then(|node| {
            node.list(|policy| {
                let name = policy.text()?;
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                if plain { Some(name) } else { policy.mistake("a policy's name, such as B2C_1_signin") }
            })
        });
        let host = self.host(suffix)?;
        let (tenant, domain) = (self.only_tenant()?, domain?);
        let directory =
            if domain.contains('.') { tenant.to_string() } else { format!("{domain}{}", self.cloud.initial_domain()) };
        let drafts = policies?.into_iter().flat_map(|policy| {
            // B2C writes the policy's name in lower case into the issuer, however it is spelled elsewhere.
            let with_policy = |policy: &str| format!("https://{host}/tfp/{tenant}/{policy}/v2.0/");
            let metadata = format!("https://{host}/{directory}/{policy}/v2.0{WELL_KNOWN}");
            let mut issuers = vec![
                format!("https://{host}/{tenant}/v2.0/"),
                with_policy(policy),
                with_policy(&policy.to_ascii_lowercase()),
            ];
            issuers.dedup();
            issuers.into_iter().map(move |issuer| Draft {
                issuer,
                also_stated: Vec::new(),
                metadata: metadata.clone(),
                version: None,
                policy: Some(policy.to_owned()),
            })
        });
        Some(drafts.collect())
    }

    /// OpenID Connect Discovery 1.0 section 4.3: the issuer is the address without the well-known path.
    fn oidc(&self, metadata_url: Option<&str>, listed: &[String]) -> Option<Vec<Draft>> {
        let draft = |issuer: String, metadata: &str| Draft {
            issuer,
            also_stated: Vec::new(),
            metadata: metadata.to_owned(),
            version: None,
            policy: None,
        };
        match metadata_url {
            Some(address) => {
                let base = address.split('?').next().and_then(|address| address.strip_suffix(WELL_KNOWN));
                let derived =
                    base.map(|base| vec![draft(base.to_owned(), address), draft(format!("{base}/"), address)]);
                match derived {
                    Some(drafts) => Some(drafts),
                    None if listed.is_empty() => self.members.at("metadata_url").mistake_of(
                        "an address from which no issuer follows",
                        &format!("one that ends in {WELL_KNOWN}, or `issuers`"),
                    ),
                    None => Some(listed.iter().map(|issuer| draft(issuer.clone(), address)).collect()),
                }
            }
            None if matches!(self.source, Source::Inline(_)) => {
                self.members.required("issuers")?;
                Some(listed.iter().map(|issuer| draft(issuer.clone(), "")).collect())
            }
            None => {
                self.members.required("metadata_url")?;
                None
            }
        }
    }

    fn host(&self, suffix: &str) -> Option<String> {
        let node = self.members.required("domain")?;
        let domain = node.text()?;
        let plain = domain
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        if !plain {
            return node.mistake("a host's first label (contoso), or a full host name");
        }
        let domain = domain.to_ascii_lowercase();
        Some(if domain.contains('.') { domain } else { format!("{domain}{suffix}") })
    }

    fn only_tenant(&self) -> Option<&Guid> {
        match &self.tenants {
            Tenants::Only(tenants) => tenants.first(),
            Tenants::Any(_) | Tenants::Unknown => None,
        }
    }
}
