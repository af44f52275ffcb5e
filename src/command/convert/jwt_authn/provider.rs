//! A `JwtProvider`: whose tokens, with which keys, from where.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_gate::entra::TokenVersion;
use entra_gate::entra::cloud::{Cloud, same_cloud};
use entra_gate::entra::guid::Guid;
use reqwest::Url;
use serde_yaml_ng::Value;

use super::reading::{Reader, Written, written};
use crate::convert::authority::{self, Authority, Tenant, WELL_KNOWN};
use crate::convert::draft::{Section, list, object};
use crate::located::{Node, Position};

const MEMBERS: [&str; 21] = [
    "audiences",
    "claim_to_headers",
    "clear_route_cache",
    "clock_skew_seconds",
    "failed_status_in_metadata",
    "forward",
    "forward_payload_header",
    "from_cookies",
    "from_headers",
    "from_params",
    "header_in_metadata",
    "issuer",
    "jwt_cache_config",
    "local_jwks",
    "max_lifetime",
    "normalize_payload_in_metadata",
    "pad_forward_payload_header",
    "payload_in_metadata",
    "remote_jwks",
    "require_expiration",
    "subjects",
];

/// A provider, and what it asks of the filter as a whole.
pub(super) struct Provider {
    pub(super) section: Section,
    pub(super) at: Position,
    /// Its own audiences; rules may add to them.
    pub(super) audiences: Vec<String>,
    pub(super) forward: bool,
    pub(super) payload_header: Option<Written>,
    pub(super) claim_headers: Vec<(Written, String)>,
    pub(super) payload_in_metadata: bool,
    pub(super) clear_route_cache: bool,
}

pub(super) fn convert(name: &str, at: Position, node: &Node, reader: &mut Reader<'_>) -> Option<Provider> {
    reader.only_members(node, &format!("provider {name}"), &MEMBERS);
    let mut section = Section { name: name.to_owned(), ..Section::default() };
    let issuer = match node.field("issuer") {
        Some(_) => reader.text(node, "issuer"),
        None => reader.fault(
            at,
            format!("provider {name} has no issuer: it accepts any, which is never done here. Say whose tokens"),
        ),
    };
    let keys = keys(name, at, node, reader);
    if let (Some(issuer), Some(keys)) = (&issuer, &keys) {
        issue(issuer, keys, &mut section, reader);
    }
    let audiences = reader.texts(node, "audiences").into_iter().map(|audience| audience.text).collect();
    // Its place among the members; the rules may have more to say.
    section.set("audiences", list(Vec::<Value>::new()));
    subjects(node, &mut section, reader);
    if let Some(seconds) = reader.number(node, "clock_skew_seconds").filter(|seconds| *seconds > 0) {
        if seconds > 600 {
            let at = node.field("clock_skew_seconds").map_or(at, |node| node.at);
            reader.fault::<()>(at, format!("clock_skew_seconds: found {seconds}, expected at most 600"));
        }
        section.set("clock_skew", written(Duration::from_secs(seconds)));
    }
    if let Some(longest) = reader.duration(node, "max_lifetime") {
        section.set("max_lifetime", written(longest));
        section.comment("max_lifetime is the whole life of a token, exp - iat; there, what remained of it.");
    }
    if !reader.flag(node, "require_expiration") && section.members.get("kind") == Some(&Value::from("oidc")) {
        section.comment("A token without `exp` passed there; require_expiration_time: false lets it pass here.");
    }
    let is_custom = sources(node, &mut section, reader);
    if let Some(keys) = keys {
        keys.fetching(&mut section, reader);
    }
    let forward = reader.flag(node, "forward");
    if !forward && is_custom {
        section.comment("forward false: here only Authorization and query parameters are taken off; the token's own header or cookie reaches the upstream.");
    }
    for (member, told) in [
        ("header_in_metadata", "has no equal: the token's header says nothing about who sent it."),
        ("failed_status_in_metadata", "is the filter state wasm.entra_gate.reason here, always there for access logs."),
        (
            "normalize_payload_in_metadata",
            "has no equal: the payload is as it was signed. Ask for scopes with `scopes`.",
        ),
        ("jwt_cache_config", "has no equal: verified tokens are always remembered, 10,000 in each worker."),
    ] {
        if let Some(found) = node.field(member) {
            section.comment(format!("Line {}: {member} {told}", found.at.line));
        }
    }
    if reader.flag(node, "pad_forward_payload_header") {
        section
            .comment("pad_forward_payload_header has no equal: the payload is never padded. Pad it where it is read.");
    }
    Some(Provider {
        section,
        at,
        audiences,
        forward,
        payload_header: reader.text(node, "forward_payload_header"),
        claim_headers: claim_headers(node, reader),
        payload_in_metadata: node.field("payload_in_metadata").is_some(),
        clear_route_cache: reader.flag(node, "clear_route_cache"),
    })
}

