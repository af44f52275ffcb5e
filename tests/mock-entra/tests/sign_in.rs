//! The authorization and token endpoints.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mock_entra::{Directory, GraphCall, GraphKnobs, Refusal};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const LOGIN: &str = "login.microsoftonline.com";
const V2: &str = "/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/oauth2/v2.0";
const DAEMON: &str = "client_id=aaaaaaaa-0000-4000-8000-000000000001&client_secret=worthless-secret";
const BRIDGE: &str = "cccccccc-0000-4000-8000-000000000003";
const PUBLIC: &str = "client_id=bbbbbbbb-0000-4000-8000-000000000002";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-0";

fn token(directory: &mut Directory, form: &str) -> Result<Value, Refusal> {
    directory.token(LOGIN, &format!("{V2}/token"), None, form.as_bytes(), NOW)
}

fn claims(answer: &Value, member: &str) -> Value {
    let payload = answer[member].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Signs in for a code bound to `VERIFIER`.
fn code(directory: &mut Directory) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
    let query = format!(
        "{PUBLIC}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%2F&state=s%26t&nonce=n\
         &scope=openid+offline_access+api%3A%2F%2Forders%2FOrders.Read&code_challenge={challenge}&code_challenge_method=S256",
    );
    let location = directory.authorize(LOGIN, &format!("{V2}/authorize?{query}"), NOW).unwrap();
    let (code, state) = location.strip_prefix("http://localhost/?code=").unwrap().split_once('&').unwrap();
    assert_eq!(state, "state=s%26t");
    code.to_owned()
}

fn redeem(directory: &mut Directory, code: &str, rest: &str) -> Result<Value, Refusal> {
    let form =
        format!("{PUBLIC}&grant_type=authorization_code&redirect_uri=http%3A%2F%2Flocalhost%2F&code={code}{rest}");
    token(directory, &form)
}

#[test]
fn a_daemon_gets_its_roles() {
    let form = format!("{DAEMON}&grant_type=client_credentials&scope=api://orders/.default");
    let answer = token(&mut Directory::new(), &form).unwrap();
    let claims = claims(&answer, "access_token");
    assert_eq!((&claims["roles"], &claims["idtyp"]), (&json!(["Orders.Read.All"]), &json!("app")));
    assert_eq!((&claims["ver"], &claims["azpacr"]), (&json!("2.0"), &json!("1")));
    assert_eq!(answer["expires_in"], 3599);
}

#[test]
fn the_api_decides_the_version_and_not_the_endpoint() {
    let form = format!("{DAEMON}&grant_type=client_credentials&scope=api://legacy/.default");
    let answer = token(&mut Directory::new(), &form).unwrap();
    assert_eq!(claims(&answer, "access_token")["ver"], "1.0");

    let form = format!("{DAEMON}&grant_type=client_credentials&resource=api://orders");
    let path = "/contoso.onmicrosoft.com/oauth2/token";
    let answer = Directory::new().token(LOGIN, path, None, form.as_bytes(), NOW).unwrap();
    assert_eq!(claims(&answer, "access_token")["ver"], "2.0");
    assert_eq!(answer["expires_on"], (NOW + 3600).to_string());
}

#[test]
fn the_secret_may_come_as_http_basic() {
    let basic = format!("Basic {}", STANDARD.encode("aaaaaaaa-0000-4000-8000-000000000001:worthless-secret"));
    let form = b"grant_type=client_credentials&scope=api://orders/.default";
    assert!(Directory::new().token(LOGIN, &format!("{V2}/token"), Some(&basic), form, NOW).is_ok());
}

