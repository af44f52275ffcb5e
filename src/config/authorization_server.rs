//! `authorization_server`: the metadata that clients are shown in place of Entra's (RFC 8414), and which of Entra's
//! endpoints it names or passes requests through to.

use serde_json::{Map, Value, json};

use super::node::{Members, Node};
use super::resource::{identifier, scope};
use crate::keys::document::{Address, Document};
use crate::policy::authorization_server::AuthorizationServer;
use crate::policy::pass_through::PassThrough;
use crate::policy::provider::{Kind, PersonalAccounts, Provider, Tenants};

pub(super) const MEMBERS: [&str; 7] = [
    "application_id_uri",
    "authorization_endpoint",
    "grant_types_supported",
    "issuer",
    "provider",
    "scopes_supported",
    "token_endpoint",
];

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const DEFAULT_GRANTS: [&str; 2] = ["authorization_code", "refresh_token"];
/// Those of Entra's that send no password of a user.
const GRANTS: [&str; 5] = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
];

/// What the rest of the configuration says.
pub(super) struct Surroundings<'a> {
    /// The providers' names.
    pub(super) names: &'a [&'a str],
    /// The providers, unless they have mistakes.
    pub(super) providers: Option<&'a [Provider]>,
    /// Where their keys are.
    pub(super) documents: &'a [Option<Document>],
    /// The scopes of the API, as they are written.
    pub(super) scopes: Option<&'a Value>,
    /// The path at which clients register.
    pub(super) registration: Option<&'a str>,
}

/// Where Entra is.
struct Endpoints {
    /// What its endpoints begin with.
    base: String,
    /// What its keys' address ends with: nothing, or a query.
    of_application: String,
}

pub(super) fn compile(node: &Node<'_>, surroundings: &Surroundings<'_>) -> Option<AuthorizationServer> {
    let members = node.object(&MEMBERS)?;
    let issuer = members.required("issuer").and_then(|node| identifier(&node));
    let provider = members.required("provider").and_then(|node| {
        let name = node.text()?;
        if !surroundings.names.contains(&name) {
            return node.mistake(&format!("one of {}", surroundings.names.join(", ")));
        }
        surroundings.providers?.iter().find(|provider| provider.name == name).map(|provider| (node, provider))
    });
    let scopes = members.optional("scopes_supported", |node| node.list(scope));
    let grants = members
        .optional("grant_types_supported", |node| node.list(|grant| grant.choice(&GRANTS.map(|grant| (grant, grant)))));
    let own_endpoints = own_endpoints(&members);
    let application_id_uri = members.optional("application_id_uri", |node| match node.text()?.trim_end_matches('/') {
        // Entra takes none that ends with a slash.
        uri if uri.contains(':') && Some(uri) == node.text() => scope(node),
        _ => node.mistake("an Application ID URI, such as api://orders, without a slash at its end"),
    });

    let (issuer, address) = issuer?;
    let (node, provider) = provider?;
    let document = surroundings.documents.get(provider.authorities.first()?.document.0).and_then(Option::as_ref);
    let endpoints = Endpoints::of(&node, provider, document)?;
    let grants = grants?.unwrap_or_else(|| DEFAULT_GRANTS.to_vec());
    let pass_through = match own_endpoints? {
        None => {
            members.forbidden(
                "application_id_uri",
                "without an `authorization_endpoint` here, requests go to Entra directly",
            );
            None
        }
        Some((authorize_path, token_path)) => {
            let Some(document) = document else {
                return node.mistake("a provider with `upstream`, whose cluster carries token requests");
            };
            Some(PassThrough {
                authorize_path,
                token_path,
                authorization_endpoint: Address::parse(&endpoints.of_name("authorize"))?,
                token_endpoint: Address::parse(&endpoints.of_name("token"))?,
                cluster: document.cluster.clone(),
                timeout: document.timeout,
                grants: grants.clone(),
                application_id_uri: application_id_uri?,
            })
        }
    };
    let origin = format!("https://{}", address.authority());
    let own = |path: &str| format!("{origin}{path}");
    let (authorize, token) = match &pass_through {
        Some(pass_through) => (own(&pass_through.authorize_path), own(&pass_through.token_path)),
        None => (endpoints.of_name("authorize"), endpoints.of_name("token")),
    };
    let mut metadata = Map::new();
    let mut add = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    add("issuer", issuer.into());
    add("authorization_endpoint", authorize.into());
    add("token_endpoint", token.into());
    add("jwks_uri", endpoints.keys().into());
    if let Some(path) = surroundings.registration {
        add("registration_endpoint", own(path).into());
    }
    if let Some(scopes) = scopes?.or_else(|| with_refresh(surroundings.scopes?)) {
        add("scopes_supported", scopes.into());
    }
    add("response_types_supported", json!(["code"]));
    add("response_modes_supported", json!(["query", "fragment", "form_post"]));
    add("grant_types_supported", grants.into());
    // What a client signs names its token endpoint, so `private_key_jwt` would not pass through.
    add("token_endpoint_auth_methods_supported", json!(["none", "client_secret_basic", "client_secret_post"]));
    add("code_challenge_methods_supported", json!(["S256"]));
    add("subject_types_supported", json!(["pairwise"]));
    add("id_token_signing_alg_values_supported", json!(["RS256"]));
    Some(AuthorizationServer::new(address.path(), Value::Object(metadata).to_string(), pass_through))
}

