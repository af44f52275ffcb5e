//! `registration`: the bridge that registers clients through Microsoft Graph.

use std::time::Duration;

use super::environment::Environment;
use super::node::{Members, Node};
use crate::entra::cloud::Cloud;
use crate::jose::signing::{SigningCertificate, SigningFault};
use crate::keys::document::Address;
use crate::policy::permission::RequiredPermissions;
use crate::policy::redirect::RedirectPattern;
use crate::policy::registration::{Access, Allow, Credential, Endpoint, Rate, Registration, Scope, ScopeKind};
use crate::policy::requirement::Requirement;
use crate::policy::rules::{Demand, Matcher, PathMatcher, Rule};

pub(super) const MEMBERS: [&str; 20] = [
    "access",
    "allow",
    "budget",
    "client_certificate",
    "client_id",
    "client_secret_env",
    "clients",
    "cloud",
    "display_name_prefix",
    "graph_url",
    "login_url",
    "management_key_env",
    "path",
    "public_url",
    "rate_limit",
    "redirect_uris",
    "scopes",
    "secret_lifetime",
    "tenant",
    "upstreams",
];
pub(super) const CERTIFICATE_MEMBERS: [&str; 2] = ["certificate", "private_key_env"];
pub(super) const UPSTREAMS_MEMBERS: [&str; 2] = ["graph", "login"];
pub(super) const UPSTREAM_MEMBERS: [&str; 2] = ["cluster", "timeout"];
pub(super) const ACCESS_MEMBERS: [&str; 3] = ["app_roles", "initial_access_tokens_env", "open"];
pub(super) const APP_ROLES_MEMBERS: [&str; 2] = ["provider", "roles"];
pub(super) const SCOPE_MEMBERS: [&str; 3] = ["id", "resource", "type"];
pub(super) const ALLOW_MEMBERS: [&str; 4] = ["delete", "read", "rotate_secret", "update"];
pub(super) const RATE_LIMIT_MEMBERS: [&str; 2] = ["interval", "requests"];

/// The least length of a secret that a gateway gives out or signs with, in bytes: 128 bits in hexadecimal.
const LEAST_SECRET_BYTES: usize = 32;

