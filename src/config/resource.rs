//! `resource_metadata`: what the filter tells clients of the API (RFC 9728), and which authorization servers follow from
//! the providers.

use serde_json::{Map, Value};

use super::node::Node;
use crate::keys::document::{Address, Document};
use crate::policy::provider::{Kind, PersonalAccounts, Provider, Tenants};
use crate::policy::resource::Resource;
use crate::policy::sources::Source;

pub(super) const MEMBERS: [&str; 5] =
    ["authorization_servers", "resource", "resource_documentation", "resource_name", "scopes_supported"];

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The metadata, and the address that challenges name. `issuer` is the authorization server that clients are shown in
/// place of the providers.
pub(super) fn compile(
    node: &Node<'_>,
    providers: &[Provider],
    documents: &[Option<Document>],
    sources: &[Source],
    issuer: Option<&str>,
) -> Option<(Resource, String)> {
    let members = node.object(&MEMBERS)?;
    let resource = members.required("resource").and_then(|node| identifier(&node));
    let servers = members.optional("authorization_servers", |node| {
        node.list(|server| identifier(server).map(|(text, _)| text.to_owned()))
    });
    let scopes = members.optional("scopes_supported", |node| node.list(scope));
    let documentation = members.optional("resource_documentation", |node| match Address::parse(node.text()?) {
        Some(_) => Some(node.text()?),
        None => node.mistake("an https address"),
    });
    let name = members.optional("resource_name", Node::text);

    let (identifier, address) = resource?;
    let servers = servers?.unwrap_or_else(|| match issuer {
        Some(issuer) => vec![issuer.to_owned()],
        None => authorization_servers(providers, documents),
    });
    let mut document = Map::new();
    let mut add = |name: &str, value: Value| document.insert(name.to_owned(), value);
    add("resource", identifier.into());
    if !servers.is_empty() {
        add("authorization_servers", servers.into());
    }
    add("bearer_methods_supported", bearer_methods(sources).into());
    if let Some(scopes) = scopes? {
        add("scopes_supported", scopes.into());
    }
    if let Some(documentation) = documentation? {
        add("resource_documentation", documentation.into());
    }
    if let Some(name) = name? {
        add("resource_name", name.into());
    }
    let resource = Resource::new(address.path(), Value::Object(document).to_string());
    let url = format!("https://{}{}", address.authority(), resource.well_known());
    Some((resource, url))
}

/// The methods of RFC 6750 section 2 by which tokens may be sent; other places have no names there.
fn bearer_methods(sources: &[Source]) -> Vec<&'static str> {
    let has = |wanted: &Source| sources.iter().any(|source| source.is_same(wanted));
    let methods = [("header", Source::bearer()), ("query", Source::Query("access_token".to_owned()))];
    methods.into_iter().filter(|(_, source)| has(source)).map(|(method, _)| method).collect()
}

/// RFC 9728 section 1.2: https, no fragment. A query has no place either: nothing could be served below it.
pub(super) fn identifier<'a>(node: &Node<'a>) -> Option<(&'a str, Address)> {
    let text = node.text()?;
    match Address::parse(text).filter(|address| !address.path().contains('?')) {
        Some(address) => Some((text, address)),
        None => node.mistake("an https address without a query and a fragment, such as https://api.example.com/orders"),
    }
}

/// RFC 6749 section 3.3.
pub(super) fn scope(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        Some(text.to_owned())
    } else {
        node.mistake("one scope, such as api://orders/Orders.Read")
    }
}