/// Where keys come from.
enum Keys {
    Inline(Value),
    Remote {
        uri: Written,
        url: Url,
        cluster: String,
        timeout: Option<Duration>,
        refresh: Option<(Duration, Position)>,
        comments: Vec<String>,
    },
    /// By OpenID discovery, as Istio does without an address.
    Discovered {
        timeout: Option<Duration>,
    },
}

fn keys(name: &str, at: Position, node: &Node, reader: &mut Reader<'_>) -> Option<Keys> {
    match (node.field("remote_jwks"), node.field("local_jwks")) {
        (Some(remote), None) => remote_keys(remote, reader),
        (None, Some(local)) => inline_keys(local, reader),
        (Some(_), Some(local)) => reader.fault(local.at, "both remote_jwks and local_jwks, expected one of them"),
        (None, None) => reader.fault(at, format!("provider {name} has no keys, expected remote_jwks or local_jwks")),
    }
}

fn remote_keys(remote: &Node, reader: &mut Reader<'_>) -> Option<Keys> {
    reader.only_members(remote, "remote_jwks", &["async_fetch", "cache_duration", "http_uri", "retry_policy"]);
    let Some(http) = remote.field("http_uri") else {
        return reader.fault(remote.at, "remote_jwks without http_uri, expected one");
    };
    reader.only_members(http, "http_uri", &["cluster", "timeout", "uri"]);
    let timeout = reader.duration(http, "timeout");
    if http.field("uri").is_none() {
        return Some(Keys::Discovered { timeout });
    }
    let uri = reader.text(http, "uri")?;
    let Some(url) = Url::parse(&uri.text).ok().filter(|url| url.scheme() == "https") else {
        return reader.fault(
            uri.at,
            format!(
                "uri: found {:?}, expected an https address: keys from anywhere else can be replaced on the way",
                uri.text
            ),
        );
    };
    let cluster = match reader.text(http, "cluster") {
        Some(cluster) => cluster.text,
        None => reader.fault(http.at, "http_uri without cluster, expected one")?,
    };
    let refresh = remote.field("cache_duration").map(|node| node.at);
    let refresh = reader.duration(remote, "cache_duration").zip(refresh);
    let mut comments = Vec::new();
    if let Some(found) = remote.field("async_fetch") {
        comments.push(format!(
            "Line {}: async_fetch is always so: one worker fetches for all, before the keys are old.",
            found.at.line
        ));
    }
    if let Some(found) = remote.field("retry_policy") {
        comments.push(format!("Line {}: retry_policy is always so: after 1, 2, 4 … 30 s.", found.at.line));
    }
    Some(Keys::Remote { uri, url, cluster, timeout, refresh, comments })
}

