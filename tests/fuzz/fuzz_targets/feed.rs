//! Whatever a feed sends, signed by a pinned key: taken, or refused, in steps of any size alike; and whatever its pages
//! and the values of shared data hold.
#![no_main]

use entra_gate::feed::board::Generation;
use entra_gate::feed::page::PageName;
use entra_gate::feed::reader::{Reader, Reading};
use entra_gate::feed::standing::Standing;
use entra_gate::feed::token;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::{KeySet, KeyMaterial};
use entra_gate::jose::signature::Signatures;
use entra_gate::revocation::fingerprint::HashKey;
use libfuzzer_sys::fuzz_target;

/// The coordinates of P-256's generator: a key as good as any, since nothing is verified here.
const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1",
    "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;

/// Takes every signature for good, so that what comes after it is reached.
struct Believing;

impl Signatures for Believing {
    fn verify(&self, _: Algorithm, _: &KeyMaterial, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

fn read(body: Vec<u8>, budget: usize) -> Option<(u64, Vec<u64>)> {
    let keys = KeySet::read(KEYS).expect("a key");
    let mut reader = Box::new(Reader::new(body, &keys, HashKey::new([1; 16])).ok()?);
    loop {
        match reader.step(budget, &Believing, 1_760_000_000).ok()? {
            Reading::More(next) => reader = next,
            Reading::Done(document) => {
                let entries = document.entries.all().map(|(fingerprint, _)| fingerprint).collect();
                return Some((document.claims.sequence, entries));
            }
        }
    }
}

fuzz_target!(|input: (&str, &[u8], u8)| {
    let (payload, bytes, budget) = input;
    let document = token::compact(&token::signing_input(Algorithm::Es256, "1", payload), &[1; 64]).into_bytes();
    let whole = read(document.clone(), usize::MAX);
    assert_eq!(read(document, usize::from(budget)), whole, "parts make a difference");
    read(bytes.to_vec(), 1_000);

    let page = PageName { path: "/".into(), digest: entra_gate::feed::page::digest(bytes), records: bytes.len() / 16 };
    if let Ok(records) = page.open(bytes, None) {
        assert!(records.is_sorted_by(|one, next| one.fingerprint < next.fingerprint));
        let generation = Generation { number: 1, nonce: 2 };
        assert_eq!(generation.read_chunk(0, &generation.write_chunk(0, &records)), Some(records));
    }
    let generation = Generation::default();
    generation.read_chunk(0, bytes);
    generation.read_delta(0, bytes);
    if let Some(standing) = Standing::from_bytes(bytes) {
        assert_eq!(Standing::from_bytes(&standing.to_bytes()), Some(standing));
    }
});