#[test]
fn a_code_with_its_verifier_gives_tokens_once() {
    let mut directory = Directory::new();
    let code = code(&mut directory);
    let verifier = format!("&code_verifier={VERIFIER}&client_info=1");
    let answer = redeem(&mut directory, &code, &verifier).unwrap();
    let access = claims(&answer, "access_token");
    assert_eq!((&access["scp"], &access["azpacr"]), (&json!("Orders.Read"), &json!("0")));
    let id = claims(&answer, "id_token");
    assert_eq!((&id["nonce"], &id["aud"]), (&json!("n"), &json!("bbbbbbbb-0000-4000-8000-000000000002")));
    assert!(answer["client_info"].is_string());

    let again = redeem(&mut directory, &code, &verifier).unwrap_err();
    assert_eq!((again.error, again.code), ("invalid_grant", 54005));

    let refresh =
        format!("{PUBLIC}&grant_type=refresh_token&refresh_token={}", answer["refresh_token"].as_str().unwrap());
    assert_eq!(claims(&token(&mut directory, &refresh).unwrap(), "access_token")["scp"], "Orders.Read");
}

#[test]
fn a_code_without_its_verifier_gives_nothing() {
    for (rest, code_of_refusal) in [("&code_verifier=another", 501_481), ("", 900_144)] {
        let mut directory = Directory::new();
        let code = code(&mut directory);
        assert_eq!(redeem(&mut directory, &code, rest).unwrap_err().code, code_of_refusal);
        let verifier = format!("&code_verifier={VERIFIER}");
        assert!(redeem(&mut directory, &code, &verifier).is_err(), "one attempt only");
    }
}

#[test]
fn refusals_carry_the_codes_of_entra() {
    let client = "client_id=aaaaaaaa-0000-4000-8000-000000000001";
    let scope = "scope=api://orders/.default";
    let grant = "grant_type=client_credentials";
    for (form, status, error, code) in [
        (format!("{grant}&{client}&client_secret=wrong&{scope}"), 401, "invalid_client", 7_000_215),
        (format!("{grant}&{client}&{scope}"), 401, "invalid_client", 7_000_218),
        (format!("{grant}&client_id=unknown&{scope}"), 400, "unauthorized_client", 700_016),
        (format!("{grant}&{PUBLIC}&{scope}"), 401, "unauthorized_client", 700_025),
        (format!("{grant}&{DAEMON}&scope=api://orders/Orders.Read"), 400, "invalid_scope", 1_002_012),
        (format!("{grant}&{DAEMON}&scope=api://none/.default"), 400, "invalid_resource", 500_011),
        (format!("grant_type=password&{DAEMON}"), 400, "unsupported_grant_type", 70003),
        (DAEMON.to_owned(), 400, "invalid_request", 900_144),
    ] {
        let refusal = token(&mut Directory::new(), &form).unwrap_err();
        assert_eq!((refusal.status, refusal.error, refusal.code), (status, error, code), "{form}");
    }
}

#[test]
fn a_refusal_is_shaped_as_entras() {
    let body = token(&mut Directory::new(), DAEMON).unwrap_err().body(NOW);
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["correlation_id", "error", "error_codes", "error_description", "error_uri", "timestamp", "trace_id"]
    );
    assert!(body["error_description"].as_str().unwrap().starts_with("AADSTS900144: "));
    assert_eq!((&body["timestamp"], &body["error_codes"]), (&json!("2027-01-15 08:00:00Z"), &json!([900_144])));
}

#[test]
fn a_resource_must_be_a_name_of_the_scopes_api() {
    let authorize = |resource: &str| {
        let query = format!(
            "{PUBLIC}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%2F&scope=api%3A%2F%2Forders%2FOrders.Read&resource={resource}"
        );
        Directory::new().authorize(LOGIN, &format!("{V2}/authorize?{query}"), NOW)
    };
    assert!(authorize("https%3A%2F%2Fapi.example.com%2Forders").is_ok());
    assert!(authorize("api://orders").is_ok());
    for resource in ["https%3A%2F%2Fapi.example.com%2Forders%2F", "https%3A%2F%2Fapi.example.com", "api://legacy"] {
        assert_eq!(authorize(resource).unwrap_err().code, 9_010_010, "{resource}");
    }
    let mut directory = Directory::new();
    let code = code(&mut directory);
    let rest = format!("&code_verifier={VERIFIER}&resource=https%3A%2F%2Fapi.example.com");
    assert_eq!(redeem(&mut directory, &code, &rest).unwrap_err().code, 9_010_010);
}