fn inline_keys(local: &Node, reader: &mut Reader<'_>) -> Option<Keys> {
    reader.only_members(
        local,
        "local_jwks",
        &["environment_variable", "filename", "inline_bytes", "inline_string", "watched_directory"],
    );
    for name in ["filename", "environment_variable", "watched_directory"] {
        if let Some(found) = local.field(name) {
            return reader.fault(
                found.at,
                format!("local_jwks.{name}: keys stand in the configuration itself. Write them here as inline_string"),
            );
        }
    }
    let (text, at) = match (local.field("inline_string"), local.field("inline_bytes")) {
        (Some(text), None) => (text.text().map(str::to_owned), text.at),
        (None, Some(bytes)) => {
            let decoded = bytes.text().and_then(|text| STANDARD.decode(text).ok());
            (decoded.and_then(|bytes| String::from_utf8(bytes).ok()), bytes.at)
        }
        _ => return reader.fault(local.at, "local_jwks: expected inline_string or inline_bytes"),
    };
    // Not shown: a set may hold secrets.
    let set = text
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|mut set| Some(set.get_mut("keys")?.take()));
    let Some(serde_json::Value::Array(keys)) = set else {
        return reader.fault(at, "local_jwks: found no JWK set, expected JSON such as {\"keys\": [ … ]}");
    };
    if keys.iter().any(|key| key.get("kty").is_some_and(|kty| kty == "oct")) {
        return reader.fault(at, "local_jwks: a secret (oct) in the file. Put it into an environment variable, and name that with k_env, kind oidc and algorithms [HS256]");
    }
    let keys = serde_yaml_ng::to_value(keys).ok()?;
    Some(Keys::Inline(object([("keys", keys)])))
}

impl Keys {
    /// `jwks`, or `upstream` and `keys`, which stand last.
    fn fetching(self, section: &mut Section, reader: &mut Reader<'_>) {
        match self {
            Self::Inline(_) => {}
            Self::Discovered { timeout } => {
                let mut upstream = Section::default();
                upstream.set("cluster", reader.options.cluster.as_str());
                if let Some(timeout) = timeout {
                    upstream.set("timeout", written(timeout));
                }
                section.set("upstream", Value::Mapping(upstream.members));
                section.comment(format!(
                    "upstream.cluster is the Envoy cluster that leads to the issuer's host: {}.",
                    reader.options.cluster
                ));
            }
            Self::Remote { uri, cluster, timeout, refresh, comments, .. } => {
                let mut upstream = Section::default();
                upstream.set("cluster", cluster);
                if let Some(timeout) = timeout {
                    upstream.set("timeout", written(timeout));
                }
                section.set("upstream", Value::Mapping(upstream.members));
                if let Some((refresh, at)) = refresh {
                    const DAY: Duration = Duration::from_secs(86_400);
                    if refresh < Duration::from_secs(1) || refresh > DAY {
                        reader.fault::<()>(
                            at,
                            format!("cache_duration: found {}, expected 1s to 1day", written(refresh)),
                        );
                    }
                    section.set("keys", object([("refresh", written(refresh).into())]));
                }
                section.comment(format!(
                    "Keys are found by OpenID metadata, through the same cluster, not at {}.",
                    uri.text
                ));
                comments.into_iter().for_each(|comment| section.comment(comment));
            }
        }
    }
}

