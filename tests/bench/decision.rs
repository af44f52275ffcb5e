//! What the decision costs apart from the signature, for each way in which it can end.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/gate.rs"]
mod gate;

use divan::Bencher;
use entra_gate::judge::verdict::Verdict;
use gate::Gate;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn configuration() -> Value {
    json!({
        "providers": {"workforce": {
            "tenants": ["8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b"],
            "audiences": ["11111111-2222-4333-8444-555555555555"],
            "upstream": {"cluster": "entra"},
        }},
        "rules": [{"match": {"path": "/healthz"}, "allow": "anonymous"}],
    })
}

fn bench(bencher: Bencher<'_, '_>, token: &Value, passes: bool) {
    let gate = Gate::new(&configuration());
    let authorization = format!("Bearer {}", gate.mint(token));
    bencher.bench_local(|| {
        let judgement = gate.judge(divan::black_box("/orders/17"), Some(divan::black_box(&authorization)));
        assert_eq!(matches!(judgement.verdict, Verdict::Allow(_)), passes);
    });
}

#[divan::bench]
fn refused_without_a_token(bencher: Bencher<'_, '_>) {
    let gate = Gate::new(&configuration());
    bencher.bench_local(|| gate.judge(divan::black_box("/orders/17"), None));
}

#[divan::bench]
fn anonymous(bencher: Bencher<'_, '_>) {
    let gate = Gate::new(&configuration());
    bencher.bench_local(|| gate.judge(divan::black_box("/healthz"), None));
}

#[divan::bench]
fn refused_before_the_signature(bencher: Bencher<'_, '_>) {
    bench(bencher, &json!({"expires_in": -600}), false);
}

#[divan::bench]
fn refused_by_the_signature(bencher: Bencher<'_, '_>) {
    bench(bencher, &json!({"signature": "corrupt"}), false);
}

#[divan::bench]
fn allowed(bencher: Bencher<'_, '_>) {
    bench(bencher, &json!({}), true);
}