/// An assertion of the client `bridge`, signed with its certificate's key unless another is given; both are merged over.
fn assertion(encoding: &'static dyn RsaEncoding, header: Value, claims: Value) -> String {
    let mut all = [
        json!({"alg": "RS256", "typ": "JWT", "x5t": thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY)}),
        json!({
            "aud": format!("https://{LOGIN}{V2}/token"),
            "iss": BRIDGE,
            "sub": BRIDGE,
            "jti": "an-id",
            "nbf": NOW,
            "exp": NOW + 300,
        }),
    ];
    for (document, changes) in all.iter_mut().zip([header, claims]) {
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
    }
    let signed = all.map(|document| URL_SAFE_NO_PAD.encode(document.to_string())).join(".");
    let pair = RsaKeyPair::from_pkcs8(&der(include_str!("../keys/bridge.key.pem"))).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn der(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

fn thumbprint(algorithm: &'static digest::Algorithm) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &der(include_str!("../keys/bridge.crt.pem"))))
}

fn asserting(directory: &mut Directory, assertion: &str) -> Result<Value, Refusal> {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let form = format!(
        "client_id={BRIDGE}&client_assertion_type={kind}&client_assertion={assertion}&grant_type=client_credentials\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
    );
    token(directory, &form)
}

#[test]
fn a_certificate_takes_the_secrets_place() {
    let mut directory = Directory::new();
    let rs256 = assertion(&RSA_PKCS1_SHA256, json!({}), json!({}));
    assert!(asserting(&mut directory, &rs256).is_ok());
    assert_eq!(asserting(&mut directory, &rs256).unwrap_err().code, 50_027, "it counts once");
    let header = json!({"alg": "PS256", "x5t": null, "x5t#S256": thumbprint(&digest::SHA256)});
    let ps256 = assertion(&RSA_PSS_SHA256, header, json!({"jti": "another-id"}));
    assert!(asserting(&mut directory, &ps256).is_ok());
}

#[test]
fn an_assertion_that_is_wrong_in_one_thing_is_refused() {
    for (header, claims, code) in [
        (json!({"alg": "HS256"}), json!({}), 50_027),
        (json!({"alg": "PS256"}), json!({}), 700_027),
        (json!({"x5t": null}), json!({}), 700_027),
        (json!({"x5t": thumbprint(&digest::SHA256)}), json!({}), 700_027),
        (json!({"x5t#S256": thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY)}), json!({}), 700_027),
        (json!({}), json!({"iss": "aaaaaaaa-0000-4000-8000-000000000001"}), 700_021),
        (json!({}), json!({"sub": null}), 700_021),
        (json!({}), json!({"aud": "https://login.microsoftonline.com/"}), 700_023),
        (json!({}), json!({"exp": NOW - 300}), 700_024),
        (json!({}), json!({"nbf": NOW + 301}), 700_024),
        (json!({}), json!({"exp": null}), 50_027),
        (json!({}), json!({"jti": null}), 50_027),
        (json!({}), json!({"jti": ""}), 50_027),
    ] {
        let wrong = assertion(&RSA_PKCS1_SHA256, header.clone(), claims.clone());
        let refusal = asserting(&mut Directory::new(), &wrong).unwrap_err();
        assert_eq!((refusal.error, refusal.code), ("invalid_client", code), "{header} {claims}");
    }
    for assertion in ["", "a", "a.b", "a.b.c", "e30.e30.e30"] {
        assert!(asserting(&mut Directory::new(), assertion).is_err(), "{assertion}");
    }
}

