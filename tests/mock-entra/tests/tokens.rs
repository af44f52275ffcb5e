//! Minted tokens: signatures against the published keys, and claims per kind and version.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mock_entra::{Directory, MintError, Minted, TokenRequest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const CONTOSO: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const CUSTOMERS: &str = "3f9e4b7d-1a2c-4d5e-8f60-7a8b9c0d1e2f";
const LOGIN: &str = "login.microsoftonline.com";

fn mint(request: Value) -> Minted {
    Directory::new().mint(&serde_json::from_value(request).unwrap(), NOW).unwrap()
}

fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

/// Verifies with the key document at a URL, as a gateway does.
fn verifies(directory: &Directory, token: &str, host: &str, path: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let header = URL_SAFE_NO_PAD.decode(message.split_once('.').unwrap().0).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let keys = directory.document(host, path).unwrap();
    let Some(key) = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]) else {
        return false;
    };
    if header["alg"] == "ES256" {
        let point = [&[4][..], &decode(&key["x"]), &decode(&key["y"])].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        return key.verify(message.as_bytes(), &signature).is_ok();
    }
    let (n, e) = (decode(&key["n"]), decode(&key["e"]));
    let parameters = match header["alg"].as_str().unwrap() {
        "RS256" if n.len() < 256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        other => panic!("{other}"),
    };
    RsaPublicKeyComponents { n, e }.verify(parameters, message.as_bytes(), &signature).is_ok()
}

#[test]
fn tokens_verify_with_the_document_of_their_issuer() {
    let directory = Directory::new();
    for (request, host, path) in [
        (json!({}), LOGIN, format!("/{CONTOSO}/discovery/v2.0/keys")),
        (json!({}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"version": 1}), LOGIN, format!("/{CONTOSO}/discovery/keys")),
        (json!({"alg": "RS384"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"alg": "RS512"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"key": "app"}), LOGIN, "/common/discovery/v2.0/keys?appid=x".into()),
        (json!({"tenant": "9188040d-6c67-4c5b-b112-36a304b66dad"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"cloud": "us_government"}), "login.microsoftonline.us", format!("/{CONTOSO}/discovery/v2.0/keys")),
        (
            json!({"cloud": "china", "version": 1}),
            "login.partner.microsoftonline.cn",
            format!("/{CONTOSO}/discovery/keys"),
        ),
        (json!({"kind": "external_id"}), "contosocustomers.ciamlogin.com", format!("/{CUSTOMERS}/discovery/v2.0/keys")),
        (
            json!({"kind": "b2c", "policy": "B2C_1_susi"}),
            "contosob2c.b2clogin.com",
            "/contosob2c.onmicrosoft.com/b2c_1_susi/discovery/v2.0/keys".into(),
        ),
        (json!({"kind": "oidc"}), "idp.example.com", "/keys".into()),
        (json!({"kind": "oidc", "alg": "PS256"}), "idp.example.com", "/keys".into()),
        (json!({"kind": "oidc", "alg": "ES256"}), "idp.example.com", "/keys".into()),
    ] {
        assert!(verifies(&directory, &mint(request.clone()).access_token, host, &path), "{request}");
    }
}

