//! The host's verifier and ours, inside the host, on the mock's tokens and on Wycheproof's vectors: they must agree with
//! each other and with what is expected. The filter that compares refuses to start otherwise.

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use envoy_tests::bootstrap::{Delivery, Options};
use envoy_tests::envoy::repository;
use envoy_tests::world::Surroundings;
use envoy_tests::{Envoy, Release, Suite, behaviours};
use mock_entra::{Directory, TokenRequest};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let everywhere = behaviours![host_and_software_agree_on_every_vector];
    Suite::new().alone(&Release::all(), everywhere).run()
}

async fn host_and_software_agree_on_every_vector(release: &Release) {
    let mut vectors = tokens();
    for (file, algorithm) in [
        ("rsa_signature_2048_sha256_test", "RS256"),
        ("rsa_signature_4096_sha256_test", "RS256"),
        ("rsa_pss_2048_sha256_mgf1_32_test", "PS256"),
        ("ecdsa_secp256r1_sha256_p1363_test", "ES256"),
    ] {
        vectors.extend(wycheproof(file, algorithm));
    }
    let count = vectors.len();
    let mut options = Options::new(release, Value::Array(vectors));
    options.delivery = Delivery::StringValue;
    let surroundings = Surroundings::start().await;
    let bootstrap = options.bootstrap(&wasm(), &surroundings.clusters());
    match Envoy::start(release, &bootstrap, 1, &[]).await {
        Ok(envoy) => {
            let line = format!("agreement: {count} of {count} vectors");
            assert!(envoy.log().contains(&line), "{}", envoy.log());
        }
        Err(failure) => panic!("{failure}"),
    }
}

fn wasm() -> PathBuf {
    let wasm = repository().join("dist/agreement.wasm");
    wasm.canonicalize().unwrap_or_else(|error| panic!("{}: {error}. Run `make agreement` first.", wasm.display()))
}

/// A good and a changed token of each algorithm.
fn tokens() -> Vec<Value> {
    let directory = Directory::new();
    let mut vectors = Vec::new();
    for (kind, algorithm, key) in [
        ("workforce", "RS256", "v2"),
        ("workforce", "RS384", "v2"),
        ("workforce", "RS512", "v2"),
        ("workforce", "PS256", "v2"),
        ("oidc", "ES256", "ec"),
    ] {
        let request: TokenRequest =
            serde_json::from_value(json!({"kind": kind, "alg": algorithm, "key": key})).expect("a request");
        let minted = directory.mint(&request, 1_760_000_000).unwrap_or_else(|error| panic!("{error:?}"));
        let (message, signature) = minted.access_token.rsplit_once('.').expect("three segments");
        let (host, path) = match kind {
            "oidc" => ("idp.example.com", "/keys"),
            _ => ("login.microsoftonline.com", "/common/discovery/v2.0/keys"),
        };
        let keys = directory.document(host, path).expect("a key document");
        let keys = keys["keys"].as_array().expect("an array of keys");
        let jwk = keys.iter().find(|jwk| jwk["kid"] == minted.header["kid"]).expect("the token's key");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let name = format!("token {algorithm}");
        vectors.push(vector(&name, algorithm, jwk, message.as_bytes(), &signature, true));
        let other = format!("{message}x");
        vectors.push(vector(&format!("changed {name}"), algorithm, jwk, other.as_bytes(), &signature, false));
    }
    vectors
}

/// Wycheproof's cases, if they are beside the checkout; keys with other exponents than 65537 are no usable keys.
fn wycheproof(file: &str, algorithm: &str) -> Vec<Value> {
    let folder = std::env::var_os("ENTRA_GATE_VECTORS").map_or(repository().join("../shared/vectors"), PathBuf::from);
    let Ok(text) = std::fs::read(folder.join(format!("wycheproof/{file}.json"))) else {
        println!("SKIPPED {file}: no vectors beside the checkout");
        return Vec::new();
    };
    let document: Value = serde_json::from_slice(&text).expect("vectors are JSON");
    let mut vectors = Vec::new();
    for group in document["testGroups"].as_array().expect("an array of groups") {
        let Some(jwk) = ["keyJwk", "publicKeyJwk"].iter().find_map(|name| group.get(name)) else { continue };
        if jwk["e"].as_str().is_some_and(|exponent| exponent != "AQAB") {
            continue;
        }
        for case in group["tests"].as_array().expect("an array of cases") {
            let name = format!("{file} {}", case["tcId"]);
            let valid = case["result"] == "valid";
            vectors.push(vector(&name, algorithm, jwk, &bytes(&case["msg"]), &bytes(&case["sig"]), valid));
        }
    }
    vectors
}

fn vector(name: &str, algorithm: &str, jwk: &Value, message: &[u8], signature: &[u8], valid: bool) -> Value {
    let mut jwk = jwk.clone();
    jwk["kid"] = "k".into();
    let members = jwk.as_object_mut().expect("a JWK is an object");
    members.remove("alg");
    json!({
        "name": name,
        "alg": algorithm,
        "jwk": jwk,
        "message": STANDARD.encode(message),
        "signature": STANDARD.encode(signature),
        "valid": valid,
    })
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().expect("hexadecimal text").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    digits.chunks(2).map(byte).collect()
}
