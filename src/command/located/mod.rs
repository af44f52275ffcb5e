//! YAML, and JSON as a part of it, of which every value knows where it stands in the file.
//!
//! Plain scalars are what Envoy makes of them: `yes` and `on` are flags there, as in YAML 1.1.

mod reading;

use std::fmt;

use entra_gate::config::path;
use serde::Serialize;
use serde_json::{Number, Value};

pub(crate) use self::reading::read;

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// Why a file cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Position,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

/// What a value is.
#[derive(Clone)]
pub(crate) enum Data {
    Flag(bool),
    List(Vec<Node>),
    Map(Vec<Entry>),
    Null,
    Number(Number),
    Text(Text),
}

/// A member of a map.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// A text, and where its characters stand.
#[derive(Clone)]
pub(crate) struct Text {
    pub(crate) text: String,
    first: Option<Position>,
}

impl Node {
    /// A text that stands in no file.
    pub(crate) fn of_text(text: &str, at: Position) -> Self {
        Self { at, data: Data::Text(Text { text: text.to_owned(), first: None }) }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            Data::Flag(_) | Data::List(_) | Data::Null | Data::Number(_) | Data::Text(_) => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Flag(_) | Data::Map(_) | Data::Null | Data::Number(_) | Data::Text(_) => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(&text.text),
            Data::Flag(_) | Data::List(_) | Data::Map(_) | Data::Null | Data::Number(_) => None,
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match &self.data {
            Data::Flag(flag) => Some(*flag),
            Data::List(_) | Data::Map(_) | Data::Null | Data::Number(_) | Data::Text(_) => None,
        }
    }

    /// A member by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// A member by the name that it has in a protobuf, which JSON may write `likeThis` as well.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.get(name).or_else(|| self.get(&lower_camel(name)))
    }

    /// A member far below.
    pub(crate) fn below(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.field(name))
    }

    /// A member with its name's place.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The documents in a text, which stand where the text stands.
    pub(crate) fn embedded(&self) -> Result<Vec<Self>, Fault> {
        let Data::Text(text) = &self.data else {
            return Ok(vec![self.clone()]);
        };
        let place = |within: Position| match text.first {
            Some(first) => {
                let line = first.line.saturating_add(within.line).saturating_sub(1);
                Position { line, column: first.column.saturating_add(within.column).saturating_sub(1) }
            }
            None => self.at,
        };
        match read(&text.text) {
            Ok(documents) => Ok(documents.into_iter().map(|document| document.moved(&place)).collect()),
            Err(fault) => Err(Fault { at: place(fault.at), ..fault }),
        }
    }

    fn moved(self, place: &impl Fn(Position) -> Position) -> Self {
        let data = match self.data {
            Data::List(items) => Data::List(items.into_iter().map(|item| item.moved(place)).collect()),
            Data::Map(entries) => {
                let moved = |entry: Entry| Entry { at: place(entry.at), value: entry.value.moved(place), ..entry };
                Data::Map(entries.into_iter().map(moved).collect())
            }
            Data::Text(text) => Data::Text(Text { first: text.first.map(place), ..text }),
            Data::Flag(_) | Data::Null | Data::Number(_) => self.data,
        };
        Self { at: place(self.at), data }
    }

    /// The value without its places.
    pub(crate) fn json(&self) -> Value {
        match &self.data {
            Data::Flag(flag) => Value::Bool(*flag),
            Data::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.name.clone(), entry.value.json())).collect())
            }
            Data::Null => Value::Null,
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.text.clone()),
        }
    }

    /// Where what a [path](path) names stands: a member's name, an element; for what is missing, what it is missing in.
    pub(crate) fn position(&self, wanted: &str) -> Position {
        let mut best = (0, self.at);
        self.visit("", self.at, &mut |path, at| {
            let rest = wanted.strip_prefix(path);
            if path.len() >= best.0 && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])) {
                best = (path.len(), at);
            }
        });
        best.1
    }

    fn visit(&self, path: &str, at: Position, see: &mut impl FnMut(&str, Position)) {
        if !path.is_empty() {
            see(path, at);
        }
        for entry in self.entries() {
            entry.value.visit(&path::member(path, &entry.name), entry.at, see);
        }
        for (at, item) in self.items().iter().enumerate() {
            item.visit(&path::element(path, at), item.at, see);
        }
    }
}

/// `vm_config` as `vmConfig`.
pub(crate) fn lower_camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let mut characters = word.chars();
        let initial = characters.next().map(|initial| initial.to_ascii_uppercase());
        all + &initial.into_iter().collect::<String>() + characters.as_str()
    })
}

#[cfg(test)]
mod tests;
