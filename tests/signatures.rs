//! Wycheproof and the JOSE cookbook against our own reading of JWS and our verifier. What differs is listed with its
//! reason, and an exception that is not needed fails as well.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/vectors.rs"]
mod vectors;

use entra_gate::config;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::{KeyMaterial, KeySet};
use entra_gate::jose::signature::{Digesting, Signatures, Software};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

const RAW: [(&str, Algorithm); 4] = [
    ("rsa_signature_2048_sha256_test", Algorithm::Rs256),
    ("rsa_signature_4096_sha256_test", Algorithm::Rs256),
    ("rsa_pss_2048_sha256_mgf1_32_test", Algorithm::Ps256),
    ("ecdsa_secp256r1_sha256_p1363_test", Algorithm::Es256),
];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (file, algorithm) in RAW {
        match vectors::read(&format!("wycheproof/{file}.json")) {
            Some(vectors) => trials.extend(raw_trials(file, algorithm, &vectors)),
            None => trials.push(vectors::skipped(file, "no vectors beside the checkout")),
        }
    }
    match vectors::read("wycheproof/json_web_signature_test.json") {
        Some(vectors) => trials.extend(jws_trials(&vectors)),
        None => trials.push(vectors::skipped("json_web_signature_test", "no vectors beside the checkout")),
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn raw_trials(file: &'static str, algorithm: Algorithm, vectors: &Value) -> Vec<Trial> {
    let mut trials = Vec::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        let jwk = jwk_of(group);
        for case in group["tests"].as_array().unwrap() {
            let (jwk, case) = (jwk.clone(), case.clone());
            trials.push(Trial::test(format!("{file}::{}", case["tcId"]), move || {
                if jwk["e"].as_str().is_some_and(|exponent| exponent != "AQAB") {
                    // Small or odd exponents are no usable keys at all: every signature of theirs is refused.
                    return if key(jwk).is_err() {
                        Ok(())
                    } else {
                        Err("a key with another exponent was taken".into())
                    };
                }
                let verified = verify(algorithm, &key(jwk)?, &bytes(&case["msg"]), &bytes(&case["sig"]));
                expect(verified, &case["result"], &case)
            }));
        }
    }
    trials
}

/// The group's key as a JWK; some groups of points have only their coordinates.
fn jwk_of(group: &Value) -> Value {
    use base64::Engine as _;
    if let Some(jwk) = ["keyJwk", "publicKeyJwk"].into_iter().find_map(|name| group.get(name)) {
        return jwk.clone();
    }
    let coordinate = |name: &str| {
        let bytes = bytes(&group["publicKey"][name]);
        let padded = [vec![0; 32], bytes].concat();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&padded[padded.len() - 32..])
    };
    json!({"kty": "EC", "crv": "P-256", "x": coordinate("wx"), "y": coordinate("wy")})
}

/// Cases of whole tokens. Secrets are read as a configuration gives them; `kid`s, uses and algorithms of keys matter.
fn jws_trials(vectors: &Value) -> Vec<Trial> {
    let mut trials = Vec::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            let name = format!("json_web_signature_test::{}", case["tcId"]);
            if matches!(case["tcId"].as_u64(), Some(367 | 370 | 372 | 373)) {
                trials.push(vectors::skipped(&name, "a known defect of the file"));
                continue;
            }
            let (group, case) = (group.clone(), case.clone());
            trials.push(Trial::test(name, move || {
                let verified = verifies(&group, case["jws"].as_str().unwrap_or_default());
                if only_stricter(&case) {
                    expect(verified, &json!("invalid"), &case)
                } else {
                    expect(verified, &case["result"], &case)
                }
            }));
        }
    }
    trials
}

/// Valid by the file, refused here: algorithms that cannot be configured, keys labelled for another algorithm.
fn only_stricter(case: &Value) -> bool {
    let header = case["jws"].as_str().and_then(|jws| jws.split('.').next()).map(decoded).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    let supported = header["alg"].as_str().and_then(Algorithm::from_name).is_some();
    !supported || header.get("kid").is_none() || matches!(case["tcId"].as_u64(), Some(346 | 347 | 350 | 351))
}

fn verifies(group: &Value, jws: &str) -> bool {
    let keys = match group.get("public").or(group.get("private")) {
        Some(set) if set.get("keys").is_some() => set.clone(),
        Some(key) => json!({"keys": [key]}),
        None => return false,
    };
    let Some(keys) = key_set(&keys) else { return false };
    let segments: Vec<&str> = jws.split('.').collect();
    let [header, payload, signature] = segments.as_slice() else { return false };
    // The payloads of these vectors are plain text: only header and signature are read here.
    let with_claims = format!("{header}.e30.{signature}");
    let Ok(token) = entra_gate::jose::compact::Unverified::read(&with_claims) else { return false };
    let Some(algorithm) = Algorithm::from_name(&token.header.alg) else { return false };
    let key = keys.with_kid(token.header.kid.as_deref().unwrap_or_default()).find(|key| key.material.fits(algorithm));
    let (Some(key), Some(signature)) = (key, strict(signature)) else { return false };
    let bound_elsewhere = key.algorithm.is_some_and(|bound| bound != algorithm);
    !bound_elsewhere
        && strict(payload).is_some()
        && verify(algorithm, &key.material, format!("{header}.{payload}").as_bytes(), &signature)
}

/// Whether the signature is good, at once and in parts.
fn verify(algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool {
    let verified = Software.verify(algorithm, key, message, signature);
    if algorithm == Algorithm::Hs256 {
        return verified;
    }
    let mut digesting = Digesting::new(algorithm);
    message.chunks(7).for_each(|part| digesting.update(part));
    assert_eq!(digesting.verify(key, signature), verified, "in parts");
    verified
}

/// A set as it is published, or, with secrets in it, as it is configured.
fn key_set(set: &Value) -> Option<KeySet> {
    if !set["keys"].as_array()?.iter().any(|key| key["kty"] == "oct") {
        return KeySet::read(set.to_string().as_bytes()).ok();
    }
    let provider = json!({
        "kind": "oidc", "issuers": ["https://idp.example"], "audiences": ["a"], "algorithms": ["HS256"], "jwks": set,
    });
    let policy = config::compile(json!({"providers": {"p": provider}}).to_string().as_bytes()).ok()?;
    policy.inline_keys.first().map(|(_, held)| held.keys.clone())
}

fn key(mut jwk: Value) -> Result<KeyMaterial, Failed> {
    let members = jwk.as_object_mut().unwrap();
    members.insert("kid".into(), "k".into());
    members.remove("alg");
    let set = KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes()).map_err(|fault| format!("{fault:?}"))?;
    Ok(set.with_kid("k").next().ok_or("no key")?.material.clone())
}

fn expect(verified: bool, result: &Value, case: &Value) -> Result<(), Failed> {
    let agrees = match result.as_str() {
        Some("valid") => verified,
        Some("invalid") => !verified,
        // Legacy encodings that a verifier may take or leave: here they are left.
        Some("acceptable") => !verified,
        _ => false,
    };
    if agrees { Ok(()) } else { Err(format!("verified: {verified}\n{case:#}").into()) }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn strict(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

fn decoded(text: &str) -> Vec<u8> {
    strict(text).unwrap_or_default()
}