#[test]
fn tokens_do_not_verify_elsewhere() {
    let directory = Directory::new();
    for (request, host, path) in [
        (json!({"version": 1}), LOGIN, format!("/{CONTOSO}/discovery/v2.0/keys")),
        (json!({}), LOGIN, format!("/{CONTOSO}/discovery/keys")),
        (json!({"key": "app"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"key": "stranger"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"signature": "corrupt"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        (json!({"signature": "empty"}), LOGIN, "/common/discovery/v2.0/keys".into()),
        // The workforce host knows a subset of an External ID tenant's keys.
        (json!({"kind": "external_id"}), LOGIN, format!("/{CUSTOMERS}/discovery/v2.0/keys")),
        (
            json!({"kind": "b2c", "policy": "B2C_1_susi"}),
            "contosob2c.b2clogin.com",
            "/contosob2c.onmicrosoft.com/b2c_1_signin/discovery/v2.0/keys".into(),
        ),
    ] {
        assert!(!verifies(&directory, &mint(request.clone()).access_token, host, &path), "{request}");
    }
}

#[test]
fn the_weak_and_the_large_key_really_sign() {
    let mut directory = Directory::new();
    for key in ["weak", "large"] {
        directory.change_keys(&serde_json::from_value(json!({"add": key})).unwrap()).unwrap();
        let minted = directory.mint(&TokenRequest { key: Some(key.into()), ..TokenRequest::default() }, NOW).unwrap();
        assert!(verifies(&directory, &minted.access_token, LOGIN, "/common/discovery/v2.0/keys"), "{key}");
    }
}

#[test]
fn a_user_token_of_each_version() {
    let Minted { claims, header, .. } = mint(json!({}));
    assert_eq!(claims["aud"], "11111111-2222-4333-8444-555555555555");
    assert_eq!(claims["azp"], "aaaaaaaa-0000-4000-8000-000000000001");
    assert_eq!(claims["iss"], format!("https://{LOGIN}/{CONTOSO}/v2.0"));
    assert_eq!((&claims["ver"], &claims["scp"]), (&json!("2.0"), &json!("Orders.Read")));
    assert_eq!((&claims["iat"], &claims["nbf"]), (&json!(NOW - 300), &json!(NOW - 300)));
    assert_eq!(claims["exp"], NOW + 3600);
    assert_ne!(claims["sub"], claims["oid"]);
    assert_eq!(header.get("x5t"), None);
    for absent in ["appid", "idtyp", "roles", "unique_name"] {
        assert_eq!(claims.get(absent), None, "{absent}");
    }

    let Minted { claims, header, .. } = mint(json!({"version": 1}));
    assert_eq!((&claims["aud"], &claims["ver"]), (&json!("api://orders"), &json!("1.0")));
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{CONTOSO}/"));
    assert_eq!(claims["appid"], "aaaaaaaa-0000-4000-8000-000000000001");
    assert_eq!(header["x5t"], header["kid"]);
    assert_eq!(claims.get("azp"), None);
}

#[test]
fn roles_without_scopes_make_an_app_only_token() {
    let claims = mint(json!({"roles": ["Orders.Read.All"]})).claims;
    assert_eq!((&claims["idtyp"], &claims["roles"]), (&json!("app"), &json!(["Orders.Read.All"])));
    assert_eq!(claims["sub"], claims["oid"]);
    assert_eq!(claims.get("scp"), None);

    let both = mint(json!({"roles": ["Orders.Read.All"], "scopes": "Orders.Read"})).claims;
    assert_eq!((both.get("idtyp"), &both["scp"]), (None, &json!("Orders.Read")));
    let neither = mint(json!({"scopes": null})).claims;
    assert_eq!((neither.get("scp"), neither.get("roles")), (None, None));
}

#[test]
fn external_id_b2c_and_oidc_tokens_have_their_own_claims() {
    let claims = mint(json!({"kind": "external_id"})).claims;
    assert_eq!(claims["iss"], format!("https://{CUSTOMERS}.ciamlogin.com/{CUSTOMERS}/v2.0"));
    assert_eq!((&claims["tid"], &claims["name"]), (&json!(CUSTOMERS), &json!("unknown")));

    let claims = mint(json!({"kind": "b2c", "policy": "B2C_1_susi"})).claims;
    assert_eq!((&claims["ver"], &claims["tfp"], claims.get("tid")), (&json!("1.0"), &json!("B2C_1_susi"), None));

    let minted = mint(json!({"kind": "oidc"}));
    assert_eq!((&minted.header["typ"], &minted.claims["iss"]), (&json!("at+jwt"), &json!("https://idp.example.com")));
    assert_eq!((&minted.claims["scope"], minted.claims.get("tid")), (&json!("Orders.Read"), None));
}

#[test]
fn claims_and_header_are_merged_and_null_removes() {
    let minted = mint(json!({"claims": {"tid": null, "nonce": "n"}, "header": {"kid": null, "typ": "JOSE"}}));
    assert_eq!((minted.claims.get("tid"), &minted.claims["nonce"]), (None, &json!("n")));
    assert_eq!((minted.header.get("kid"), &minted.header["typ"]), (None, &json!("JOSE")));
}

#[test]
fn raw_text_is_signed_verbatim() {
    let minted = mint(json!({"raw_payload": r#"{"aud":"a","aud":"b"}"#, "raw_header": "{"}));
    let parts: Vec<&str> = minted.access_token.split('.').collect();
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[0]).unwrap(), b"{");
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[1]).unwrap(), br#"{"aud":"a","aud":"b"}"#);
    assert_eq!(minted.header, "{");
}

#[test]
fn signatures_can_be_missing() {
    assert!(mint(json!({"alg": "none"})).access_token.ends_with('.'));
    assert!(mint(json!({"signature": "empty"})).access_token.ends_with('.'));
    assert_eq!(mint(json!({"signature": "strip"})).access_token.split('.').count(), 2);
    assert_eq!(mint(json!({"alg": "HS256"})).header["alg"], "HS256");
}

#[test]
fn what_cannot_be_minted_says_why() {
    let mint = |request: Value| Directory::new().mint(&serde_json::from_value(request).unwrap(), NOW).unwrap_err();
    assert_eq!(mint(json!({"key": "lost"})), MintError::UnknownKey("lost".into()));
    assert_eq!(mint(json!({"tenant": "nowhere"})), MintError::UnknownTenant("nowhere".into()));
    assert_eq!(mint(json!({"kind": "b2c", "policy": "p"})), MintError::UnknownPolicy("p".into()));
    assert_eq!(mint(json!({"key": "ec", "alg": "RS256"})), MintError::AlgorithmNotForKey("RS256", "ec"));
}
