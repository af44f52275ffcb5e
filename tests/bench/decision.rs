//! What the decision costs natively, for each way in which it can end and as each thing grows that it looks at.
//!
//! The signature is verified in Rust here, and nowhere but here and in `signature` does it count: elsewhere something
//! that says yes stands in for it, so that what is ours can be seen beside it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/gate.rs"]
mod gate;

use std::rc::Rc;

use divan::Bencher;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::KeyMaterial;
use entra_gate::jose::signature::Signatures;
use entra_gate::judge::verdict::{Recall, Verdict};
use gate::Gate;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// Says of every signature that it is right.
struct Credulous;

impl Signatures for Credulous {
    fn verify(&self, _: Algorithm, _: &KeyMaterial, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const PATH: &str = "/orders/17";

fn provider(tenant: &str) -> Value {
    json!({
        "tenants": [tenant],
        "audiences": ["11111111-2222-4333-8444-555555555555"],
        "upstream": {"cluster": "entra"},
    })
}

fn configuration() -> Value {
    json!({
        "providers": {"workforce": provider(TENANT)},
        "rules": [{"match": {"path": "/healthz"}, "allow": "anonymous"}],
    })
}

/// The tenant of the tokens and `count` - 1 others.
fn providers(count: usize) -> Value {
    let mut configuration = json!({"providers": {"workforce": provider(TENANT)}});
    for at in 1..count {
        configuration["providers"][format!("other{at:03}")] = provider(&format!("5a1d2f3b-0000-4000-8000-{at:012x}"));
    }
    configuration
}

/// So many rules, of which the last one matches.
fn rules(count: usize) -> Value {
    let mut configuration = providers(1);
    let rule = |at: usize| {
        let prefix = if at == count { PATH.to_owned() } else { format!("/service{at:04}/") };
        json!({"match": {"prefix": prefix}, "require": {"providers": ["workforce"]}})
    };
    configuration["rules"] = (1..=count).map(rule).collect();
    configuration
}

/// So many keys, of which the last one signs.
fn keys(count: usize) -> Value {
    let published = mock_entra::Directory::new()
        .document("login.microsoftonline.com", &format!("/{TENANT}/discovery/v2.0/keys"))
        .unwrap();
    let key = &published["keys"][0];
    let other = |at: usize| {
        let mut other = key.clone();
        other["kid"] = json!(format!("another-key-{at:015}"));
        other
    };
    let mut configuration = providers(1);
    let provider = configuration["providers"]["workforce"].as_object_mut().unwrap();
    provider.remove("upstream");
    provider.insert("jwks".into(), json!({"keys": (1..count).map(other).chain([key.clone()]).collect::<Vec<_>>()}));
    configuration
}

/// A token of about that length.
fn sized(bytes: usize) -> Value {
    // Each GUID of a group takes 39 bytes of JSON, 52 of base64; the token without any has some 1,000.
    let groups = bytes.saturating_sub(1_000) / 52;
    let groups: Vec<String> = (0..groups).map(|at| format!("6f1c8f6e-7b1d-4c54-9d0e-{at:012x}")).collect();
    json!({"claims": {"groups": groups}})
}

/// Judges a token that was never seen.
fn judged(bencher: Bencher<'_, '_>, gate: &Gate, token: &Value, passes: bool) {
    let authorization = format!("Bearer {}", gate.mint(token));
    bencher.bench_local(|| {
        let judgement = gate.judge(divan::black_box(PATH), Some(divan::black_box(&authorization)));
        assert_eq!(matches!(judgement.verdict, Verdict::Allow(_)), passes);
    });
}

/// Judges a token that is remembered, among `tokens`.
fn remembered(bencher: Bencher<'_, '_>, configuration: &Value, token: &Value, tokens: usize) {
    let mut gate = Gate { signatures: &Credulous, ..Gate::new(configuration) };
    let authorization = format!("Bearer {}", gate.mint(token));
    let text = authorization.strip_prefix("Bearer ").unwrap();
    let Verdict::Allow(grant) = gate.judge(PATH, Some(&authorization)).verdict else { panic!("the token is good") };
    let facts = Rc::clone(grant.facts().unwrap());
    for at in 1..tokens {
        gate.memory.remember(format!("{at:05}{text}{at:05}"), &facts);
    }
    gate.memory.remember(text, &facts);
    bencher.bench_local(|| {
        let judgement = gate.judge(divan::black_box(PATH), Some(divan::black_box(&authorization)));
        assert_eq!(judgement.recall, Recall::Hit);
    });
}

mod hot {
    use super::*;

    #[divan::bench(args = [1_000, 2_000, 4_000, 8_000])]
    fn bytes_of_a_token(bencher: Bencher<'_, '_>, bytes: usize) {
        remembered(bencher, &super::providers(1), &sized(bytes), 1);
    }

    #[divan::bench(args = [1, 10, 100])]
    fn keys(bencher: Bencher<'_, '_>, count: usize) {
        remembered(bencher, &super::keys(count), &json!({}), 1);
    }

    #[divan::bench(args = [1, 10, 100])]
    fn providers(bencher: Bencher<'_, '_>, count: usize) {
        remembered(bencher, &super::providers(count), &json!({}), 1);
    }

    #[divan::bench(args = [1, 10, 100, 1_000])]
    fn rules(bencher: Bencher<'_, '_>, count: usize) {
        remembered(bencher, &super::rules(count), &json!({}), 1);
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn tokens(bencher: Bencher<'_, '_>, count: usize) {
        remembered(bencher, &super::providers(1), &json!({}), count);
    }
}

mod new {
    use super::*;

    #[divan::bench(args = [1_000, 2_000, 4_000, 8_000])]
    fn bytes_of_a_token(bencher: Bencher<'_, '_>, bytes: usize) {
        let gate = Gate { signatures: &Credulous, ..Gate::new(&configuration()) };
        judged(bencher, &gate, &sized(bytes), true);
    }
}

mod refused {
    use super::*;

    #[divan::bench]
    fn before_the_signature(bencher: Bencher<'_, '_>) {
        judged(bencher, &Gate::new(&configuration()), &json!({"expires_in": -600}), false);
    }

    #[divan::bench]
    fn without_a_token(bencher: Bencher<'_, '_>) {
        let gate = Gate::new(&configuration());
        bencher.bench_local(|| gate.judge(divan::black_box(PATH), None));
    }
}

mod signature {
    use super::*;

    #[divan::bench]
    fn forged(bencher: Bencher<'_, '_>) {
        judged(bencher, &Gate::new(&configuration()), &json!({"signature": "corrupt"}), false);
    }

    #[divan::bench]
    fn right(bencher: Bencher<'_, '_>) {
        judged(bencher, &Gate::new(&configuration()), &json!({}), true);
    }
}

#[divan::bench]
fn anonymous(bencher: Bencher<'_, '_>) {
    let gate = Gate::new(&configuration());
    bencher.bench_local(|| gate.judge(divan::black_box("/healthz"), None));
}
