//! Metadata and key documents per kind of issuer.

use mock_entra::{Directory, KeyChange, TokenRequest, Version};
use serde_json::{Value, json};

const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const B2C: &str = "775527ff-9a37-4307-8b3d-cc311f58d925";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const LOGIN: &str = "login.microsoftonline.com";

fn document(host: &str, path: &str) -> Value {
    Directory::new().document(host, path).unwrap_or_else(|| panic!("{host}{path}"))
}

/// Follows `jwks_uri` as a client does.
fn keys_of(directory: &Directory, metadata: &Value) -> Vec<Value> {
    let url = metadata["jwks_uri"].as_str().unwrap().strip_prefix("https://").unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    directory.document(host, path).unwrap()["keys"].as_array().unwrap().clone()
}

fn kids(keys: &[Value]) -> Vec<&str> {
    keys.iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

#[test]
fn issuers_are_those_entra_documents() {
    let domain = "contoso.onmicrosoft.com";
    for (host, path, issuer) in [
        (LOGIN, format!("/{CONTOSO}/v2.0"), format!("https://{LOGIN}/{CONTOSO}/v2.0")),
        (LOGIN, format!("/{domain}/v2.0"), format!("https://{LOGIN}/{CONTOSO}/v2.0")),
        ("login.windows.net", format!("/{CONTOSO}/v2.0"), format!("https://{LOGIN}/{CONTOSO}/v2.0")),
        (LOGIN, format!("/{CONTOSO}"), format!("https://sts.windows.net/{CONTOSO}/")),
        (LOGIN, "/common/v2.0".into(), format!("https://{LOGIN}/{{tenantid}}/v2.0")),
        (LOGIN, "/organizations/v2.0".into(), format!("https://{LOGIN}/{{tenantid}}/v2.0")),
        (LOGIN, "/common".into(), "https://sts.windows.net/{tenantid}/".into()),
        (LOGIN, "/consumers/v2.0".into(), format!("https://{LOGIN}/{PERSONAL}/v2.0")),
        (
            "login.microsoftonline.us",
            format!("/{CONTOSO}/v2.0"),
            format!("https://login.microsoftonline.us/{CONTOSO}/v2.0"),
        ),
        ("login.microsoftonline.us", format!("/{CONTOSO}"), format!("https://sts.windows.net/{CONTOSO}/")),
        (
            "login.chinacloudapi.cn",
            "/common/v2.0".into(),
            "https://login.partner.microsoftonline.cn/{tenantid}/v2.0".into(),
        ),
        ("login.partner.microsoftonline.cn", format!("/{CONTOSO}"), format!("https://sts.chinacloudapi.cn/{CONTOSO}/")),
        (
            "contosocustomers.ciamlogin.com",
            "/contosocustomers.onmicrosoft.com/v2.0".into(),
            format!("https://{CUSTOMERS}.ciamlogin.com/{CUSTOMERS}/v2.0"),
        ),
        (
            "login.contoso-customers.example",
            format!("/{CUSTOMERS}/v2.0"),
            format!("https://{CUSTOMERS}.ciamlogin.com/{CUSTOMERS}/v2.0"),
        ),
        (
            "contosob2c.b2clogin.com",
            "/contosob2c.onmicrosoft.com/b2c_1_susi/v2.0".into(),
            format!("https://contosob2c.b2clogin.com/{B2C}/v2.0/"),
        ),
        (
            "contosob2c.b2clogin.com",
            "/tfp/contosob2c.onmicrosoft.com/B2C_1_tfp/v2.0".into(),
            format!("https://contosob2c.b2clogin.com/tfp/{B2C}/b2c_1_tfp/v2.0/"),
        ),
        ("idp.example.com", String::new(), "https://idp.example.com".into()),
    ] {
        let metadata = document(host, &format!("{path}/.well-known/openid-configuration"));
        assert_eq!(metadata["issuer"], issuer, "{host}{path}");
        assert!(!keys_of(&Directory::new(), &metadata).is_empty(), "{host}{path}");
    }
}

#[test]
fn keys_stay_on_the_host_that_was_asked_while_the_issuer_does_not() {
    let metadata = document(
        "contosocustomers.ciamlogin.com:443",
        "/contosocustomers.onmicrosoft.com/v2.0/.well-known/openid-configuration",
    );
    let jwks_uri = format!("https://contosocustomers.ciamlogin.com/{CUSTOMERS}/discovery/v2.0/keys");
    assert_eq!(metadata["jwks_uri"], jwks_uri);
}

#[test]
fn keys_have_the_members_of_entra_and_no_alg() {
    let keys = document(LOGIN, &format!("/{CONTOSO}/discovery/v2.0/keys"));
    for key in keys["keys"].as_array().unwrap() {
        let members: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert_eq!(members, ["cloud_instance_name", "e", "issuer", "kid", "kty", "n", "use", "x5c", "x5t"]);
        assert_eq!(key["issuer"], format!("https://{LOGIN}/{CONTOSO}/v2.0"));
        assert_eq!(key["kid"], key["x5t"]);
    }
    let keys = document(LOGIN, &format!("/{CONTOSO}/discovery/keys"));
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key.get("issuer").is_none()));
}

#[test]
fn only_common_holds_the_key_of_personal_accounts_beside_templated_ones() {
    let issuers = |tenancy: &str| -> Vec<Value> {
        let keys = document(LOGIN, &format!("/{tenancy}/discovery/v2.0/keys"));
        keys["keys"].as_array().unwrap().iter().map(|key| key["issuer"].clone()).collect()
    };
    let template = format!("https://{LOGIN}/{{tenantid}}/v2.0");
    let personal = format!("https://{LOGIN}/{PERSONAL}/v2.0");
    assert_eq!(issuers("common"), [&*template, &*template, &*personal]);
    assert_eq!(issuers("organizations"), [&*template, &*template]);
    assert_eq!(issuers("consumers"), [&*personal]);
}