/// The paths of the gate's own endpoints: both, or none. Entra looks at `resource` in both requests.
fn own_endpoints(members: &Members<'_>) -> Option<Option<(String, String)>> {
    let authorize = members.optional("authorization_endpoint", path)?;
    let token = members.optional("token_endpoint", path)?;
    match (authorize, token) {
        (None, None) => Some(None),
        (Some(authorize), Some(token)) if authorize != token => Some(Some((authorize, token))),
        (Some(_), Some(_)) => members.at("token_endpoint").mistake("another path than `authorization_endpoint`"),
        (Some(_), None) => {
            members.at("token_endpoint").mistake_of("nothing", "this member beside `authorization_endpoint`")
        }
        (None, Some(_)) => {
            members.at("authorization_endpoint").mistake_of("nothing", "this member beside `token_endpoint`")
        }
    }
}

/// A path on the issuer's host that everybody reads in the same way.
fn path(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    let mut segments = text.split('/');
    let is_rooted = segments.next() == Some("");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let is_plain = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain);
    if is_rooted && segments.all(is_plain) {
        Some(text.to_owned())
    } else {
        node.mistake("a path on the issuer's host, such as /authorize")
    }
}

/// The scopes of the API, and the one that brings refresh tokens: clients look for it here, never in what the API says.
fn with_refresh(scopes: &Value) -> Option<Vec<String>> {
    let scopes = scopes.as_array()?.iter().filter_map(Value::as_str).chain(["offline_access"]);
    Some(scopes.map(str::to_owned).collect())
}

impl Endpoints {
    fn of(node: &Node<'_>, provider: &Provider, document: Option<&Document>) -> Option<Self> {
        let derived = document.and_then(|document| Self::of_document(&document.metadata));
        let of_application = derived.as_ref().map(|endpoints| endpoints.of_application.clone()).unwrap_or_default();
        let at_login = |tenant: &str| {
            let base = format!("https://{}/{tenant}", provider.cloud.login_host());
            Some(Self { base, of_application: of_application.clone() })
        };
        match (provider.kind, &provider.tenants) {
            (Kind::Workforce, Tenants::Any(PersonalAccounts::Accepted)) => at_login("common"),
            (Kind::Workforce, Tenants::Only(tenants)) => match tenants.as_slice() {
                [tenant] => at_login(tenant.as_str()),
                _ => at_login("organizations"),
            },
            (Kind::Workforce, Tenants::Any(PersonalAccounts::Refused) | Tenants::Unknown) => at_login("organizations"),
            (Kind::ExternalId, Tenants::Only(tenants)) => derived.or_else(|| {
                let (tenant, suffix) = (tenants.first()?, provider.cloud.external_id_suffix());
                Some(Self { base: format!("https://{tenant}{suffix}/{tenant}"), of_application })
            }),
            (Kind::B2c, _) => match derived {
                Some(endpoints) => Some(endpoints),
                None => node.mistake(&format!("a provider whose metadata address ends in {WELL_KNOWN}")),
            },
            (Kind::ExternalId | Kind::Oidc, _) => {
                node.mistake("a provider of Entra's: those of kind oidc have metadata of their own")
            }
        }
    }

