use super::*;

const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const CLIENT: &str = "dddddddd-0000-4000-8000-000000000004";

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("worthless-secret".to_owned()),
        "HEADER" => Some(" Bearer worthless-token\n".to_owned()),
        "ODD" => Some("Bearer \u{e9}".to_owned()),
        "EMPTY" => Some(" ".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Configuration, String> {
    let input = Input { name: "sources.yaml".to_owned(), text: text.to_owned() };
    Configuration::of_text(&input, &environment).map_err(|failure| format!("{failure:?}"))
}

fn graph(more: &str) -> String {
    format!(
        "sources:\n  dir: {{ kind: graph, tenant: {TENANT}, client_id: {CLIENT}, client_secret_env: SECRET{more} }}\n"
    )
}

fn signals(more: &str) -> String {
    format!("sources:\n  okta: {{ kind: shared_signals, issuer: \"https://i.example/a/\", audiences: [x]{more} }}\n")
}

fn logout(more: &str) -> String {
    format!("sources:\n  idp: {{ kind: backchannel_logout, issuer: \"https://i.example/a\", audiences: [x]{more} }}\n")
}

#[test]
fn graph_has_defaults() {
    let Configuration { sources, hosts } = read(&graph("")).unwrap();
    assert!(hosts.is_empty());
    let [Source { name, dry_run: false, kind: Kind::Graph(read_graph) }] = sources.as_slice() else {
        panic!("{sources:?}")
    };
    assert_eq!((name.as_str(), read_graph.interval, read_graph.start), ("dir", seconds(30), Start::Everything));
    assert_eq!(read_graph.collections, [Collection::ServicePrincipals, Collection::Users]);
    assert!(!format!("{sources:?}").contains("worthless"));
    let chosen =
        read(&graph(", cloud: us_government, interval: 15s, start: now, collections: [users], dry_run: true")).unwrap();
    let [Source { dry_run: true, kind: Kind::Graph(graph), .. }] = chosen.sources.as_slice() else { panic!() };
    assert_eq!((graph.cloud, graph.start), (Cloud::UsGovernment, Start::Now));
    assert_eq!(graph.collections, [Collection::Users]);
}

#[test]
fn keys_are_found_where_the_specifications_put_them() {
    for (issuer, transmitter, provider) in [
        (
            "https://i.example",
            "https://i.example/.well-known/ssf-configuration",
            "https://i.example/.well-known/openid-configuration",
        ),
        (
            "https://i.example/a/b/",
            "https://i.example/.well-known/ssf-configuration/a/b",
            "https://i.example/a/b/.well-known/openid-configuration",
        ),
    ] {
        assert_eq!(of_transmitter(issuer), transmitter);
        assert_eq!(of_provider(issuer), provider);
    }
    let read = read(&signals(", push: { authorization_env: HEADER }")).unwrap();
    let [Source { kind: Kind::SharedSignals(signals), .. }] = read.sources.as_slice() else { panic!() };
    assert!(
        matches!(&signals.keys, KeySource::Metadata(address) if address.path() == "/.well-known/ssf-configuration/a")
    );
    assert_eq!(signals.push.as_ref().unwrap().authorization.0, "Bearer worthless-token");
    assert_eq!(signals.mapping.subject_issuers, ["https://i.example/a/"]);
    assert_eq!(signals.trust.algorithms, [Algorithm::Rs256]);
}

#[test]
fn logout_tokens_say_what_they_are_unless_they_need_not() {
    for (more, typing) in
        [("", Typing::Strict), (", require_type: true", Typing::Strict), (", require_type: false", Typing::Lax)]
    {
        let read = read(&logout(more)).unwrap();
        let [Source { kind: Kind::BackChannelLogout(logout), .. }] = read.sources.as_slice() else { panic!() };
        assert_eq!(logout.trust.typing, typing, "{more}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let push = ", push: { authorization_env: HEADER }";
    for (text, told) in [
        ("{}".to_owned(), "sources.yaml:1:1: sources: found nothing, expected this member"),
        ("sources: {}".to_owned(), "at least one member"),
        ("a: 1\n---\nb: 2".to_owned(), "expected one document"),
        ("sources: [".to_owned(), "neither YAML nor JSON"),
        ("sources: { \"a/b\": {} }".to_owned(), "part of an address"),
        ("sources: { a: { kind: ldap } }".to_owned(), "one of backchannel_logout, graph, shared_signals"),
        (graph(", tenants: 5"), "sources.dir.tenants: found an unknown member, expected `tenant`, perhaps"),
        (graph("").replace(TENANT, "contoso"), "sources.dir.tenant: found \\\"contoso\\\", expected a GUID"),
        (graph("").replace("SECRET", "MISSING"), "sources.dir.client_secret_env: found MISSING, which is not set"),
        (graph("").replace("SECRET", "EMPTY"), "EMPTY, which is not set"),
        (graph("").replace("SECRET", "no-name~of.one"), "no name of an environment variable"),
        (graph(", certificate: { certificate_file: a, key_file: b }"), "not one credential"),
        (
            graph("").replace(
                "client_secret_env: SECRET",
                "certificate: { certificate_file: /nowhere, key_file: /nowhere }",
            ),
            "a file that can be read",
        ),
        (graph(", cloud: germany"), "one of public, us_government, china"),
        (graph(", interval: 0s"), "a duration from 200ms"),
        (graph(", start: 2026"), "one of everything, now"),
        (graph(", collections: []"), "at least one element"),
        (graph(", collections: [groups]"), "one of users, service_principals"),
        (graph(", issuer: x"), "sources.dir.issuer: found an unknown member"),
        (signals(""), "neither `push` nor `poll`"),
        (signals(push).replace("https://", "http://"), "the issuer's https address"),
        (signals(push).replace("audiences: [x]", "audiences: []"), "at least one element"),
        (signals(&format!("{push}, algorithms: [HS256]")), "one of RS256, RS384, RS512, PS256, ES256"),
        (signals(&format!("{push}, jwks: {{ keys: [] }}")), "no key that can be used"),
        (signals(&format!("{push}, jwks_url: \"http://x\"")), "an absolute https address"),
        (signals(&format!("{push}, jwks_url: \"https://x\", metadata_url: \"https://x\"")), "several places for keys"),
        (signals(&format!("{push}, opaque: session")), "sources.okta.tenant: found nothing"),
        (signals(&format!("{push}, sub: user")), "sources.okta.tenant: found nothing"),
        (signals(&format!("{push}, credential_changes: [lost]")), "one of create, delete, revoke, update"),
        (signals(", push: { authorization_env: ODD }"), "printable ASCII"),
        (signals(", push: {}"), "sources.okta.push.authorization_env: found nothing"),
        (signals(", poll: { url: \"http://x\", authorization_env: HEADER }"), "sources.okta.poll.url"),
        (
            signals(", poll: { url: \"https://x\", authorization_env: HEADER, max_events: 0 }"),
            "a whole number from 1 to 1000",
        ),
        (signals(", poll: { url: \"https://x\", authorization_env: HEADER, wait: 1h }"), "sources.okta.poll.wait"),
        (logout(", require_type: maybe"), "true or false"),
        (logout(", nonce: x"), "an unknown member"),
        (
            format!("{}hosts: {{ \"graph.microsoft.com\": \"ftp://x\" }}\n", graph("")),
            "hosts[\\\"graph.microsoft.com\\\"]",
        ),
    ] {
        let failure = read(&text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(failure.contains(told), "{text}: {failure}");
        assert!(!failure.contains("worthless") && !failure.contains("no-name~of.one"), "{failure}");
    }
    // All at once.
    let failure = read(&graph(", interval: 0s, start: 5, colour: red")).unwrap_err();
    assert_eq!(failure.matches("sources.yaml:2:").count(), 3, "{failure}");
}

#[test]
fn requests_may_go_elsewhere() {
    let read =
        read(&format!("{}hosts: {{ \"Graph.microsoft.com\": \"http://127.0.0.1:9100\" }}\n", graph(""))).unwrap();
    assert_eq!(read.hosts["graph.microsoft.com"].as_str(), "http://127.0.0.1:9100/");
}

#[test]
fn a_certificate_stands_for_a_secret() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mock-entra/keys");
    let with = |certificate: &str, key: &str| {
        let files = format!("certificate: {{ certificate_file: {keys}/{certificate}, key_file: {keys}/{key} }}");
        read(&graph("").replace("client_secret_env: SECRET", &files))
    };
    assert!(with("app.crt.pem", "app.key.pem").is_ok());
    for (certificate, key, told) in [
        ("app.key.pem", "app.key.pem", "without a certificate"),
        ("app.crt.pem", "app.crt.pem", "without a private key"),
        ("app.crt.pem", "v2.key.pem", "of another key"),
        ("app.crt.pem", "ec.key.pem", "cannot be used"),
        ("app.crt.pem", "weak.key.pem", "cannot be used"),
    ] {
        let failure = with(certificate, key).unwrap_err();
        assert!(failure.contains(told), "{failure}");
    }
}

#[test]
fn the_reference_names_every_member() {
    let page = include_str!("../../../../../docs/sources.md");
    let all = [&MEMBERS[..], &SHARED, &TRUST, &GRAPH, &SIGNALS, &LOGOUT, &CERTIFICATE, &PUSH, &POLL].concat();
    for member in all {
        let words = page.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        assert!(words.into_iter().any(|word| word == member), "{member}");
    }
}
