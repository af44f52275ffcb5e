//! A value of the configuration that knows its path, and the mistakes found so far.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::path;
use crate::entra::guid::Guid;

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `providers.workforce.tenants[0]`; empty for the whole document.
    pub path: String,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

impl Mistake {
    /// A mistake at a path.
    #[must_use]
    pub fn new(path: &str, found: &str, expected: &str) -> Self {
        Self { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the document" } else { &self.path };
        write!(formatter, "{path}: found {}, expected {}", self.found, self.expected)
    }
}

/// A value and where it is.
#[derive(Clone)]
pub struct Node<'a> {
    path: String,
    value: &'a Value,
    mistakes: &'a RefCell<Vec<Mistake>>,
}

/// The members of an object.
pub struct Members<'a> {
    node: Node<'a>,
    members: &'a Map<String, Value>,
}

impl<'a> Node<'a> {
    /// The whole document.
    #[must_use]
    pub fn root(value: &'a Value, mistakes: &'a RefCell<Vec<Mistake>>) -> Self {
        Self { path: String::new(), value, mistakes }
    }

    /// Notes a mistake here. Always none, so that a reader can end with it.
    pub fn mistake<T>(&self, expected: &str) -> Option<T> {
        self.mistake_of(&describe(self.value), expected)
    }

    /// Notes a mistake here that is not the value itself.
    pub fn mistake_of<T>(&self, found: &str, expected: &str) -> Option<T> {
        self.mistakes.borrow_mut().push(Mistake::new(&self.path, found, expected));
        None
    }

    /// An object with only these members.
    pub fn object(&self, known: &[&str]) -> Option<Members<'a>> {
        let Value::Object(members) = self.value else {
            return self.mistake("an object");
        };
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let child = Node { path: self.child(name), ..self.clone() };
            let nearest = known
                .iter()
                .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
                .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(2))
                .min();
            let expected = match nearest {
                Some((_, nearest)) => format!("`{nearest}`, perhaps"),
                None => format!("one of {}", known.join(", ")),
            };
            child.mistake_of::<()>("an unknown member", &expected);
        }
        Some(Members { node: self.clone(), members })
    }

    /// An object that may have other members as well, such as a JWK.
    pub fn open_object(&self) -> Option<Members<'a>> {
        match self.value {
            Value::Object(members) => Some(Members { node: self.clone(), members }),
            _ => self.mistake("an object"),
        }
    }

    /// An object with any member names: each with its node.
    pub fn entries(&self) -> Option<Vec<(&'a str, Node<'a>)>> {
        let Value::Object(members) = self.value else {
            return self.mistake("an object");
        };
        if members.is_empty() {
            return self.mistake("at least one member");
        }
        let node = |name: &str, value| Node { path: self.child(name), value, mistakes: self.mistakes };
        Some(members.iter().map(|(name, value)| (name.as_str(), node(name, value))).collect())
    }

    /// A list that is not empty. Empty would mean «nothing», and is often thought to mean «anything».
    pub fn list<T>(&self, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        // Every element is read, so that all mistakes are told.
        let (mut all, mut good) = (Vec::new(), true);
        for element in self.elements()? {
            match read(&element) {
                Some(value) => all.push(value),
                None => good = false,
            }
        }
        good.then_some(all)
    }

    fn elements(&self) -> Option<Vec<Node<'a>>> {
        let Value::Array(elements) = self.value else {
            return self.mistake("a list");
        };
        if elements.is_empty() {
            return self.mistake("a list with at least one element (leave the member out for the default)");
        }
        let node = |(at, value)| Node { path: path::element(&self.path, at), value, mistakes: self.mistakes };
        Some(elements.iter().enumerate().map(node).collect())
    }

    /// The place of an element of this list.
    pub fn element(&self, at: usize) -> Self {
        Node { path: path::element(&self.path, at), ..self.clone() }
    }

    /// A text that is not empty.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => self.mistake("a text"),
        }
    }

    /// Whether it is this word.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.value == word
    }

    /// True or false.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            _ => self.mistake("true or false"),
        }
    }

    /// A whole number; those of a Struct are doubles, so `5.0` is 5.
    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let whole = |number: f64| {
            let text = format!("{number:.0}");
            (number.fract() == 0.0).then(|| text.parse().ok()).flatten()
        };
        let number = self.value.as_u64().or_else(|| whole(self.value.as_f64()?));
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.mistake(&format!("a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A duration such as `300ms`, `60s`, `1h`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let written = |duration: &Duration| humantime::format_duration(*duration).to_string().replace(' ', "");
        let duration = self.value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        match duration.filter(|duration| range.contains(duration)) {
            Some(duration) => Some(duration),
            None => self.mistake(&format!(
                "a duration from {} to {}, written as 300ms, 60s or 1h",
                written(range.start()),
                written(range.end())
            )),
        }
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(word, _)| self.is(word));
        match found {
            Some((_, choice)) => Some(*choice),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.mistake(&format!("one of {}", words.join(", ")))
            }
        }
    }

    /// A GUID.
    #[must_use]
    pub fn guid(&self) -> Option<Guid> {
        match self.value.as_str().and_then(Guid::parse) {
            Some(guid) => Some(guid),
            None => self.mistake("a GUID such as 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b"),
        }
    }

    /// The value itself.
    #[must_use]
    pub fn json(&self) -> &'a Value {
        self.value
    }

    fn child(&self, name: &str) -> String {
        path::member(&self.path, name)
    }
}

impl<'a> Members<'a> {
    /// A member, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.members.get(name)?;
        Some(Node { path: self.node.child(name), value, mistakes: self.node.mistakes })
    }

    /// A member that must be there.
    #[must_use]
    pub fn required(&self, name: &str) -> Option<Node<'a>> {
        match self.get(name) {
            Some(node) => Some(node),
            None => self.at(name).mistake_of("nothing", "this member"),
        }
    }

    /// A member that may be absent: none if it is there and wrong.
    pub fn optional<T>(&self, name: &str, read: impl Fn(&Node<'a>) -> Option<T>) -> Option<Option<T>> {
        match self.get(name) {
            Some(node) => read(&node).map(Some),
            None => Some(None),
        }
    }

    /// A member that must not be there in this company.
    pub fn forbidden(&self, name: &str, why: &str) {
        if let Some(node) = self.get(name) {
            node.mistake_of::<()>("this member", &format!("no `{name}`: {why}"));
        }
    }

    /// The place of a member, whether it is there or not.
    pub fn at(&self, name: &str) -> Node<'a> {
        Node { path: self.node.child(name), ..self.node.clone() }
    }

    /// The object that these are members of.
    #[must_use]
    pub fn node(&self) -> &Node<'a> {
        &self.node
    }
}

fn describe(value: &Value) -> String {
    const LONGEST: usize = 80;
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Array(elements) if elements.is_empty() => return "an empty list".to_owned(),
        Value::Object(members) if members.is_empty() => return "an empty object".to_owned(),
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    };
    if kind.chars().count() <= LONGEST { kind } else { kind.chars().take(LONGEST).chain("...".chars()).collect() }
}
