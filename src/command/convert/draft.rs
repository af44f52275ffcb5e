//! The configuration that comes out: values in the order of the reference, comments beside what they are about.

use std::io::{self, Write};

use serde::Serialize as _;
use serde_json::ser::Formatter;
use serde_yaml_ng::{Mapping, Value};

/// A configuration with comments.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// On the policy as a whole.
    pub(super) comments: Vec<String>,
    pub(super) providers: Vec<Section>,
    pub(super) rules: Vec<Section>,
    /// On the rules as a whole.
    pub(super) about_rules: Vec<String>,
    pub(super) forward: Section,
    pub(super) responses: Section,
    pub(super) bypass_cors_preflight: bool,
}

/// Some members and what there is to say about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Section {
    /// A provider's name.
    pub(super) name: String,
    pub(super) comments: Vec<String>,
    pub(super) members: Mapping,
}

impl Section {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.into(), value.into());
    }

    /// Sets a list, unless it is empty.
    pub(super) fn set_list<T: Into<Value>>(&mut self, name: &str, values: Vec<T>) {
        if !values.is_empty() {
            self.set(name, list(values));
        }
    }

    /// Says something once.
    pub(super) fn comment(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.comments.contains(&text) {
            self.comments.push(text);
        }
    }
}

pub(super) fn list<T: Into<Value>>(values: Vec<T>) -> Value {
    Value::Sequence(values.into_iter().map(Into::into).collect())
}

/// An object of these members.
pub(super) fn object<const COUNT: usize>(members: [(&str, Value); COUNT]) -> Value {
    Value::Mapping(members.into_iter().map(|(name, value)| (Value::from(name), value)).collect())
}

impl Draft {
    /// A name for one more provider.
    pub(super) fn name_like(&self, wanted: &str) -> String {
        let is_free = |name: &String| self.providers.iter().all(|provider| provider.name != *name);
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// The configuration as YAML.
    pub(super) fn text(&self, source: &str) -> String {
        let mut text = String::new();
        let head = format!("Converted from {source}. What differs, or has no equal, is named beside it.");
        comment(&mut text, "", &head);
        self.comments.iter().for_each(|line| comment(&mut text, "", line));
        text.push_str("providers:\n");
        for provider in &self.providers {
            provider.comments.iter().for_each(|line| comment(&mut text, "  ", line));
            text.push_str(&format!("  {}:\n", name(&provider.name)));
            members(&mut text, ["    ", "    "], &provider.members);
        }
        self.about_rules.iter().for_each(|line| comment(&mut text, "", line));
        if !self.rules.is_empty() {
            text.push_str("rules:\n");
            for rule in &self.rules {
                rule.comments.iter().for_each(|line| comment(&mut text, "  ", line));
                members(&mut text, ["  - ", "    "], &rule.members);
            }
        }
        if self.bypass_cors_preflight {
            text.push_str("bypass_cors_preflight: true\n");
        }
        for (name, section) in [("forward", &self.forward), ("responses", &self.responses)] {
            section.comments.iter().for_each(|line| comment(&mut text, "", line));
            if !section.members.is_empty() {
                text.push_str(&format!("{name}:\n"));
                members(&mut text, ["  ", "  "], &section.members);
            }
        }
        text
    }
}

/// A line for each member. Their names are the reference's own; their values are JSON, which every reader of YAML takes
/// for the same: Envoy's takes a bare `yes` for a flag.
fn members(text: &mut String, [first, rest]: [&str; 2], members: &Mapping) {
    for (at, (name, value)) in members.iter().enumerate() {
        let indentation = if at == 0 { first } else { rest };
        text.push_str(&format!("{indentation}{}: {}\n", name.as_str().unwrap_or_default(), json(value)));
    }
}

/// A provider's name, in quotation marks where it is not plainly a text.
fn name(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    let is_text = name.starts_with(|first: char| first.is_ascii_lowercase())
        && !["false", "n", "no", "null", "off", "on", "true", "y", "yes"].contains(&name);
    if plain && is_text { name.to_owned() } else { json(&Value::from(name)) }
}

/// JSON on one line, with spaces between its parts.
fn json(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Of strings, numbers, lists and objects alone: there is always JSON for them.
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced));
    written.ok().and_then(|()| String::from_utf8(bytes).ok()).unwrap_or_default()
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b" " } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" }")
    }
}

/// Whatever the text holds stays a comment.
fn comment(text: &mut String, indentation: &str, line: &str) {
    let plain: String = line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.push_str(&format!("{indentation}# {plain}\n"));
}
