//! `jwks`: keys that are given here, as a JWK set (RFC 7517) with what Azure API Management's policies add to it.
//!
//! Moduli, exponents and secrets may be base64 of either alphabet, with or without padding; a certificate may stand for
//! its key; a secret may come from an environment variable. No mistake shows a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::environment::Environment;
use super::node::{Members, Node};
use crate::jose::algorithm::Algorithm;
use crate::jose::certificate;
use crate::jose::compact::MAX_KID_BYTES;
use crate::jose::jwe::armored;
use crate::jose::jwk::{Key, KeyMaterial, KeySet, MAX_KEYS, PRIVATE_MEMBERS, Secret};

/// Most keys without `kid`: a token that names none of the others costs a signature for each.
const MOST_WITHOUT_KID: usize = 4;

pub(super) fn compile(node: &Node<'_>, environment: &Environment<'_>) -> Option<KeySet> {
    let list = node.open_object()?.required("keys")?;
    let keys = list.list(|node| key(node, environment))?;
    if keys.len() > MAX_KEYS {
        return list.mistake_of("too many keys", &format!("at most {MAX_KEYS}"));
    }
    if keys.iter().filter(|key| key.kid.is_none()).count() > MOST_WITHOUT_KID {
        return list.mistake_of("too many keys without kid", &format!("at most {MOST_WITHOUT_KID}: all are tried"));
    }
    Some(KeySet::new(keys))
}

fn key(node: &Node<'_>, environment: &Environment<'_>) -> Option<Key> {
    let members = node.open_object()?;
    let kid = members.optional("kid", |node| match node.json().as_str() {
        Some(kid) if !kid.is_empty() && kid.len() <= MAX_KID_BYTES => Some(kid.to_owned()),
        _ => node.mistake("the key's identifier, a text (leave it out if the key has none)"),
    });
    let usable = members.get("use").is_none_or(|node| node.is("sig") || node.mistake::<()>("sig").is_some());
    let verifies = |operations: &Node<'_>| match operations.json() {
        Value::Array(all) => all.iter().any(|operation| operation == "verify"),
        _ => false,
    };
    let operable = members
        .get("key_ops")
        .is_none_or(|node| verifies(&node) || node.mistake::<()>("a list with verify in it").is_some());
    let algorithm =
        members.optional("alg", |node| node.choice(&Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm))));
    let material = material(&members, environment)?;
    let algorithm = algorithm?;
    if let Some(algorithm) = algorithm.filter(|algorithm| !material.fits(*algorithm)) {
        return members.at("alg").mistake_of(algorithm.name(), "an algorithm of the key's type");
    }
    let text = |name: &str| members.get(name).and_then(|node| node.json().as_str()).map(str::to_owned);
    let (issuer, cloud_instance_name) = (text("issuer"), text("cloud_instance_name"));
    let kid = kid?;
    (usable && operable).then_some(Key { kid, material, algorithm, issuer, cloud_instance_name })
}

/// The key itself: of its own members, of a certificate, or of both, if they agree.
fn material(members: &Members<'_>, environment: &Environment<'_>) -> Option<KeyMaterial> {
    let of_certificate = members.optional("x5c", certified)?;
    let kind = members.get("kty");
    let has_members = ["n", "e", "x", "y", "crv", "k", "k_env"].iter().any(|name| members.get(name).is_some());
    if let (Some(certified), false) = (&of_certificate, has_members) {
        return Some(certified.clone());
    }
    let kind = kind.or_else(|| members.required("kty"))?;
    let material = match kind.choice(&[("RSA", Kind::Rsa), ("EC", Kind::Ec), ("oct", Kind::Oct)])? {
        Kind::Rsa => rsa(members),
        Kind::Ec => ec(members),
        Kind::Oct => return secret(members, environment),
    }?;
    match of_certificate {
        Some(certified) if certified != material => {
            members.at("x5c").mistake_of("a certificate of another key", "one of this key")
        }
        _ => Some(material),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Ec,
    Oct,
    Rsa,
}

fn certified(node: &Node<'_>) -> Option<KeyMaterial> {
    let certificates = node.list(|node| node.text())?;
    match certificates.first().and_then(|certificate| certificate::key_of(&armored(certificate)?)) {
        Some(key) => Some(key),
        None => node.mistake_of(
            "no certificate of a usable key",
            "base64 of a certificate (DER or PEM) of an RSA key of 2048 to 4096 bits, or of a P-256 key",
        ),
    }
}

fn rsa(members: &Members<'_>) -> Option<KeyMaterial> {
    no_private_part(members)?;
    let (modulus, exponent) = (number(members, "n"), number(members, "e"));
    match KeyMaterial::rsa(&modulus?, &exponent?) {
        Some(key) => Some(key),
        None => members.node().mistake_of("an RSA key that cannot be used", "2048 to 4096 bits, exponent 65537 (AQAB)"),
    }
}

fn ec(members: &Members<'_>) -> Option<KeyMaterial> {
    no_private_part(members)?;
    let curve = members.required("crv").and_then(|node| node.choice(&[("P-256", ())]));
    let (x, y) = (number(members, "x"), number(members, "y"));
    curve?;
    match KeyMaterial::p256_of_coordinates(&x?, &y?) {
        Some(key) => Some(key),
        None => members.node().mistake_of("no point on P-256", "its coordinates, 32 bytes each"),
    }
}

fn secret(members: &Members<'_>, environment: &Environment<'_>) -> Option<KeyMaterial> {
    let (node, text) = match (members.get("k"), members.get("k_env")) {
        (Some(node), None) => (node.clone(), node.json().as_str().unwrap_or_default().to_owned()),
        (None, Some(node)) => (node.clone(), environment.read(&node)?),
        _ => return members.node().mistake_of("not one secret", "`k_env`, an environment variable's name, or `k`"),
    };
    match bytes(&text).and_then(Secret::new) {
        Some(secret) => Some(KeyMaterial::Secret(secret)),
        None => node.mistake_of(
            "a secret that cannot be used",
            &format!("base64 of at least {} bytes, as random as a key is", Secret::LEAST_BYTES),
        ),
    }
}

fn no_private_part(members: &Members<'_>) -> Option<()> {
    let private = PRIVATE_MEMBERS.into_iter().find(|name| members.get(name).is_some());
    match private {
        None => Some(()),
        Some(name) => members.at(name).mistake_of("a private key", "the public key alone"),
    }
}

fn number(members: &Members<'_>, name: &str) -> Option<Vec<u8>> {
    let node = members.required(name)?;
    match node.json().as_str().and_then(bytes).filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => Some(bytes),
        None => node.mistake("a number in base64"),
    }
}

/// base64 as people have it: of either alphabet, padded or not, over several lines.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let plain = text.chars().filter(|character| !character.is_ascii_whitespace());
    let plain: String = plain
        .map(|character| match character {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    URL_SAFE_NO_PAD.decode(plain.trim_end_matches('=')).ok()
}
