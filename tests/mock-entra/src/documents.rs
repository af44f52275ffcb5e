//! Metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414) and key documents (RFC 7517) as Entra writes them.

use serde_json::{Map, Value, json};

use crate::authority::{Authority, Cloud, Tenancy, Version};
use crate::merge::merge;
use crate::publication::{Publication, Published};
use crate::question::Question;

pub(crate) fn metadata(question: &Question) -> Value {
    match &question.authority {
        Authority::B2c { .. } => b2c_metadata(question),
        Authority::Oidc => oidc_metadata(question),
        Authority::ExternalId { .. } => entra_metadata(question, false),
        Authority::Workforce { tenancy, .. } => {
            entra_metadata(question, matches!(tenancy, Tenancy::Common | Tenancy::Organizations))
        }
    }
}

fn entra_metadata(question: &Question, many_tenants: bool) -> Value {
    let base = &question.base;
    let cloud = question.authority.cloud();
    let (oauth2, discovery) = match question.version {
        Version::V1 => ("oauth2", "discovery"),
        Version::V2 => ("oauth2/v2.0", "discovery/v2.0"),
    };
    let app = question.appid.as_ref().map(|appid| format!("?appid={appid}")).unwrap_or_default();
    let (graph, msgraph) = cloud.graph_hosts();
    json!({
        "authorization_endpoint": format!("{base}/{oauth2}/authorize"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
            "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash",
            "c_hash", "email",
        ],
        "cloud_graph_host_name": graph,
        "cloud_instance_name": cloud.instance_name(),
        "device_authorization_endpoint": format!("{base}/{oauth2}/devicecode"),
        "end_session_endpoint": format!("{base}/{oauth2}/logout"),
        "frontchannel_logout_supported": true,
        "http_logout_supported": true,
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": question.authority.issuer(question.version),
        "jwks_uri": format!("{base}/{discovery}/keys{app}"),
        "kerberos_endpoint": format!("{base}/kerberos"),
        "msgraph_host": msgraph,
        "rbac_url": "https://pas.windows.net",
        "request_uri_parameter_supported": false,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "tenant_region_scope": if many_tenants { Value::Null } else { json!(cloud.region_scope()) },
        "token_endpoint": format!("{base}/{oauth2}/token"),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"],
        "userinfo_endpoint": format!("https://{msgraph}/oidc/userinfo"),
    })
}

fn b2c_metadata(question: &Question) -> Value {
    let base = &question.base;
    json!({
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "claims_supported": ["name", "sub", "idp", "tfp", "iss", "iat", "exp", "aud", "acr", "nonce", "auth_time"],
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": question.authority.issuer(question.version),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported":
            ["code", "code id_token", "code token", "code id_token token", "id_token", "id_token token", "token"],
        "scopes_supported": ["openid"],
        "subject_types_supported": ["pairwise"],
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    })
}

fn oidc_metadata(question: &Question) -> Value {
    let base = &question.base;
    json!({
        "authorization_endpoint": format!("{base}/authorize"),
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        "issuer": question.authority.issuer(question.version),
        "jwks_uri": format!("{base}/keys"),
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "subject_types_supported": ["public"],
        "token_endpoint": format!("{base}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    })
}

pub(crate) fn keys(question: &Question, publication: &Publication) -> Value {
    let published = publication.of(&question.authority, question.version, question.appid.is_some());
    let keys: Vec<Value> = published.iter().map(|published| jwk(question, published)).collect();
    json!({ "keys": keys })
}

fn jwk(question: &Question, Published { key, patch }: &Published<'_>) -> Value {
    let mut jwk: Map<String, Value> = key.jwk();
    match &question.authority {
        Authority::B2c { .. } => {
            jwk.insert("nbf".to_owned(), json!(1_493_763_266));
        }
        Authority::Oidc => {
            jwk.insert("alg".to_owned(), json!(key.usual_algorithm().name()));
        }
        // No `alg`: Entra leaves it out.
        authority @ (Authority::ExternalId { .. } | Authority::Workforce { .. }) => {
            if let Some(x5c) = &key.x5c {
                jwk.insert("x5t".to_owned(), json!(key.kid));
                jwk.insert("x5c".to_owned(), json!([x5c]));
            }
            if question.version == Version::V2 {
                let issuer = if key.name == "msa" { personal_accounts() } else { authority.clone() };
                jwk.insert("issuer".to_owned(), json!(issuer.issuer(Version::V2)));
                jwk.insert("cloud_instance_name".to_owned(), json!(authority.cloud().instance_name()));
            }
        }
    }
    let mut jwk = Value::Object(jwk);
    if let Some(patch) = patch {
        merge(&mut jwk, patch);
    }
    jwk
}

fn personal_accounts() -> Authority {
    Authority::Workforce { cloud: Cloud::Public, tenancy: Tenancy::Consumers }
}
