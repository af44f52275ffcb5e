//! The configuration that comes out: values in the order of the reference, comments beside what they are about.

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
            let named = object([(provider.name.as_str(), Value::Mapping(provider.members.clone()))]);
            text.push_str(&indented(&yaml(&named), "  ", "  "));
        }
        if !self.about_rules.is_empty() || !self.rules.is_empty() {
            self.about_rules.iter().for_each(|line| comment(&mut text, "", line));
        }
        if !self.rules.is_empty() {
            text.push_str("rules:\n");
            for rule in &self.rules {
                rule.comments.iter().for_each(|line| comment(&mut text, "  ", line));
                text.push_str(&indented(&yaml(&Value::Mapping(rule.members.clone())), "  - ", "    "));
            }
        }
        if self.bypass_cors_preflight {
            text.push_str("bypass_cors_preflight: true\n");
        }
        for (name, section) in [("forward", &self.forward), ("responses", &self.responses)] {
            section.comments.iter().for_each(|line| comment(&mut text, "", line));
            if !section.members.is_empty() {
                text.push_str(&yaml(&object([(name, Value::Mapping(section.members.clone()))])));
            }
        }
        text
    }
}

fn yaml(value: &Value) -> String {
    // Values of strings, numbers, lists and objects alone: there is always YAML for them.
    serde_yaml_ng::to_string(value).unwrap_or_default()
}

fn indented(text: &str, first: &str, rest: &str) -> String {
    let lines = text.lines().enumerate();
    lines.map(|(number, line)| format!("{}{line}\n", if number == 0 { first } else { rest })).collect()
}

/// Whatever the text holds stays a comment.
fn comment(text: &mut String, indentation: &str, line: &str) {
    let plain: String = line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.push_str(&format!("{indentation}# {plain}\n"));
}