    /// Beside their metadata, where Entra's endpoints are.
    fn of_document(metadata: &Address) -> Option<Self> {
        let metadata = metadata.to_string();
        let (address, query) = metadata.split_once('?').unwrap_or((&metadata, ""));
        let base = address.strip_suffix(WELL_KNOWN)?;
        let of_application = match query {
            "" => String::new(),
            _ if query.starts_with("appid=") => format!("?{query}"),
            // A policy of B2C in the query: so would be its endpoints'.
            _ => return None,
        };
        Some(Self { base: base.strip_suffix("/v2.0").unwrap_or(base).to_owned(), of_application })
    }

    fn of_name(&self, name: &str) -> String {
        format!("{}/oauth2/v2.0/{name}", self.base)
    }

    fn keys(&self) -> String {
        format!("{}/discovery/v2.0/keys{}", self.base, self.of_application)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::compile;
    use crate::policy::Policy;
    use crate::policy::authorization_server::Place;

    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
    const OTHER: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";

    fn compiled(provider: &Value, server: &Value, resource: Option<Value>) -> Result<Policy, Vec<String>> {
        let mut provider = provider.clone();
        provider["audiences"] = json!(["a"]);
        if provider.get("jwks").is_none() {
            provider["upstream"] = json!({"cluster": "entra", "timeout": "3s"});
        }
        let mut document = json!({"providers": {"p": provider}, "authorization_server": server});
        if let Some(resource) = resource {
            document["resource_metadata"] = resource;
        }
        let told = |mistakes: Vec<super::super::Mistake>| mistakes.iter().map(ToString::to_string).collect();
        compile(document.to_string().as_bytes()).map_err(told)
    }

    fn metadata(policy: &Policy, path: &str) -> Value {
        match policy.authorization_server.as_ref().unwrap().place(path) {
            Some(Place::Metadata(document)) => serde_json::from_str(document).unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn workforce() -> Value {
        json!({"tenants": [TENANT]})
    }

    #[test]
    fn the_document_names_entras_endpoints() {
        let server = json!({"issuer": "https://api.example.com", "provider": "p"});
        let policy = compiled(&workforce(), &server, None).unwrap();
        let login = format!("https://login.microsoftonline.com/{TENANT}");
        assert_eq!(
            metadata(&policy, "/.well-known/oauth-authorization-server"),
            json!({
                "issuer": "https://api.example.com",
                "authorization_endpoint": format!("{login}/oauth2/v2.0/authorize"),
                "token_endpoint": format!("{login}/oauth2/v2.0/token"),
                "jwks_uri": format!("{login}/discovery/v2.0/keys"),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            })
        );
        let server = policy.authorization_server.unwrap();
        assert_eq!((server.place("/authorize"), server.place("/token"), server.pass_through()), (None, None, None));
    }

    #[test]
    fn the_document_names_the_gates_endpoints_that_pass_through() {
        let server = json!({
            "issuer": "https://api.example.com:8443/mcp/",
            "provider": "p",
            "authorization_endpoint": "/mcp/authorize",
            "token_endpoint": "/mcp/token",
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "application_id_uri": "api://orders",
        });
        let resource =
            json!({"resource": "https://api.example.com:8443/mcp", "scopes_supported": ["api://orders/Read"]});
        let policy = compiled(&workforce(), &server, Some(resource)).unwrap();
        let document = metadata(&policy, "/mcp/.well-known/openid-configuration");
        assert_eq!(document["issuer"], "https://api.example.com:8443/mcp/");
        assert_eq!(document["authorization_endpoint"], "https://api.example.com:8443/mcp/authorize");
        assert_eq!(document["token_endpoint"], "https://api.example.com:8443/mcp/token");
        assert_eq!(document["grant_types_supported"], json!(["authorization_code", "client_credentials"]));
        assert_eq!(document["scopes_supported"], json!(["api://orders/Read", "offline_access"]));
        let server = policy.authorization_server.as_ref().unwrap();
        let pass_through = server.pass_through().unwrap();
        let token = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
        assert_eq!(pass_through.token_endpoint.to_string(), token);
        assert_eq!((pass_through.cluster.as_str(), pass_through.timeout.as_secs()), ("entra", 3));
        // Clients of the API are led here, to the byte.
        let place = "/.well-known/oauth-protected-resource/mcp";
        let resource: Value =
            serde_json::from_str(policy.resource.as_ref().unwrap().document_at(place).unwrap()).unwrap();
        assert_eq!(resource["authorization_servers"], json!(["https://api.example.com:8443/mcp/"]));
    }

    #[test]
    fn scopes_that_are_given_are_those_that_are_shown() {
        let server = json!({"issuer": "https://a.example", "provider": "p", "scopes_supported": ["x/y"]});
        let resource = json!({"resource": "https://a.example", "scopes_supported": ["z"], "authorization_servers": ["https://b.example"]});
        let policy = compiled(&workforce(), &server, Some(resource)).unwrap();
        assert_eq!(metadata(&policy, "/.well-known/openid-configuration")["scopes_supported"], json!(["x/y"]));
        let place = "/.well-known/oauth-protected-resource";
        let resource: Value = serde_json::from_str(policy.resource.unwrap().document_at(place).unwrap()).unwrap();
        assert_eq!(resource["authorization_servers"], json!(["https://b.example"]));
    }

    #[test]
    fn each_kind_and_cloud_has_its_endpoints() {
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "k",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }]});
        let b2c = "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_a";
        for (provider, base, query) in [
            (json!({"tenants": [TENANT], "jwks": keys}), format!("https://login.microsoftonline.com/{TENANT}"), ""),
            (
                json!({"tenants": [TENANT], "token_versions": [1]}),
                format!("https://login.microsoftonline.com/{TENANT}"),
                "",
            ),
            (json!({"tenants": [TENANT, OTHER]}), "https://login.microsoftonline.com/organizations".into(), ""),
            (json!({"tenants": "any"}), "https://login.microsoftonline.com/organizations".into(), ""),
            (
                json!({"tenants": "any", "personal_accounts": true}),
                "https://login.microsoftonline.com/common".into(),
                "",
            ),
            (
                json!({"tenants": [TENANT], "cloud": "us_government", "app_id": OTHER}),
                format!("https://login.microsoftonline.us/{TENANT}"),
                "?appid=c2b1a098-7f6e-4d5c-8b4a-39281706f5e4",
            ),
            (
                json!({"tenants": [TENANT], "cloud": "china"}),
                format!("https://login.partner.microsoftonline.cn/{TENANT}"),
                "",
            ),
            (
                json!({"kind": "external_id", "domain": "contoso", "tenants": [TENANT]}),
                format!("https://contoso.ciamlogin.com/{TENANT}"),
                "",
            ),
            (
                json!({"kind": "external_id", "domain": "login.contoso.com", "tenants": [TENANT], "token_versions": [1]}),
                format!("https://login.contoso.com/{TENANT}"),
                "",
            ),
            (
                json!({"kind": "external_id", "domain": "contoso", "tenants": [TENANT], "jwks": keys}),
                format!("https://{TENANT}.ciamlogin.com/{TENANT}"),
                "",
            ),
            (
                json!({"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_a", "B2C_1_b"]}),
                b2c.into(),
                "",
            ),
        ] {
            let server = json!({"issuer": "https://a.example", "provider": "p"});
            let policy = compiled(&provider, &server, None).unwrap_or_else(|all| panic!("{provider} {all:?}"));
            let document = metadata(&policy, "/.well-known/oauth-authorization-server");
            assert_eq!(document["authorization_endpoint"], format!("{base}/oauth2/v2.0/authorize"), "{provider}");
            assert_eq!(document["token_endpoint"], format!("{base}/oauth2/v2.0/token"), "{provider}");
            assert_eq!(document["jwks_uri"], format!("{base}/discovery/v2.0/keys{query}"), "{provider}");
        }
    }

    #[test]
    fn clients_that_may_register_are_told_where() {
        use super::{Surroundings, compile};
        use crate::config::node::Node;

        let policy = compiled(&workforce(), &json!({"issuer": "https://a.example", "provider": "p"}), None).unwrap();
        let (value, mistakes) =
            (json!({"issuer": "https://a.example/x", "provider": "p"}), std::cell::RefCell::default());
        let surroundings = Surroundings {
            names: &["p"],
            providers: Some(policy.providers.all()),
            documents: &policy.documents,
            scopes: None,
            registration: Some("/register"),
        };
        let server = compile(&Node::root(&value, &mistakes), &surroundings).unwrap();
        let Some(Place::Metadata(document)) = server.place("/x/.well-known/openid-configuration") else { panic!() };
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["registration_endpoint"], "https://a.example/register");
    }

    #[test]
    fn what_could_not_work_is_a_mistake() {
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "k",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }]});
        let oidc = json!({"kind": "oidc", "metadata_url": "https://idp.example/.well-known/openid-configuration"});
        let inline = json!({"tenants": [TENANT], "jwks": keys});
        let b2c = json!({"kind": "b2c", "domain": "c", "tenants": [TENANT], "policies": ["B2C_1_a"], "jwks": keys});
        let passing =
            |authorize: &str, token: &str| json!({"authorization_endpoint": authorize, "token_endpoint": token});
        for (provider, members, path) in [
            (workforce(), json!({"issuer": null}), "authorization_server.issuer"),
            (workforce(), json!({"issuer": "http://a.example"}), "authorization_server.issuer"),
            (workforce(), json!({"issuer": "https://a.example/?x"}), "authorization_server.issuer"),
            (
                workforce(),
                json!({"provider": "other"}),
                "authorization_server.provider: found \"other\", expected one of p",
            ),
            (workforce(), json!({"scopes_supported": ["a b"]}), "authorization_server.scopes_supported[0]"),
            (
                workforce(),
                json!({"grant_types_supported": ["password"]}),
                "authorization_server.grant_types_supported[0]",
            ),
            (
                workforce(),
                json!({"authorization_endpoint": "/a"}),
                "authorization_server.token_endpoint: found nothing",
            ),
            (
                workforce(),
                json!({"token_endpoint": "/t"}),
                "authorization_server.authorization_endpoint: found nothing",
            ),
            (workforce(), passing("/a", "/a"), "authorization_server.token_endpoint"),
            (workforce(), passing("https://evil.example/a", "/t"), "authorization_server.authorization_endpoint"),
            (workforce(), passing("/a", "//t"), "authorization_server.token_endpoint"),
            (workforce(), passing("/a", "/t?x"), "authorization_server.token_endpoint"),
            (workforce(), passing("/.well-known/a", "/t"), "authorization_server.authorization_endpoint"),
            (workforce(), passing("a", "/t"), "authorization_server.authorization_endpoint"),
            (
                workforce(),
                json!({"application_id_uri": "api://orders"}),
                "authorization_server.application_id_uri: found this",
            ),
            (workforce(), json!({"application_id_uri": "orders"}), "authorization_server.application_id_uri"),
            (workforce(), json!({"application_id_uri": "api://orders/"}), "authorization_server.application_id_uri"),
            (workforce(), json!({"endpoints": "direct"}), "authorization_server.endpoints: found an unknown member"),
            (oidc, json!({}), "authorization_server.provider"),
            (b2c, json!({}), "authorization_server.provider"),
            (inline, passing("/a", "/t"), "authorization_server.provider"),
        ] {
            let mut server = json!({"issuer": "https://a.example", "provider": "p"});
            server.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            let all = compiled(&provider, &server, None).err().unwrap_or_else(|| panic!("{server}"));
            assert!(all.iter().any(|mistake| mistake.starts_with(path)), "{path}\n{all:#?}");
        }
    }
}