#[test]
fn the_versions_share_one_key_and_differ_in_another() {
    let v1 = document(LOGIN, &format!("/{CONTOSO}/discovery/keys"));
    let v2 = document(LOGIN, &format!("/{CONTOSO}/discovery/v2.0/keys"));
    let (v1, v2) = (v1["keys"].as_array().unwrap(), v2["keys"].as_array().unwrap());
    assert_eq!(kids(v1).iter().filter(|kid| kids(v2).contains(kid)).count(), 1);
    assert_eq!((v1.len(), v2.len()), (2, 2));
}

#[test]
fn an_application_key_appears_with_appid_only() {
    let directory = Directory::new();
    let path = format!("/{CONTOSO}/v2.0/.well-known/openid-configuration");
    let plain = keys_of(&directory, &directory.document(LOGIN, &path).unwrap());
    let metadata = directory.document(LOGIN, &format!("{path}?appid=11111111-2222-4333-8444-555555555555")).unwrap();
    assert!(metadata["jwks_uri"].as_str().unwrap().ends_with("/keys?appid=11111111-2222-4333-8444-555555555555"));
    assert_eq!(keys_of(&directory, &metadata).len(), plain.len() + 1);
}

#[test]
fn policies_have_their_own_keys() {
    let kid = |policy: &str| {
        let host = "contosob2c.b2clogin.com";
        let path = format!("/contosob2c.onmicrosoft.com/v2.0/.well-known/openid-configuration?p={policy}");
        let directory = Directory::new();
        let keys = keys_of(&directory, &directory.document(host, &path).unwrap());
        keys[0]["kid"].clone()
    };
    assert_ne!(kid("b2c_1_signin"), kid("b2c_1_susi"));
}

#[test]
fn a_generic_provider_names_algorithms() {
    let keys = document("idp.example.com", "/keys");
    let algorithms: Vec<&Value> = keys["keys"].as_array().unwrap().iter().map(|key| &key["alg"]).collect();
    assert_eq!(algorithms, ["RS256", "PS256", "ES256"]);
}

#[test]
fn what_entra_does_not_serve_is_absent() {
    let directory = Directory::new();
    for (host, path) in [
        (LOGIN, "/nowhere.onmicrosoft.com/v2.0/.well-known/openid-configuration".to_owned()),
        (LOGIN, format!("/{CONTOSO}/v3.0/.well-known/openid-configuration")),
        ("contosocustomers.ciamlogin.com", format!("/{CONTOSO}/v2.0/.well-known/openid-configuration")),
        (
            "contosob2c.b2clogin.com",
            "/contosob2c.onmicrosoft.com/b2c_1_none/v2.0/.well-known/openid-configuration".into(),
        ),
        ("login.example.org", "/common/v2.0/.well-known/openid-configuration".into()),
        ("", String::new()),
    ] {
        assert_eq!(directory.document(host, &path), None, "{host}{path}");
    }
}

#[test]
fn a_rollover_adds_a_current_key_and_then_takes_the_old_ones() {
    let mut directory = Directory::new();
    let path = format!("/{CONTOSO}/discovery/v2.0/keys");
    let published = |directory: &Directory| -> Vec<String> {
        let keys = directory.document(LOGIN, &path).unwrap();
        kids(keys["keys"].as_array().unwrap()).into_iter().map(str::to_owned).collect()
    };
    let signs = |directory: &Directory| {
        directory.mint(&TokenRequest::default(), 0).unwrap().header["kid"].as_str().unwrap().to_owned()
    };
    let before = published(&directory);
    assert_eq!(signs(&directory), before[0]);

    directory.change_keys(&KeyChange { rotate: true, ..KeyChange::default() }).unwrap();
    let during = published(&directory);
    assert_eq!(during[..2], before);
    assert_eq!(signs(&directory), during[2]);

    directory.change_keys(&KeyChange { remove_old: true, ..KeyChange::default() }).unwrap();
    assert_eq!(published(&directory), during[2..]);

    directory.change_keys(&KeyChange { reset: true, ..KeyChange::default() }).unwrap();
    assert_eq!(published(&directory), before);
    assert!(directory.change_keys(&KeyChange { remove_old: true, ..KeyChange::default() }).is_err());
}

#[test]
fn an_added_key_is_published_with_its_patch() {
    let mut directory = Directory::new();
    let change = json!({"add": {"key": "large", "jwk": {"cloud_instance_name": "microsoftonline.us", "x5c": null}}});
    directory.change_keys(&serde_json::from_value(change).unwrap()).unwrap();
    directory.change_keys(&serde_json::from_value(json!({"add": "weak"})).unwrap()).unwrap();
    let keys = directory.document(LOGIN, "/common/discovery/v2.0/keys").unwrap();
    assert_eq!(keys["keys"][3]["cloud_instance_name"], "microsoftonline.us");
    assert_eq!(keys["keys"][3].get("x5c"), None);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 5);
    // The added key may sign, but is never current.
    let minted = directory.mint(&TokenRequest { key: Some("large".into()), ..TokenRequest::default() }, 0).unwrap();
    assert_eq!(minted.header["kid"], keys["keys"][3]["kid"]);
    assert_eq!(
        directory.mint(&TokenRequest { version: Some(Version::V2), ..TokenRequest::default() }, 0).unwrap().header["kid"],
        keys["keys"][0]["kid"]
    );
}
