//! Whatever a client sends to be registered: an application within what the operator allows, or an error. And whatever
//! Entra and Graph answer.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use entra_gate::config;
use entra_gate::policy::registration::Registration;
use entra_gate::registration::graph::{self, NewPassword, Registered};
use entra_gate::registration::limits::{MAX_NAME_CHARS, MAX_NOTES_CHARS, MAX_REDIRECT_URIS};
use entra_gate::registration::login::GraphToken;
use entra_gate::registration::metadata::{self, Metadata};
use entra_gate::registration::route::Purpose;
use entra_gate::registration::token::Ticket;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static SETTINGS: LazyLock<Option<Registration>> = LazyLock::new(|| {
    let document = json!({"registration": {
        "tenant": "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b",
        "client_id": "cccccccc-0000-4000-8000-000000000003",
        "client_secret_env": "SECRET",
        "upstreams": {"login": {"cluster": "entra"}, "graph": {"cluster": "graph"}},
        "access": {"open": true},
        "redirect_uris": ["http://localhost", "http://127.0.0.1", "https://*.contoso.com/callback", "cursor://"],
        "scopes": {"a": {
            "resource": "11111111-2222-4333-8444-555555555555",
            "id": "aaaaaaaa-1111-4111-8111-111111111111",
        }},
        "allow": {"read": true, "update": true, "delete": true, "rotate_secret": true},
        "management_key_env": "SECRET",
    }});
    let secret = |_: &str| Some("worthless-text-of-thirty-two-bytes".to_owned());
    config::compile_with(document.to_string().as_bytes(), &secret).ok()?.registration
});

fuzz_target!(|bytes: &[u8]| {
    let Some(settings) = SETTINGS.as_ref() else { panic!("the configuration is one") };
    read(bytes, settings);
    if let Ok(target) = str::from_utf8(bytes) {
        // A body has many ways to be none: here it is one, and only what is in it is anything.
        let (name, uris) = target.split_once('\n').unwrap_or((target, ""));
        let uris: Vec<&str> = uris.split('\n').collect();
        for (method, kind) in [("none", "native"), ("none", "spa"), ("client_secret_basic", "web")] {
            let body = json!({
                "client_name": name,
                "redirect_uris": uris,
                "token_endpoint_auth_method": method,
                "application_type": kind,
            });
            read(body.to_string().as_bytes(), settings);
        }
        for method in ["POST", "GET", "PUT", "DELETE", "OPTIONS"] {
            let is_below = target.starts_with("/register");
            assert!(is_below || Purpose::of(method, target, settings).is_none());
        }
    }
    assert!(Ticket::read(bytes, settings).is_none());
    drop(GraphToken::read(200, bytes, 0));
    drop(NewPassword::read(bytes));
    if let Some(registered) = Registered::read(bytes) {
        drop(registered.passwords());
        assert_eq!(registered.client(None)["client_id"], registered.client_id.as_str());
    }
});

fn read(body: &[u8], settings: &Registration) {
    if let Ok(asked) = metadata::members(body)
        && let Ok(metadata) = Metadata::read(&asked, settings)
    {
        asked_for(&metadata, settings);
    }
}

fn asked_for(metadata: &Metadata, settings: &Registration) {
    assert!(metadata.name.starts_with("dcr: ") && metadata.name.chars().count() <= MAX_NAME_CHARS);
    assert!(metadata.redirect_uris.len() <= MAX_REDIRECT_URIS);
    for uri in &metadata.redirect_uris {
        assert!(settings.redirect_uris.iter().any(|pattern| pattern.admits(uri)), "{}", uri.as_str());
    }
    assert!(metadata.scopes.iter().all(|scope| scope == "a"));
    let Ok(mut application) = graph::application(metadata, settings) else { return };
    assert!(application["notes"].as_str().is_some_and(|notes| notes.chars().count() <= MAX_NOTES_CHARS));
    assert_eq!(
        (&application["signInAudience"], &application["api"]["requestedAccessTokenVersion"]),
        (&json!("AzureADMyOrg"), &json!(2))
    );
    for platform in ["publicClient", "spa", "web"] {
        let uris = application[platform]["redirectUris"].as_array().map(Vec::as_slice).unwrap_or_default();
        let different: BTreeSet<&str> = uris.iter().filter_map(Value::as_str).collect();
        assert_eq!(different.len(), uris.len(), "{uris:?}");
    }
    // What Graph has of it is what the client is told.
    application["id"] = json!("dddddddd-0000-4000-8000-000000000004");
    application["appId"] = json!("eeeeeeee-0000-4000-8000-000000000005");
    let registered = Registered::read(application.to_string().as_bytes());
    let Some(registered) = registered else { panic!("not read back: {application}") };
    assert!(registered.is_ours(settings));
    let client = registered.client(Some(metadata));
    let uris: Vec<&str> = metadata.redirect_uris.iter().map(|uri| uri.as_str()).collect();
    assert_eq!(client["redirect_uris"], json!(uris));
    assert_eq!(client["client_name"], json!(metadata.name));
    assert_eq!(client["grant_types"], json!(metadata.grant_types));
}
