use super::*;

const CONFIGURATION: &str = r#"{"providers": {"p": {}}}"#;

fn envoy(name: &str, configuration: &str) -> String {
    format!(
        r#"{{name: {name}, typed_config: {{"@type": type.googleapis.com/{WASM}, config: {{name: {name}, configuration: {configuration}}}}}}}"#
    )
}

fn structure(value: &str) -> String {
    format!(r#"{{"@type": type.googleapis.com/google.protobuf.Struct, value: {value}}}"#)
}

fn places(text: &str) -> Vec<String> {
    let found = find(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    found.plugins.iter().map(|plugin| plugin.place.clone()).collect()
}

#[test]
fn configurations_are_found_wherever_they_may_be() {
    let ours = envoy("entra_gate", &structure(CONFIGURATION));
    let text = format!(r#"{{"@type": type.googleapis.com/google.protobuf.StringValue, value: '{CONFIGURATION}'}}"#);
    let camel = format!(
        r#"{{"typedConfig": {{"@type": "type.googleapis.com/{WASM}", "config": {{"rootId": "entra_gate", "configuration": {}}}}}}}"#,
        structure(CONFIGURATION)
    );
    let typed = format!(
        r#"{{typed_config: {{"@type": type.googleapis.com/udpa.type.v1.TypedStruct, type_url: type.googleapis.com/{WASM}, value: {{config: {{name: entra_gate, configuration: {}}}}}}}}}"#,
        structure(CONFIGURATION)
    );
    for (text, place) in [
        (CONFIGURATION.to_owned(), "the configuration"),
        ("registration: {}".to_owned(), "the configuration"),
        ("provider: {}".to_owned(), "the configuration"),
        (format!("static_resources: {{listeners: [{{filters: [{ours}]}}]}}"), "Envoy's filter entra_gate"),
        (format!("resources: [{ours}]"), "Envoy's filter entra_gate"),
        (envoy("entra_gate", &text), "Envoy's filter entra_gate"),
        (camel, "Envoy's filter entra_gate"),
        (format!("kind: EnvoyFilter\nspec: {{patch: {typed}}}"), "Envoy's filter entra_gate"),
        (
            format!("kind: WasmPlugin\nspec: {{pluginName: entra_gate, pluginConfig: {CONFIGURATION}}}"),
            "Istio's filter entra_gate",
        ),
        (
            format!("kind: EnvoyExtensionPolicy\nspec: {{wasm: [{{name: entra_gate, config: {CONFIGURATION}}}]}}"),
            "Envoy Gateway's filter entra_gate",
        ),
        (
            format!(
                "kind: List\nitems: [{{kind: WasmPlugin, spec: {{pluginName: x, pluginConfig: {CONFIGURATION}}}}}]"
            ),
            "Istio's filter x",
        ),
    ] {
        assert_eq!(places(&text), [place], "{text}");
    }
}

#[test]
fn several_documents_and_several_filters_are_all_looked_at() {
    let (one, two) = (envoy("one", &structure(CONFIGURATION)), envoy("entra-gate", &structure("{}")));
    let other = envoy("cors", &structure("{allow: all}"));
    let found = find(&format!("resources: [{one}, {other}]\n---\nresources: [{two}]")).ok().unwrap();
    let places: Vec<&str> = found.plugins.iter().map(|plugin| plugin.place.as_str()).collect();
    assert_eq!(places, ["Envoy's filter one", "Envoy's filter entra-gate"]);
    assert_eq!(found.others.iter().map(|(_, place)| place.as_str()).collect::<Vec<_>>(), ["Envoy's filter cors"]);
}

#[test]
fn files_without_a_configuration_say_so() {
    let other = |name: &str| envoy(name, &structure("{a: b}"));
    for (text, told) in [
        ("".to_owned(), "no configuration"),
        ("[]".to_owned(), "no configuration"),
        ("just a text".to_owned(), "no configuration"),
        ("static_resources: {}".to_owned(), "no configuration"),
        ("kind: Service".to_owned(), "no configuration"),
        (format!("resources: [{}, {}]", other("a"), other("b")), "none of the Wasm filters"),
        ("kind: WasmPlugin\nspec: {pluginName: entra_gate}".to_owned(), "has no configuration"),
        (envoy("entra_gate", "{\"@type\": type.googleapis.com/x.Y, value: 1}"), "neither"),
        (envoy("entra_gate", "{\"@type\": google.protobuf.StringValue, value: '{\"a\": '}"), "YAML"),
    ] {
        let fault = find(&text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(fault.message.contains(told), "{text}: {fault:?}");
    }
}

fn transports(text: &str) -> (Vec<(String, Transport)>, bool) {
    let clusters = Clusters::of(&read(text).unwrap());
    (clusters.known.into_iter().map(|cluster| (cluster.name, cluster.transport)).collect(), clusters.complete)
}

#[test]
fn clusters_are_known_with_what_carries_them() {
    let tls = |context: &str| {
        format!(
            "{{name: c, transport_socket: {{name: tls, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, {context}}}}}}}"
        )
    };
    for (cluster, transport) in [
        ("{name: c}".to_owned(), Transport::Plain),
        (tls("sni: x"), Transport::TlsUnverified),
        (tls("common_tls_context: {validation_context: {}}"), Transport::TlsUnverified),
        (tls("common_tls_context: {validation_context: {trusted_ca: {filename: x}}}"), Transport::Tls),
        (tls("commonTlsContext: {validationContext: {systemRootCerts: {}}}"), Transport::Tls),
        (tls("common_tls_context: {validation_context_sds_secret_config: {name: x}}"), Transport::Tls),
        ("{name: c, transport_socket: {name: x}}".to_owned(), Transport::Unknown),
        ("{name: c, transport_socket_matches: []}".to_owned(), Transport::Unknown),
        (
            "{name: c, transport_socket: {typed_config: {\"@type\": x/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}"
                .to_owned(),
            Transport::Plain,
        ),
    ] {
        let (clusters, complete) = transports(&format!("static_resources: {{clusters: [{cluster}]}}"));
        assert_eq!(clusters, [("c".to_owned(), transport)], "{cluster}");
        assert!(complete);
    }
    let (_, complete) = transports("static_resources: {clusters: [{name: c}]}\ndynamic_resources: {cds_config: {}}");
    assert!(!complete);
    let (clusters, complete) = transports("resources: [{\"@type\": x/envoy.config.cluster.v3.Cluster, name: c}]");
    assert_eq!((clusters.len(), complete), (1, false));
    let gateway =
        "kind: EnvoyProxy\nspec:\n  bootstrap:\n    value: |\n      static_resources:\n        clusters: [{name: c}]\n";
    let (clusters, complete) = transports(gateway);
    assert_eq!((clusters, complete), (vec![("c".to_owned(), Transport::Plain)], false));
}

#[test]
fn istio_takes_tls_from_the_destination_rule() {
    let entry = "kind: ServiceEntry\nspec: {hosts: [h], ports: [{number: 443}]}\n";
    for (rule, transport) in [
        ("", Transport::Unknown),
        ("---\nkind: DestinationRule\nspec: {host: h, trafficPolicy: {tls: {mode: SIMPLE}}}", Transport::Tls),
        ("---\nkind: DestinationRule\nspec: {host: h, trafficPolicy: {tls: {mode: DISABLE}}}", Transport::Plain),
        (
            "---\nkind: DestinationRule\nspec: {host: h, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}",
            Transport::TlsUnverified,
        ),
        ("---\nkind: DestinationRule\nspec: {host: other, trafficPolicy: {tls: {mode: SIMPLE}}}", Transport::Unknown),
    ] {
        let (clusters, complete) = transports(&format!("{entry}{rule}"));
        assert_eq!((clusters, complete), (vec![("outbound|443||h".to_owned(), transport)], false), "{rule}");
    }
}