/// The kind of the provider, and what follows from its issuer.
fn issue(issuer: &Written, keys: &Keys, section: &mut Section, reader: &mut Reader<'_>) -> Option<()> {
    let authority = match authority::of_issuer(&issuer.text) {
        Ok(authority) => authority,
        Err(message) => return reader.fault(issuer.at, format!("issuer: {message}")),
    };
    let host = match keys {
        Keys::Remote { url, .. } => url.host_str().unwrap_or_default().to_owned(),
        Keys::Inline(_) | Keys::Discovered { .. } => String::new(),
    };
    let is_remote = !host.is_empty();
    let of_cloud = |wanted: &str, reader: &mut Reader<'_>| {
        if is_remote && !same_cloud(wanted, &host) {
            let message = format!(
                "issuer: tokens of {}, with keys from {host}: that is not where this issuer publishes them",
                issuer.text
            );
            reader.fault::<()>(issuer.at, message);
        }
    };
    let versions = |section: &mut Section, version: TokenVersion| {
        section.set("token_versions", list(vec![Value::from(u64::from(version.number()))]));
        section.comment(format!(
            "Version {} alone, as the issuer says; without token_versions both are accepted.",
            version.number()
        ));
    };
    match authority {
        Authority::Workforce { cloud, tenant, version } => {
            // The STS of version 1 is one for the public cloud and Azure Government: the keys' host tells.
            let of_keys = Some(authority::cloud_of(&host)).filter(|_| is_remote && version == TokenVersion::V1);
            let cloud =
                of_keys.and_then(Result::ok).filter(|of_keys| of_keys.sts_host() == cloud.sts_host()).unwrap_or(cloud);
            of_cloud(cloud.login_host(), reader);
            set_cloud(section, cloud);
            set_tenant(section, &tenant);
            versions(section, version);
            if let Keys::Remote { url, .. } = keys {
                app_id(url, issuer, section, reader);
            }
        }
        Authority::ExternalId { cloud, tenant, version, .. } => {
            let suffix = cloud.external_id_suffix();
            let domain = host.strip_suffix(suffix).map(str::to_owned);
            if is_remote && domain.is_none() {
                let message = format!(
                    "issuer: tokens of External ID, with keys from {host}: the keys of all its users are at <name>{suffix} alone"
                );
                reader.fault::<()>(issuer.at, message);
            }
            let of_issuer = entra_gate::entra::issuer::tenant_in(&issuer.text).unwrap_or_default().to_owned();
            section.set("kind", "external_id");
            set_cloud(section, cloud);
            section.set("domain", domain.unwrap_or(of_issuer));
            set_tenant(section, &tenant);
            versions(section, version);
        }
        Authority::B2c { cloud, domain, tenant, policy } => {
            of_cloud(&format!("{domain}{}", cloud.b2c_suffix()), reader);
            let of_address = if let Keys::Remote { url, .. } = keys { policy_in(url) } else { None };
            let Some(policy) = of_address.or(policy) else {
                return reader.fault(
                    issuer.at,
                    "issuer: tokens of B2C, of a policy that neither the issuer nor the keys' address names",
                );
            };
            section.set("kind", "b2c");
            set_cloud(section, cloud);
            section.set("domain", domain);
            set_tenant(section, &tenant);
            section.set_list("policies", vec![policy]);
        }
        Authority::Oidc => {
            section.set("kind", "oidc");
            if matches!(keys, Keys::Inline(_)) {
                section.set_list("issuers", vec![issuer.text.clone()]);
            } else {
                oidc(issuer, &host, section, reader)?;
            }
            section.comment("algorithms is [RS256] by default; there every algorithm of the keys passed.");
        }
    }
    if let Keys::Inline(set) = keys {
        section.set("jwks", set.clone());
    }
    Some(())
}

fn oidc(issuer: &Written, keys_host: &str, section: &mut Section, reader: &mut Reader<'_>) -> Option<()> {
    let url = Url::parse(&issuer.text).ok().filter(|url| url.scheme() == "https" && url.query().is_none());
    let Some(url) = url else {
        let message = format!(
            "issuer: found {:?}, which is no https address: its metadata cannot be found. Give the keys as local_jwks",
            issuer.text
        );
        return reader.fault(issuer.at, message);
    };
    let host = url.host_str().unwrap_or_default();
    if !keys_host.is_empty() && !host.eq_ignore_ascii_case(keys_host) {
        let message = format!(
            "issuer: its keys are at {keys_host}, another host than its metadata, {host}: here both come from one. Give the keys as local_jwks"
        );
        return reader.fault(issuer.at, message);
    }
    section.set("metadata_url", format!("{}{WELL_KNOWN}", issuer.text.trim_end_matches('/')));
    Some(())
}

fn set_cloud(section: &mut Section, cloud: Cloud) {
    if cloud != Cloud::Public {
        section.set("cloud", cloud.name());
    }
}

fn set_tenant(section: &mut Section, tenant: &Tenant) {
    if let Tenant::Guid(guid) = tenant {
        section.set_list("tenants", vec![guid.to_string()]);
    }
}

fn app_id(url: &Url, issuer: &Written, section: &mut Section, reader: &mut Reader<'_>) {
    for (name, value) in url.query_pairs() {
        match (name.as_ref(), Guid::parse(&value)) {
            ("appid", Some(guid)) => section.set("app_id", guid.to_string()),
            _ => drop(reader.fault::<()>(
                issuer.at,
                format!("uri: found the parameter {name} of the keys' address, expected appid=GUID"),
            )),
        }
    }
}

