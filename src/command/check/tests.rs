use super::*;

fn checked(text: &str) -> Report {
    report(&Input { name: "f".to_owned(), text: text.to_owned() })
}

fn told(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}: {}", finding.at, finding.message)).collect()
}

const GOOD: &str = "providers:
  p:
    tenants: [8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b]
    audiences: [api]
    upstream: { cluster: entra }
";

/// An Envoy file with the configuration in it, and these around it.
fn envoy(plugin: &str, clusters: &str) -> String {
    let configuration: String = GOOD.lines().map(|line| format!("              {line}\n")).collect();
    format!(
        "static_resources:
  clusters: [{clusters}]
  listeners:
    - name: l
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
        config:
          name: entra_gate
          {plugin}
          configuration:
            \"@type\": type.googleapis.com/google.protobuf.Struct
            value:
{configuration}"
    )
}

const LOADED: &str = "failure_policy: FAIL_RELOAD\n          vm_config: {vm_id: entra_gate}";

#[test]
fn a_good_configuration_has_no_mistakes() {
    let report = checked(GOOD);
    assert!(report.mistakes.is_empty() && report.warnings.is_empty(), "{}", report.told());
    assert_eq!(report.not_checked, ["whether Envoy has the clusters entra"]);
    assert_eq!((report.configurations.len(), report.configurations[0].at), (1, Position::START));
}

#[test]
fn every_mistake_has_its_line_and_column() {
    for (text, expected) in [
        (
            GOOD.replace("tenants:", "tenant:"),
            vec!["3:5: providers.p.tenant: found an unknown member", "2:3: providers.p.tenants: found nothing"],
        ),
        (GOOD.replace("8d7f1c2a", "8d7f"), vec!["3:15: providers.p.tenants[0]: found"]),
        (GOOD.replace("[api]", "[]"), vec!["4:5: providers.p.audiences: found an empty list"]),
        (
            GOOD.replace("{ cluster: entra }", "{ clutser: entra }"),
            vec!["5:17: providers.p.upstream.clutser", "5:5: providers.p.upstream.cluster: found nothing"],
        ),
        (
            format!("{GOOD}rules:\n  - match: {{ path: orders }}\n    allow: nobody\n"),
            vec!["7:14: rules[0].match.path", "8:5: rules[0].allow"],
        ),
        (
            format!("{GOOD}rules:\n  - match: {{ path: / }}\n    require: {{ providers: [q] }}\n"),
            vec!["8:28: rules[0].require.providers[0]"],
        ),
        (
            format!("{GOOD}forwards: {{}}\n"),
            vec!["6:1: forwards: found an unknown member, expected `forward`, perhaps"],
        ),
        ("providers:\n  p: 1\n".to_owned(), vec!["2:3: providers.p: found 1"]),
        ("a: b: c\n".to_owned(), vec!["1:5: neither YAML nor JSON"]),
        ("{}".to_owned(), vec!["1:1: no configuration"]),
        (format!("{GOOD}providers: 1\n"), vec!["6:1: the member name \"providers\" appears twice"]),
    ] {
        let found = told(&checked(&text).mistakes);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for expected in expected {
            assert!(found.iter().any(|found| found.starts_with(expected)), "{expected}\n{text}\n{found:#?}");
        }
    }
}

#[test]
fn mistakes_inside_json_text_have_their_place_in_the_file() {
    let text = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
config:
  configuration:
    \"@type\": type.googleapis.com/google.protobuf.StringValue
    value: |
      {
        \"providers\": { \"p\": { \"audience\": [] } }
      }
";
    let found = told(&checked(text).mistakes);
    assert!(
        found.iter().any(|found| found.starts_with("7:31: providers.p.audience: found an unknown member")),
        "{found:#?}"
    );
}