/// The bridge, and the rule for its path if tokens of a provider open it.
pub(super) fn compile(
    node: &Node<'_>,
    providers: &[&str],
    environment: &Environment<'_>,
) -> Option<(Registration, Option<Rule>)> {
    let members = node.object(&MEMBERS)?;
    let path = path(&members);
    let public_url =
        members.optional("public_url", |node| origin(node, "an https address such as https://api.example.com"));
    let cloud = members
        .get("cloud")
        .map_or(Some(Cloud::Public), |node| node.choice(&Cloud::ALL.map(|cloud| (cloud.name(), cloud))));
    let url = |name: &str, host: fn(Cloud) -> &'static str| match members.get(name) {
        Some(node) => origin(&node, "an https address without a path"),
        None => cloud.map(|cloud| format!("https://{}", host(cloud))),
    };
    let (login_url, graph_url) = (url("login_url", Cloud::login_host), url("graph_url", Cloud::graph_host));
    let tenant = members.required("tenant").and_then(|node| node.guid());
    let client_id = members.required("client_id").and_then(|node| node.guid());
    let credential = credential(&members, environment);
    let upstreams = members.required("upstreams").and_then(|node| {
        let members = node.object(&UPSTREAMS_MEMBERS)?;
        let (login, graph) = (upstream(&members, "login"), upstream(&members, "graph"));
        Some((login?, graph?))
    });
    let access = members.required("access").and_then(|node| access(&node, providers, environment));
    let redirect_uris = match members.get("redirect_uris") {
        Some(node) => node.list(redirect_uri),
        // The user's own machine alone: nobody far away gets a code.
        None => ["http://localhost", "http://127.0.0.1"].into_iter().map(RedirectPattern::parse).collect(),
    };
    let scopes = match members.get("scopes") {
        Some(node) => scopes(&node),
        None => Some(Vec::new()),
    };
    let clients =
        members.get("clients").map_or(Some(vec![Confidentiality::Public, Confidentiality::Confidential]), |node| {
            let words = [("public", Confidentiality::Public), ("confidential", Confidentiality::Confidential)];
            node.list(|client| client.choice(&words))
        });
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let days = |days: u64| hours(days * 24);
    let secret_lifetime =
        members.get("secret_lifetime").map_or(Some(days(180)), |node| node.duration(hours(1)..=days(730)));
    let display_name_prefix = members.get("display_name_prefix").map_or(Some("dcr: ".to_owned()), |node| prefix(&node));
    let management_keys = members.optional("management_key_env", |node| secrets(node, environment));
    let allow = allow(&members, members.get("management_key_env").is_some());
    let rate = rate(&members);
    let budget = members
        .get("budget")
        .map_or(Some(Duration::from_secs(20)), |node| node.duration(Duration::from_secs(1)..=Duration::from_secs(120)));

    let (login_upstream, graph_upstream) = upstreams?;
    let (tenant, path, clients, graph_url) = (tenant?, path?, clients?, graph_url?);
    let (access, app_roles) = access?;
    let endpoint =
        |address: &str, (cluster, timeout)| Some(Endpoint { address: Address::parse(address)?, cluster, timeout });
    let rule = app_roles.map(|requirement| Rule {
        matcher: Matcher { path: Some(PathMatcher::Exact(path.clone())), ..Matcher::default() },
        demand: Demand::Token(requirement),
    });
    let registration = Registration {
        public_url: public_url?,
        login: endpoint(&format!("{}/{tenant}/oauth2/v2.0/token", login_url?), login_upstream)?,
        graph: endpoint(&format!("{graph_url}/v1.0"), graph_upstream)?,
        graph_scope: format!("{graph_url}/.default"),
        client_id: client_id?,
        credential: credential?,
        access,
        redirect_uris: redirect_uris?,
        scopes: scopes?,
        public_clients: clients.contains(&Confidentiality::Public),
        confidential_clients: clients.contains(&Confidentiality::Confidential),
        secret_lifetime: secret_lifetime?,
        display_name_prefix: display_name_prefix?,
        allow: allow?,
        management_keys: management_keys?
            .map_or_else(Vec::new, |keys| keys.into_iter().map(String::into_bytes).collect()),
        rate: rate?,
        budget: budget?,
        path,
    };
    Some((registration, rule))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Confidentiality {
    Confidential,
    Public,
}

fn path(members: &Members<'_>) -> Option<String> {
    let Some(node) = members.get("path") else {
        return Some("/register".to_owned());
    };
    let text = node.text()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte));
    // One that can be read in several ways would be two paths.
    let dots = text.split('/').any(|segment| segment == "." || segment == "..");
    if text.len() > 1 && text.starts_with('/') && plain && !text.ends_with('/') && !text.contains("//") && !dots {
        Some(text.to_owned())
    } else {
        node.mistake("a plain path such as /register, without a slash at its end")
    }
}

/// The secret or the certificate: one of them, so that nobody believes in the other.
fn credential(members: &Members<'_>, environment: &Environment<'_>) -> Option<Credential> {
    match (members.get("client_certificate"), members.get("client_secret_env")) {
        (None, None) => members
            .at("client_secret_env")
            .mistake_of("nothing", "this member, or client_certificate: what the application proves itself with"),
        (None, Some(node)) => environment.read(&node).map(Credential::Secret),
        (Some(node), None) => certificate(&node, environment),
        (Some(_), Some(node)) => node.mistake_of("this member beside client_certificate", "one of them"),
    }
}

