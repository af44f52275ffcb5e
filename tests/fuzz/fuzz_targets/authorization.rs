//! Whatever a client sends as credentials: an answer, and one that can be told.
#![no_main]

use entra_gate::answer::answer;
use entra_gate::config;
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::signature::Software;
use entra_gate::judge::memory::Memory;
use entra_gate::judge::request::Request;
use entra_gate::judge::verdict::Verdict;
use entra_gate::judge::{Given, judge};
use entra_gate::policy::sources::Carried;
use entra_gate::revocation::Revocations;
use entra_gate::signals::refusal_line;
use libfuzzer_sys::fuzz_target;

const CONFIGURATION: &[u8] =
    br#"{"providers": {"p": {"tenants": "any", "audiences": ["a"], "upstream": {"cluster": "c"}}}}"#;

fuzz_target!(|authorization: &[u8]| {
    let Ok(policy) = config::compile(CONFIGURATION) else { panic!("the configuration is good") };
    let given = Given {
        policy: &policy,
        keys: &policy.key_store(),
        revocations: &Revocations::default(),
        memory: &Memory::default(),
        heard: &Heard::default(),
        now: 1_760_000_000_000,
        signatures: &Software,
    };
    let request = Request {
        method: String::new(),
        authority: String::new(),
        path: "/".to_owned(),
        preflight: false,
        carried: Carried { headers: vec![Some(authorization.to_vec())], parameters: Vec::new() },
    };
    let judgement = judge(&request, &given);
    let refusal = match &judgement.verdict {
        Verdict::Allow(_) => panic!("nothing passes without keys"),
        Verdict::Ask(ask) => &ask.otherwise,
        Verdict::Lack(lack) => &lack.otherwise,
        Verdict::Refuse(refusal) => refusal,
    };
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let answer = answer(refusal, &policy.responses);
    assert!(answer.headers.iter().all(|(_, value)| printable(value)));
    assert!(printable(&refusal_line(refusal, &judgement.seen)));
});