/// What Graph answers to the bridge.
fn graph(directory: &mut Directory, method: &str, target: &str, body: &Value) -> Value {
    let form = format!(
        "client_id={BRIDGE}&client_secret=worthless-bridge-secret&grant_type=client_credentials\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
    );
    let token = token(directory, &form).unwrap();
    let authorization = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let body = body.to_string();
    let call = GraphCall {
        host: "graph.microsoft.com",
        method,
        target,
        authorization: Some(&authorization),
        prefer: None,
        body: body.as_bytes(),
    };
    let answer = directory.graph(&call, NOW);
    assert!(answer.status < 300, "{answer:?}");
    answer.body
}

/// Signs a client in that Graph made, and redeems its code as a script of an origin, or as nobody's.
fn sign_in(
    directory: &mut Directory,
    client: &str,
    redirect_uri: &str,
    origin: Option<&str>,
    secret: &str,
) -> Result<Value, Refusal> {
    let uri: String = form_urlencoded::byte_serialize(redirect_uri.as_bytes()).collect();
    let query =
        format!("client_id={client}&response_type=code&redirect_uri={uri}&scope=api%3A%2F%2Forders%2FOrders.Read");
    let location = directory.authorize(LOGIN, &format!("{V2}/authorize?{query}"), NOW)?;
    let code = location.split_once("code=").unwrap().1;
    let form = format!("client_id={client}&grant_type=authorization_code&redirect_uri={uri}&code={code}{secret}");
    directory.token_from(origin, LOGIN, &format!("{V2}/token"), None, form.as_bytes(), NOW)
}

#[test]
fn clients_that_graph_made_are_held_to_the_rules_of_their_platforms() {
    let mut directory = Directory::new();
    let application = json!({
        "displayName": "x",
        "publicClient": {"redirectUris": ["http://localhost/cb"]},
        "spa": {"redirectUris": ["https://spa.example/cb"]},
        "web": {"redirectUris": ["https://web.example/cb"]},
    });
    let made = graph(&mut directory, "POST", "/v1.0/applications", &application);
    let client = made["appId"].as_str().unwrap();
    let secret =
        graph(&mut directory, "POST", &format!("/v1.0/applications(appId='{client}')/addPassword"), &json!({}));
    let secret = format!("&client_secret={}", secret["secretText"].as_str().unwrap());
    let script = Some("https://spa.example");
    for (uri, origin, secret, code) in [
        ("http://localhost:1234/cb", None, "", None),
        ("http://localhost:1234/cb", script, "", Some(9_002_326)),
        ("http://localhost/other", None, "", Some(50011)),
        ("https://spa.example/cb", script, "", None),
        ("https://spa.example/cb", None, "", Some(9_002_327)),
        ("https://web.example/cb", None, secret.as_str(), None),
        ("https://web.example/cb", None, "", Some(7_000_218)),
        ("https://web.example/cb", script, secret.as_str(), Some(9_002_326)),
    ] {
        let outcome = sign_in(&mut directory, client, uri, origin, secret);
        assert_eq!(outcome.err().map(|refusal| refusal.code), code, "{uri} {origin:?}");
    }
    // Tokens of its own need a service principal.
    let own = format!("client_id={client}{secret}&grant_type=client_credentials&scope=api://orders/.default");
    assert_eq!(token(&mut directory, &own).unwrap_err().code, 7_000_229);
    graph(&mut directory, "POST", "/v1.0/servicePrincipals", &json!({"appId": client}));
    assert!(token(&mut directory, &own).is_ok());
}

#[test]
fn a_new_client_may_be_unknown_for_a_while() {
    let mut directory = Directory::new();
    directory.turn_graph(GraphKnobs { propagation: 1, ..GraphKnobs::default() });
    let application = json!({"displayName": "x", "publicClient": {"redirectUris": ["http://localhost/cb"]}});
    let made = graph(&mut directory, "POST", "/v1.0/applications", &application);
    let client = made["appId"].as_str().unwrap();
    let mut again = || sign_in(&mut directory, client, "http://localhost/cb", None, "");
    assert_eq!(again().unwrap_err().code, 700_016);
    assert!(again().is_ok());
}