/// `/contoso.onmicrosoft.com/B2C_1_x/discovery/v2.0/keys`, or `?p=B2C_1_x`.
fn policy_in(url: &Url) -> Option<String> {
    if let Some((_, policy)) = url.query_pairs().find(|(name, _)| name == "p") {
        return Some(policy.into_owned());
    }
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [_, policy, "discovery", ..] | ["tfp", _, policy, "discovery", ..] => Some((*policy).to_owned()),
        _ => None,
    }
}

fn subjects(node: &Node, section: &mut Section, reader: &mut Reader<'_>) {
    let Some(subjects) = node.field("subjects") else { return };
    match (subjects.entries(), subjects.field("exact").and_then(Node::text)) {
        ([_], Some(subject)) => {
            let claim = object([("name", "sub".into()), ("values", list(vec![subject]))]);
            section.set("required_claims", Value::Sequence(vec![claim]));
        }
        _ => drop(reader.fault::<()>(
            subjects.at,
            "subjects: expected `exact` alone: claims are held against values, not patterns",
        )),
    }
}

/// `token_sources`. Whether one of them is not `Authorization`.
fn sources(node: &Node, section: &mut Section, reader: &mut Reader<'_>) -> bool {
    let mut sources = Vec::new();
    let mut is_custom = false;
    for header in node.field("from_headers").map(Node::items).unwrap_or_default() {
        reader.only_members(header, "from_headers", &["name", "value_prefix"]);
        if header.field("name").is_none() {
            reader.fault::<()>(header.at, "from_headers without name, expected one");
        }
        let Some(name) = reader.text(header, "name") else { continue };
        let is_authorization = name.text.eq_ignore_ascii_case("authorization");
        is_custom = is_custom || !is_authorization;
        let prefix = header.field("value_prefix").and_then(Node::text).unwrap_or_default();
        let mut source = Section::default();
        source.set("header", name.text.to_ascii_lowercase());
        match prefix.strip_suffix(' ') {
            Some(scheme) if !scheme.is_empty() && !scheme.contains(' ') => source.set("scheme", scheme),
            None if prefix.is_empty() => {}
            _ => {
                let message = format!(
                    "value_prefix: found {prefix:?}, expected a scheme and a space, such as \"Bearer \": the token is all that follows it"
                );
                reader.fault::<()>(header.at, message);
            }
        }
        sources.push(Value::Mapping(source.members));
    }
    for (member, kind) in [("from_params", "query"), ("from_cookies", "cookie")] {
        for name in reader.texts(node, member) {
            is_custom = is_custom || kind == "cookie";
            sources.push(object([(kind, name.text.into())]));
        }
    }
    if sources.is_empty() {
        section.comment("The token stands in Authorization: Bearer; there also in the query parameter access_token, which token_sources can add.");
    }
    section.set_list("token_sources", sources);
    is_custom
}

fn claim_headers(node: &Node, reader: &mut Reader<'_>) -> Vec<(Written, String)> {
    let mut all = Vec::new();
    for item in node.field("claim_to_headers").map(Node::items).unwrap_or_default() {
        reader.only_members(item, "claim_to_headers", &["claim_name", "claim_path", "header_name"]);
        let (header, name, path) =
            (reader.text(item, "header_name"), item.field("claim_name"), reader.texts(item, "claim_path"));
        let claim = match (name.and_then(Node::text), path.is_empty()) {
            (Some(name), true) => Some(name.to_owned()),
            (None, false) => {
                // A name with a dot would be read as two.
                let dotted = path.iter().find(|name| name.text.contains('.')).cloned();
                match dotted {
                    Some(dotted) => {
                        reader.fault(dotted.at, "claim_path: a name with a dot in it, expected names without")
                    }
                    None => Some(path.into_iter().map(|name| name.text).collect::<Vec<_>>().join(".")),
                }
            }
            _ => reader.fault(item.at, "claim_to_headers: expected claim_name or claim_path"),
        };
        match (header, claim) {
            (Some(header), Some(claim)) => all.push((header, claim)),
            (None, _) if item.field("header_name").is_none() => {
                reader.fault::<()>(item.at, "claim_to_headers without header_name, expected one");
            }
            _ => {}
        }
    }
    all
}