#[test]
fn nothing_is_needed_from_the_environment() {
    let secrets = "providers:
  p:
    kind: oidc
    issuers: [\"https://idp.example\"]
    algorithms: [HS256]
    jwks: { keys: [ { kty: oct, k_env: SIGNING_KEY } ] }
    audiences: [api]
    decryption_keys: [ { private_key_env: PRIVATE_KEY } ]
";
    let report = checked(secrets);
    assert!(report.mistakes.is_empty(), "{}", report.told());
    assert_eq!(report.not_checked, ["the values of PRIVATE_KEY, SIGNING_KEY"]);
    // What does not depend on them is checked all the same.
    let found = told(&checked(&secrets.replace("PRIVATE_KEY", "private key")).mistakes);
    assert!(found[0].starts_with("8:26: providers.p.decryption_keys[0].private_key_env"), "{found:#?}");
}

#[test]
fn whoever_is_asked_about_tokens_is_looked_at() {
    let lists = "status_lists: { uris: [\"https://s.example/\"], cluster: status }";
    let report = checked(&format!("{GOOD}    {lists}\n    graph_tokens: {{ cluster: graph }}\n"));
    let found = told(&report.mistakes);
    assert!(
        found.len() == 1 && found[0].starts_with("2:3: providers.p.client_applications: found nothing"),
        "{found:?}"
    );
    assert_eq!(report.not_checked, ["whether Envoy has the clusters entra, graph, status"]);
    let introspection = "{ url: \"https://i.example/\", cluster: idp, client_id: gate, client_secret_env: SECRET }";
    let oidc = "kind: oidc\n    metadata_url: https://i.example/.well-known/openid-configuration";
    let text = GOOD.replace("tenants: [8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b]", oidc);
    let report = checked(&format!("{text}    introspection: {introspection}\n"));
    assert_eq!(told(&report.mistakes), Vec::<String>::new());
    assert_eq!(report.not_checked, ["the values of SECRET", "whether Envoy has the clusters entra, idp"]);
}

#[test]
fn what_is_around_a_configuration_is_looked_at() {
    let tls = "{name: entra, transport_socket: {typed_config: {\"@type\": x/e.UpstreamTlsContext, common_tls_context: {validation_context: {trusted_ca: {filename: x}}}}}}";
    let good = checked(&envoy(LOADED, tls));
    assert!(good.mistakes.is_empty() && good.warnings.is_empty() && good.not_checked.is_empty(), "{}", good.told());
    for (plugin, clusters, mistakes, warnings) in [
        ("root_id: x", tls, vec![], vec!["no failure_policy", "no vm_id"]),
        ("failure_policy: FAIL_CLOSED", tls, vec![], vec!["failure_policy \"FAIL_CLOSED\": after a fault", "no vm_id"]),
        (
            "failure_policy: FAIL_OPEN",
            tls,
            vec![],
            vec!["failure_policy FAIL_OPEN: requests pass unjudged", "no vm_id"],
        ),
        ("fail_open: true", tls, vec![], vec!["fail_open: requests pass", "no failure_policy", "no vm_id"]),
        ("failure_policy: 1", tls, vec![], vec!["no vm_id"]),
        (LOADED, "{name: entra}", vec![], vec!["cluster entra, named by providers.p.upstream.cluster, has no TLS"]),
        (
            LOADED,
            "{name: entra, transport_socket: {typed_config: {\"@type\": x/e.UpstreamTlsContext}}}",
            vec![],
            vec!["cluster entra, named by providers.p.upstream.cluster, has TLS without trusted_ca"],
        ),
        (
            LOADED,
            "{name: entre}",
            vec![
                "providers.p.upstream.cluster: found `entra`, which is no cluster of this file, expected `entre`, perhaps",
            ],
            vec![],
        ),
        (
            LOADED,
            "{name: a}, {name: b}",
            vec!["providers.p.upstream.cluster: found `entra`, which is no cluster of this file, expected one of a, b"],
            vec![],
        ),
    ] {
        let report = checked(&envoy(plugin, clusters));
        let messages =
            |findings: &[Finding]| findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>();
        for (found, expected) in [(messages(&report.mistakes), mistakes), (messages(&report.warnings), warnings)] {
            assert_eq!(found.len(), expected.len(), "{plugin} {clusters}\n{}", report.told());
            for expected in expected {
                assert!(found.iter().any(|found| found.starts_with(expected)), "{expected}\n{}", report.told());
            }
        }
    }
}

#[test]
fn meshes_and_gateways_are_told_how_to_load_it() {
    let istio = |strategy: &str| {
        let configuration: String = GOOD.lines().map(|line| format!("    {line}\n")).collect();
        format!("kind: WasmPlugin\nspec:\n  pluginName: entra_gate\n{strategy}  pluginConfig:\n{configuration}")
    };
    for (strategy, told) in [
        ("", Some("3:3: no failStrategy")),
        ("  failStrategy: FAIL_CLOSE\n", Some("4:17: failStrategy FAIL_CLOSE")),
        ("  failStrategy: FAIL_OPEN\n", Some("4:17: failStrategy FAIL_OPEN: requests pass unjudged")),
        ("  failStrategy: FAIL_RELOAD\n", None),
    ] {
        let warnings = super::tests::told(&checked(&istio(strategy)).warnings);
        assert_eq!(warnings.len(), usize::from(told.is_some()), "{warnings:#?}");
        assert!(told.is_none_or(|told| warnings[0].starts_with(told)), "{told:?} {warnings:#?}");
    }
    let gateway = |open: bool| {
        format!(
            "kind: EnvoyExtensionPolicy\nspec: {{wasm: [{{name: entra_gate, failOpen: {open}, config: {{providers: {{}}}}}}]}}"
        )
    };
    assert_eq!(checked(&gateway(true)).warnings.len(), 1);
    assert_eq!(checked(&gateway(false)).warnings.len(), 0);
}

#[test]
fn the_files_of_this_repository_have_no_mistakes() {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    for name in
        ["entra-gate.yaml", "compose/envoy.yaml", "istio/wasmplugin.yaml", "envoy-gateway/extension-policy.yaml"]
    {
        let report = checked(&std::fs::read_to_string(place.join(name)).unwrap());
        assert!(report.mistakes.is_empty() && !report.configurations.is_empty(), "{name}\n{}", report.told());
        if name != "compose/envoy.yaml" {
            assert!(report.warnings.is_empty(), "{name}\n{}", report.told());
        }
    }
}

#[test]
fn sources_of_the_revocation_service_are_checked_as_well() {
    let good = "sources:\n  dir: { kind: graph, tenant: 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b,\n    client_id: 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b, client_secret_env: S }\n";
    let input = |text: &str| Input { name: "sources.yaml".to_owned(), text: text.to_owned() };
    let told = report(&input(good));
    assert!(told.mistakes.is_empty(), "{}", told.told());
    assert_eq!(told.configurations[0].place, "the sources of the revocation service");
    assert_eq!(told.not_checked, ["the values of S"]);
    let told = report(&input(&good.replace("kind: graph", "kind: graph, tenants: 1"))).told();
    let line = "sources.yaml:2:23: mistake: sources.dir.tenants: found an unknown member, expected `tenant`, perhaps";
    assert!(told.contains(line), "{told}");
}
