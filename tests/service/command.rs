//! The client commands: what they print, how they end, and that they never show a credential.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Service, TENANT, USER, entra_gate};

fn client(service: &Service, arguments: &[&str]) -> Command {
    let mut command = entra_gate();
    command.arg("revocations").args(arguments).env("ENTRA_GATE_REVOCATIONS_URL", &service.api);
    command.env("ENTRA_GATE_REVOCATIONS_TOKEN", BOOTSTRAP).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn end(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (code, out, err) = (output.status.code().unwrap(), text(output.stdout), text(output.stderr));
    assert!(!out.contains(BOOTSTRAP) && !err.contains(BOOTSTRAP), "{out}{err}");
    (code, out, err)
}

fn run(service: &Service, arguments: &[&str]) -> (i32, String, String) {
    end(client(service, arguments).output().unwrap())
}

fn json_of(service: &Service, arguments: &[&str]) -> Value {
    let (code, out, err) = run(service, &[arguments, &["--output", "json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

const WHO: [&str; 4] = ["--tenant", TENANT, "--user", USER];

#[test]
fn revoke_lift_list_and_history_tell_people_and_programs() {
    let service = Service::start();
    let (code, out, err) = run(&service, &[&["revoke"], &WHO[..], &["--reason", "laptop stolen"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Revoked: ") && out.contains(USER) && out.contains("sequence 1"), "{out}");

    let blocked = json_of(&service, &[&["revoke"], &WHO[..], &["--block", "--reason", "left"]].concat());
    assert_eq!((&blocked["changed"], &blocked["revocation"]["blocked"]), (&json!(true), &json!(true)));
    let (code, out, _) = run(&service, &[&["revoke"], &WHO[..], &["--block", "--reason", "left"]].concat());
    assert!(code == 0 && out.contains("nothing changed"), "{out}");
    let lifted = json_of(&service, &[&["lift"], &WHO[..], &["--reason", "back"]].concat());
    assert_eq!(lifted["revocation"]["blocked"], json!(false));

    let list = json_of(&service, &["list", "--tenant", TENANT]);
    assert_eq!(list["revocations"][0]["user"], USER);
    let (code, out, _) = run(&service, &["list"]);
    assert!(code == 0 && out.contains(USER) && out.contains("tokens issued before 20"), "{out}");
    let (code, out, _) = run(&service, &["history", "--limit", "2"]);
    assert!(code == 0 && out.contains("lift") && out.contains("back") && out.contains("--before"), "{out}");
    assert_eq!(json_of(&service, &["history"])["events"].as_array().unwrap().len(), 4);
}

#[test]
fn every_kind_of_subject_can_be_named() {
    let service = Service::start();
    for subject in [
        vec!["--tenant", TENANT, "--session", "00aa00aa-bb11-cc22-dd33-44ee44ee44ee"],
        vec!["--tenant", TENANT, "--client", USER],
        // As one in 64 of Entra's token identifiers.
        vec!["--issuer", "https://i/v2.0", "--token", "-leading-hyphen"],
        vec!["--issuer", "https://i/v2.0", "--subject", "pairwise"],
        vec!["--tenant", TENANT, "--whole-tenant"],
        vec!["--tenant", TENANT, "--user", USER, "--not-before", "now"],
        vec!["--tenant", TENANT, "--user", USER, "--not-before", "2020-01-01T00:00:00Z"],
    ] {
        let (code, _, err) = run(&service, &[&["revoke", "--reason", "test"], &subject[..]].concat());
        let too_old = subject.contains(&"2020-01-01T00:00:00Z");
        assert_eq!(code, if too_old { 5 } else { 0 }, "{subject:?} {err}");
    }
}

#[test]
fn exit_codes_say_who_must_act() {
    let service = Service::start();
    let why = ["--reason", "test"];
    let (code, _, err) = run(&service, &["revoke", "--tenant", TENANT]);
    assert!(code == 2 && err.contains("--reason"), "{err}");
    let (code, _, err) = run(&service, &[&["revoke", "--block", "--not-before", "now"], &WHO[..], &why[..]].concat());
    assert!(code == 2 && err.contains("--not-before"), "{err}");
    let (code, _, err) = run(&service, &[&["revoke", "--tenant", TENANT], &why[..]].concat());
    assert!(code == 5 && err.contains("whole_tenant"), "{err}");
    let (code, _, err) = run(&service, &[&["revoke", "--tenant", "contoso", "--user", "me"], &why[..]].concat());
    assert!(code == 5 && err.contains("tenant: found \"contoso\"") && err.contains("user: found"), "{err}");
    let (code, _, err) = run(&service, &[&["lift"], &WHO[..], &why[..]].concat());
    assert!(code == 5 && err.contains("not_revoked"), "{err}");

    let mut wrong = client(&service, &["list"]);
    let (code, _, err) = end(wrong.env("ENTRA_GATE_REVOCATIONS_TOKEN", "not-the-key").output().unwrap());
    assert!(code == 3 && err.contains("credential_not_allowed") && !err.contains("not-the-key"), "{err}");
    let mut none = client(&service, &["list"]);
    let (code, _, err) = end(none.env_remove("ENTRA_GATE_REVOCATIONS_TOKEN").output().unwrap());
    assert!(code == 3 && err.contains("ENTRA_GATE_REVOCATIONS_TOKEN"), "{err}");

    let mut nobody = client(&service, &["list"]);
    let (code, _, err) = end(nobody.env("ENTRA_GATE_REVOCATIONS_URL", "http://127.0.0.1:1").output().unwrap());
    assert!(code == 4 && err.contains("127.0.0.1:1"), "{err}");
    let mut far = client(&service, &["list"]);
    let (code, _, err) = end(far.env("ENTRA_GATE_REVOCATIONS_URL", "http://192.0.2.1").output().unwrap());
    assert!(code == 2 && err.contains("--plain-http"), "{err}");
}

#[test]
fn a_credential_comes_from_a_file_or_from_standard_input() {
    let service = Service::start();
    let file = service.place.path().join("credential");
    std::fs::write(&file, format!("{BOOTSTRAP}\n")).unwrap();
    let mut command = client(&service, &["list", "--credential", file.to_str().unwrap()]);
    assert_eq!(end(command.env_remove("ENTRA_GATE_REVOCATIONS_TOKEN").output().unwrap()).0, 0);
    let mut command = client(&service, &["list", "--credential", "-"]);
    command
        .env_remove("ENTRA_GATE_REVOCATIONS_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(BOOTSTRAP.as_bytes()).unwrap();
    assert_eq!(end(process.wait_with_output().unwrap()).0, 0);
}

#[test]
fn keys_are_listed_rotated_and_retired() {
    let service = Service::start();
    let old = json_of(&service, &["keys", "list"])["keys"][0]["kid"].as_str().unwrap().to_owned();
    let (code, out, err) = run(&service, &["keys", "rotate", "--signs-in", "0s", "--reason", "leak"]);
    assert!(code == 0 && out.starts_with("Published: "), "{out}{err}");
    let (_, out, _) = run(&service, &["keys", "list"]);
    assert!(out.contains("old") && out.contains("signing"), "{out}");
    let mut public = client(&service, &["keys", "public"]);
    let (code, out, _) = end(public.env_remove("ENTRA_GATE_REVOCATIONS_TOKEN").output().unwrap());
    let keys: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, keys["keys"].as_array().unwrap().len()), (0, 2));
    // A thumbprint may begin with a hyphen.
    let (code, out, err) = run(&service, &["keys", "retire", "--reason", "leak", "--", &old]);
    assert!(code == 0 && !out.contains(&old), "{out}{err}");
    let (code, _, err) = run(&service, &["keys", "retire", "--reason", "leak", "--", "../../../etc/passwd"]);
    assert!(code == 5 && err.contains("key_unknown"), "{err}");
}

#[test]
fn completions_and_help_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let output = entra_gate().args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("entra-gate"), "{shell}");
    }
    for command in [
        &["serve"][..],
        &["revoke"],
        &["lift"],
        &["list"],
        &["history"],
        &["keys", "list"],
        &["keys", "public"],
        &["keys", "retire"],
        &["keys", "rotate"],
    ] {
        let output = entra_gate().arg("revocations").args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Example"), "{command:?}: {help}");
    }
    let help = entra_gate().arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes"));
}