fn certificate(node: &Node<'_>, environment: &Environment<'_>) -> Option<Credential> {
    let members = node.object(&CERTIFICATE_MEMBERS)?;
    let (certificate, variable) = (members.required("certificate"), members.required("private_key_env"));
    let (certificate, variable) = (certificate?, variable?);
    let (text, private_key) = (certificate.text(), environment.read(&variable));
    match SigningCertificate::read(text?, &private_key?) {
        Ok(read) => Some(Credential::Certificate(Box::new(read))),
        Err(SigningFault::Certificate) => certificate.mistake_of(
            "no certificate of a usable RSA key",
            "an X.509 certificate as PEM or base64, whose RSA key has 2048 to 4096 bits",
        ),
        Err(SigningFault::PrivateKey) => variable.mistake_of(
            &format!("{}, which holds no usable private key", variable.text().unwrap_or_default()),
            "an RSA key of 2048 to 4096 bits as PKCS #8 (BEGIN PRIVATE KEY), PEM or base64, without a passphrase",
        ),
    }
}

/// Scheme and host.
fn origin(node: &Node<'_>, expected: &str) -> Option<String> {
    let text = node.text()?;
    let text = text.strip_suffix('/').unwrap_or(text);
    match Address::parse(text) {
        Some(address) if format!("https://{}", address.authority()) == text => Some(text.to_owned()),
        _ => node.mistake(expected),
    }
}

fn upstream(members: &Members<'_>, name: &str) -> Option<(String, Duration)> {
    let members = members.required(name)?.object(&UPSTREAM_MEMBERS)?;
    let cluster = members.required("cluster").and_then(|node| node.text().map(str::to_owned));
    let timeout = members.get("timeout").map_or(Some(Duration::from_secs(10)), |node| {
        node.duration(Duration::from_millis(10)..=Duration::from_secs(60))
    });
    Some((cluster?, timeout?))
}

fn access(node: &Node<'_>, providers: &[&str], environment: &Environment<'_>) -> Option<(Access, Option<Requirement>)> {
    let members = node.object(&ACCESS_MEMBERS)?;
    let tokens = members.optional("initial_access_tokens_env", |node| secrets(node, environment));
    let app_roles = members.optional("app_roles", |node| app_roles(node, providers));
    let open = members.optional("open", |node| match node.flag()? {
        true => Some(()),
        false => node.mistake("true (leave it out to keep registration closed)"),
    });
    let named = |name| members.get(name).is_some();
    match (named("open"), named("initial_access_tokens_env") || named("app_roles")) {
        (true, true) => {
            return members
                .at("open")
                .mistake_of("`open` beside other access", "either of them: open lets in everybody");
        }
        (false, false) => {
            return node.mistake_of(
                "nobody who may register",
                "initial_access_tokens_env or app_roles; or open: true, which lets in everybody",
            );
        }
        (true, false) | (false, true) => {}
    }
    let app_roles = app_roles?;
    let access = Access {
        open: open?.is_some(),
        initial_access_tokens: tokens?.unwrap_or_default(),
        app_roles: app_roles.is_some(),
    };
    Some((access, app_roles))
}

fn app_roles(node: &Node<'_>, providers: &[&str]) -> Option<Requirement> {
    let members = node.object(&APP_ROLES_MEMBERS)?;
    let provider = members.required("provider").and_then(|node| {
        let name = node.text()?;
        match providers.iter().position(|known| *known == name) {
            Some(at) => Some(at),
            None => node.mistake("the name of a provider in `providers`"),
        }
    });
    let roles = members.required("roles").and_then(|node| node.list(|role| role.text().map(str::to_owned)));
    let roles = roles?;
    // The role was made for this, so it counts whether an application or a user has it.
    let permissions = RequiredPermissions {
        app_roles: Some(roles.clone()),
        user_roles: Some(roles),
        ..RequiredPermissions::default()
    };
    Some(Requirement { providers: Some(vec![provider?]), permissions: Some(permissions), ..Requirement::ANY })
}

