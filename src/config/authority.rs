//! From a provider's kind, cloud and tenants to its issuers and the documents of their keys.

use std::time::Duration;

use super::node::{Members, Node};
use super::provider::Source;
use crate::entra::TokenVersion;
use crate::entra::cloud::Cloud;
use crate::entra::guid::Guid;
use crate::entra::issuer::Issuer;
use crate::jose::jwk::KeySet;
use crate::keys::document::{Address, Document, DocumentId, KeysHost};
use crate::keys::store::Held;
use crate::policy::provider::{Authority, Kind, PersonalAccounts, Stated, Tenants};

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
        let held = Held {
            issuer: None,
            cloud_instance_name: None,
            address: None,
            keys,
            fetched_at: None,
            max_age: Duration::MAX,
        };
        self.inline.push((at, held));
        DocumentId(at)
    }
}

/// All that issuers and documents are derived from.
pub(super) struct Plan<'a> {
    pub(super) members: &'a Members<'a>,
    pub(super) kind: Kind,
    pub(super) cloud: Cloud,
    pub(super) tenants: Tenants,
    pub(super) versions: Vec<TokenVersion>,
    pub(super) source: Source,
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
    /// The issuers of the provider, each with the document that holds its keys.
    pub(super) fn authorities(&self, documents: &mut Documents) -> Option<Vec<Authority>> {
        let listed = self
            .members
            .optional("issuers", |node| {
                node.list(|issuer| match issuer.text()? {
                    // A template would admit any tenant, and here nothing else would hold it.
                    template if template.contains(['{', '}']) => {
                        issuer.mistake("an exact issuer, without placeholders")
                    }
                    exact => Some(exact.to_owned()),
                })
            })?
            .unwrap_or_default();
        let metadata_url =
            self.members.optional("metadata_url", |node| match node.json().as_str().and_then(Address::parse) {
                Some(address) => Some(address.to_string()),
                None => node.mistake("an absolute https address"),
            })?;
        let app_id = self.members.optional("app_id", Node::guid)?;
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