/// The issuer identifiers under which clients find the providers' endpoints (RFC 8414 section 2). Not always the `iss` of
/// tokens: v1 tokens name the STS, which serves nobody, and a B2C issuer names no policy.
fn authorization_servers(providers: &[Provider], documents: &[Option<Document>]) -> Vec<String> {
    let mut servers = Vec::new();
    for provider in providers {
        let login = |tenant: &str| format!("https://{}/{tenant}/v2.0", provider.cloud.login_host());
        let of_provider: Vec<String> = match (provider.kind, &provider.tenants) {
            (Kind::Workforce, Tenants::Only(tenants)) => tenants.iter().map(|tenant| login(tenant.as_str())).collect(),
            (Kind::Workforce, Tenants::Any(PersonalAccounts::Accepted)) => vec![login("common")],
            (Kind::Workforce, Tenants::Any(PersonalAccounts::Refused) | Tenants::Unknown) => {
                vec![login("organizations")]
            }
            (Kind::ExternalId, Tenants::Only(tenants)) => {
                let suffix = provider.cloud.external_id_suffix();
                tenants.iter().map(|tenant| format!("https://{tenant}{suffix}/{tenant}/v2.0")).collect()
            }
            (Kind::ExternalId | Kind::B2c | Kind::Oidc, _) => {
                let authorities = provider.authorities.iter();
                authorities
                    .map(|authority| {
                        let fetched = documents.get(authority.document.0).and_then(Option::as_ref);
                        let base = fetched.and_then(|document| {
                            document.metadata.to_string().strip_suffix(WELL_KNOWN).map(str::to_owned)
                        });
                        base.unwrap_or_else(|| authority.issuer.as_str().to_owned())
                    })
                    .collect()
            }
        };
        for server in of_provider {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::compile;
    use crate::policy::Policy;

    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
    const OTHER: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";
    const PATH: &str = "/.well-known/oauth-protected-resource";

    fn compiled(provider: &Value, resource: &Value) -> Result<Policy, Vec<String>> {
        let mut provider = provider.clone();
        provider["audiences"] = json!(["a"]);
        if provider.get("jwks").is_none() {
            provider["upstream"] = json!({"cluster": "entra"});
        }
        let document = json!({"providers": {"p": provider}, "resource_metadata": resource});
        let told = |mistakes: Vec<super::super::Mistake>| mistakes.iter().map(ToString::to_string).collect();
        compile(document.to_string().as_bytes()).map_err(told)
    }

    fn document(provider: &Value, resource: &Value) -> Value {
        let policy = compiled(provider, resource).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        serde_json::from_str(policy.resource.unwrap().document_at(PATH).unwrap()).unwrap()
    }

    fn servers(provider: &Value) -> Value {
        document(provider, &json!({"resource": "https://api.example"}))["authorization_servers"].take()
    }

    #[test]
    fn the_document_says_what_is_configured() {
        let workforce = json!({"tenants": [TENANT]});
        let resource = json!({
            "resource": "https://api.example.com/mcp",
            "scopes_supported": ["api://orders/Orders.Read"],
            "resource_name": "Orders",
            "resource_documentation": "https://docs.example.com/orders?x=y",
        });
        assert_eq!(
            document(&workforce, &resource),
            json!({
                "resource": "https://api.example.com/mcp",
                "authorization_servers": [format!("https://login.microsoftonline.com/{TENANT}/v2.0")],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["api://orders/Orders.Read"],
                "resource_name": "Orders",
                "resource_documentation": "https://docs.example.com/orders?x=y",
            })
        );
        let own = json!({"resource": "https://api.example.com/", "authorization_servers": ["https://api.example.com"]});
        let document = document(&workforce, &own);
        assert_eq!(document["resource"], "https://api.example.com/");
        assert_eq!(document["authorization_servers"], json!(["https://api.example.com"]));
    }

    #[test]
    fn challenges_name_the_address_with_the_path_of_the_resource() {
        for (resource, expected) in [
            ("https://api.example.com", "https://api.example.com/.well-known/oauth-protected-resource"),
            ("https://api.example.com/", "https://api.example.com/.well-known/oauth-protected-resource"),
            (
                "https://api.example.com:8443/a/b",
                "https://api.example.com:8443/.well-known/oauth-protected-resource/a/b",
            ),
        ] {
            let policy = compiled(&json!({"tenants": [TENANT]}), &json!({"resource": resource})).ok().unwrap();
            assert_eq!(policy.responses.resource_metadata.as_deref(), Some(expected));
        }
    }

    #[test]
    fn authorization_servers_are_where_clients_find_the_endpoints() {
        let login = |host: &str, tenant: &str| format!("https://{host}/{tenant}/v2.0");
        let public = |tenant: &str| login("login.microsoftonline.com", tenant);
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "k",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }]});
        for (provider, expected) in [
            (json!({"tenants": [TENANT, OTHER]}), vec![public(TENANT), public(OTHER)]),
            (json!({"tenants": [TENANT], "token_versions": [1]}), vec![public(TENANT)]),
            (json!({"tenants": "any"}), vec![public("organizations")]),
            (json!({"tenants": "any", "personal_accounts": true}), vec![public("common")]),
            (json!({"tenants": [TENANT], "cloud": "us_government"}), vec![login("login.microsoftonline.us", TENANT)]),
            (json!({"tenants": [TENANT], "cloud": "china"}), vec![login("login.partner.microsoftonline.cn", TENANT)]),
            (
                json!({"kind": "external_id", "domain": "contoso", "tenants": [TENANT]}),
                vec![login(&format!("{TENANT}.ciamlogin.com"), TENANT)],
            ),
            (
                json!({"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_a", "B2C_1_b"]}),
                vec![
                    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_a/v2.0".into(),
                    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_b/v2.0".into(),
                ],
            ),
            (
                json!({"kind": "oidc", "metadata_url": "https://idp.example/x/.well-known/openid-configuration"}),
                vec!["https://idp.example/x".into()],
            ),
            (
                json!({"kind": "oidc", "issuers": ["https://idp.example/"], "jwks": keys}),
                vec!["https://idp.example/".into()],
            ),
        ] {
            assert_eq!(servers(&provider), json!(expected), "{provider}");
        }
    }

    #[test]
    fn what_clients_could_not_use_is_a_mistake() {
        for (resource, path) in [
            (json!({}), "resource_metadata.resource: found nothing"),
            (json!({"resource": "api://orders"}), "resource_metadata.resource: found \"api://orders\""),
            (json!({"resource": "http://api.example"}), "resource_metadata.resource"),
            (json!({"resource": "https://api.example/#x"}), "resource_metadata.resource"),
            (json!({"resource": "https://api.example/?x"}), "resource_metadata.resource"),
            (json!({"resource": "https://api.example?x"}), "resource_metadata.resource"),
            (json!({"resource": "https://u@api.example"}), "resource_metadata.resource"),
            (json!({"resource": "https://api.example/\""}), "resource_metadata.resource"),
            (json!({"resource": "https://api.example", "scopes_supported": []}), "resource_metadata.scopes_supported"),
            (
                json!({"resource": "https://api.example", "scopes_supported": ["a b"]}),
                "resource_metadata.scopes_supported[0]",
            ),
            (
                json!({"resource": "https://api.example", "authorization_servers": ["login"]}),
                "resource_metadata.authorization_servers[0]",
            ),
            (
                json!({"resource": "https://api.example", "scopes": ["a"]}),
                "resource_metadata.scopes: found an unknown member",
            ),
        ] {
            let all = compiled(&json!({"tenants": [TENANT]}), &resource).err().unwrap();
            assert!(all.iter().any(|mistake| mistake.starts_with(path)), "{path}\n{all:#?}");
        }
    }
}
