use serde_json::json;

use super::*;

fn one(text: &str) -> Node {
    let mut all = read(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

#[test]
fn scalars_are_what_envoy_makes_of_them() {
    for (text, value) in [
        ("a: 1", json!(1)),
        ("a: -1", json!(-1)),
        ("a: 0x10", json!(16)),
        ("a: 1.5", json!(1.5)),
        ("a: 18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("a: true", json!(true)),
        ("a: yes", json!(true)),
        ("a: Off", json!(false)),
        ("a: 'yes'", json!("yes")),
        ("a: \"1\"", json!("1")),
        ("a: !!str 1", json!("1")),
        ("a:", json!(null)),
        ("a: ~", json!(null)),
        ("a: ''", json!("")),
        ("a: 1.2.3", json!("1.2.3")),
        ("a: 60s", json!("60s")),
        ("a: 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b", json!("8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b")),
        ("a: [x, {b: c}]", json!(["x", {"b": "c"}])),
        ("{\"a\": \"\\u00e9\\n\\/\"}", json!("é\n/")),
        ("\u{feff}a: b", json!("b")),
        ("x: &x [1]\na: *x", json!([1])),
    ] {
        assert_eq!(one(text).json()["a"], value, "{text}");
    }
}

#[test]
fn every_value_knows_its_place() {
    let text = "providers:\n  workforce:\n    tenants: [a, b]\n    \"x.y\": 1\nrules:\n  - match: {path: /}\n";
    let node = one(text);
    for (path, line, column) in [
        ("", 1, 1),
        ("providers", 1, 1),
        ("providers.workforce", 2, 3),
        ("providers.workforce.tenants", 3, 5),
        ("providers.workforce.tenants[1]", 3, 18),
        ("providers.workforce[\"x.y\"]", 4, 5),
        ("rules[0]", 6, 5),
        ("rules[0].match.path", 6, 13),
        // What is missing stands where it is missing.
        ("providers.workforce.audiences", 2, 3),
        ("providers.work", 1, 1),
        ("forward", 1, 1),
    ] {
        assert_eq!(node.position(path), Position { line, column }, "{path}");
    }
}

#[test]
fn texts_that_hold_documents_keep_their_place() {
    for (text, line, column) in [
        ("value: |\n  {\n    \"a\": 1\n  }\n", 3, 5),
        ("value: |-\n    {\"x\": 2,\n      \"a\": 1}\n", 3, 7),
        ("value: '{\"a\": 1}'", 1, 10),
        ("  value: '{\"a\": 1}'", 1, 12),
        ("{\"value\": \"{a: 1}\"}", 1, 13),
        // Escapes: the text as a whole.
        ("value: \"{\\\"a\\\": 1}\"", 1, 8),
        ("value: >\n  {\"a\":\n  1}\n", 2, 3),
    ] {
        let node = one(text);
        let embedded = node.get("value").unwrap().embedded().unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!(embedded[0].position("a"), Position { line, column }, "{text}");
    }
}

#[test]
fn what_is_no_document_is_told_with_its_place() {
    for (text, line, column, told) in [
        ("a: 1\na: 2", 2, 1, "appears twice"),
        ("a: [1", 2, 1, "YAML"),
        ("a: b: c", 1, 1, "YAML"),
        ("? [a]\n: 1", 1, 3, "no text"),
        ("{\"a\": 1,, }", 1, 1, "YAML"),
    ] {
        let fault = read(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(
            fault.message.contains(told) && fault.at.line == line && fault.at.column >= column,
            "{text}: {fault:?}"
        );
    }
}

#[test]
fn no_file_is_too_much() {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(read(&deep).is_err());
    let mut laughs = "a0: &a0 [x]\n".to_owned();
    for at in 1..40 {
        laughs += &format!("a{at}: &a{at} [*a{before}, *a{before}, *a{before}]\n", before = at - 1);
    }
    assert!(read(&laughs).err().unwrap().message.contains("too many"));
}

#[test]
fn documents_come_apart_and_empty_ones_are_none() {
    assert_eq!(read("---\na: 1\n---\n---\nb: 2\n").unwrap().len(), 2);
    assert_eq!(read("# nothing\n").unwrap().len(), 0);
}