/// Several in one variable, separated by commas, so that a new one can be there before the old one goes.
fn secrets(node: &Node<'_>, environment: &Environment<'_>) -> Option<Vec<String>> {
    let text = environment.read(node)?;
    let secrets: Vec<String> = text.split(',').map(|secret| secret.trim().to_owned()).collect();
    let plain = |secret: &String| secret.bytes().all(|byte| byte.is_ascii_graphic());
    if secrets.iter().any(|secret| secret.len() < LEAST_SECRET_BYTES || !plain(secret)) {
        let name = node.text().unwrap_or_default();
        return node.mistake_of(
            &format!("{name}, which holds something else than secrets"),
            &format!("random texts of at least {LEAST_SECRET_BYTES} printable characters, separated by commas"),
        );
    }
    Some(secrets)
}

fn redirect_uri(node: &Node<'_>) -> Option<RedirectPattern> {
    match RedirectPattern::parse(node.text()?) {
        Some(pattern) => Some(pattern),
        None => node.mistake(
            "http://localhost, http://127.0.0.1, an https address (also https://*.contoso.com/callback), or an application's own scheme",
        ),
    }
}

fn scopes(node: &Node<'_>) -> Option<Vec<Scope>> {
    let scopes: Vec<Option<Scope>> = node.entries()?.into_iter().map(|(name, node)| scope(name, &node)).collect();
    scopes.into_iter().collect()
}

fn scope(name: &str, node: &Node<'_>) -> Option<Scope> {
    let members = node.object(&SCOPE_MEMBERS)?;
    let resource = members.required("resource").and_then(|node| node.guid());
    let id = members.required("id").and_then(|node| node.guid());
    let words = [("delegated", ScopeKind::Delegated), ("application", ScopeKind::Application)];
    let kind = members.get("type").map_or(Some(ScopeKind::Delegated), |node| node.choice(&words));
    // RFC 6749 section 3.3.
    let token = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if name.is_empty() || !token {
        return node.mistake_of("a name that is no scope", "one such as api://orders/Orders.Read");
    }
    Some(Scope { name: name.to_owned(), resource: resource?, id: id?, kind: kind? })
}

fn prefix(node: &Node<'_>) -> Option<String> {
    const LONGEST: usize = 64;
    match node.json().as_str() {
        Some(text) if text.chars().count() <= LONGEST && !text.chars().any(char::is_control) => Some(text.to_owned()),
        _ => node.mistake("a text of at most 64 characters"),
    }
}

/// Reading is allowed wherever it can be.
fn allow(members: &Members<'_>, has_key: bool) -> Option<Allow> {
    let default = Allow { read: has_key, update: false, delete: false, rotate_secret: false };
    let allow = match members.get("allow") {
        None => Some(default),
        Some(node) => node.object(&ALLOW_MEMBERS).and_then(|members| {
            let flag = |name, default| members.get(name).map_or(Some(default), |node| node.flag());
            let (read, update) = (flag("read", has_key), flag("update", false));
            let (delete, rotate_secret) = (flag("delete", false), flag("rotate_secret", false));
            Some(Allow { read: read?, update: update?, delete: delete?, rotate_secret: rotate_secret? })
        }),
    }?;
    if allow.anything() && !has_key {
        return members.at("management_key_env").mistake_of(
            "nothing",
            "this member: what `allow` opens is kept by registration access tokens, which it authenticates",
        );
    }
    Some(allow)
}

fn rate(members: &Members<'_>) -> Option<Rate> {
    let (requests, interval) = (60, Duration::from_secs(60));
    let Some(node) = members.get("rate_limit") else {
        return Some(Rate { requests, interval });
    };
    let members = node.object(&RATE_LIMIT_MEMBERS)?;
    let requests = members.get("requests").map_or(Some(requests.into()), |node| node.integer(1..=100_000));
    let interval = members
        .get("interval")
        .map_or(Some(interval), |node| node.duration(Duration::from_secs(1)..=Duration::from_secs(86_400)));
    Some(Rate { requests: u32::try_from(requests?).ok()?, interval: interval? })
}
