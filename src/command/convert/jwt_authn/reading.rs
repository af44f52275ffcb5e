//! Members of Envoy's messages, strictly: what is not known is a fault.

use std::time::Duration;

use crate::convert::faults::{self, Faults};
use crate::convert::options::Options;
use crate::located::{Data, Node, Position, lower_camel};

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) at: Position,
}

/// Gathers what is wrong.
pub(super) struct Reader<'a> {
    pub(super) options: &'a Options,
    faults: Faults,
}

impl<'a> Reader<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, faults: Faults::default() }
    }

    pub(super) fn faults(self) -> Faults {
        self.faults
    }

    pub(super) fn fault<T>(&mut self, at: Position, message: impl Into<String>) -> Option<T> {
        self.faults.note(at, message)
    }

    /// An object with only these members, in either spelling of protobuf's JSON.
    pub(super) fn only_members(&mut self, node: &Node, what: &str, known: &[&str]) {
        if !matches!(node.data, Data::Map(_)) {
            self.fault::<()>(node.at, format!("{what}: found no object, expected one"));
        }
        for entry in node.entries() {
            if !known.iter().any(|known| entry.name == *known || entry.name == lower_camel(known)) {
                let message = format!(
                    "found the unknown member {} of {what}, {}",
                    entry.name,
                    faults::expected(&entry.name, known)
                );
                self.fault::<()>(entry.at, message);
            }
        }
    }

    pub(super) fn text(&mut self, node: &Node, name: &str) -> Option<Written> {
        let value = node.field(name)?;
        self.written(value, name)
    }

    pub(super) fn written(&mut self, value: &Node, name: &str) -> Option<Written> {
        match value.text() {
            Some(text) if !text.is_empty() => Some(Written { text: text.to_owned(), at: value.at }),
            _ => self.fault(value.at, format!("{name}: found {}, expected a text", value.json())),
        }
    }

    pub(super) fn texts(&mut self, node: &Node, name: &str) -> Vec<Written> {
        let Some(list) = node.field(name) else { return Vec::new() };
        if !matches!(list.data, Data::List(_)) {
            self.fault::<()>(list.at, format!("{name}: found {}, expected a list", list.json()));
        }
        list.items().iter().filter_map(|item| self.written(item, name)).collect()
    }

    /// A flag; absent is false, as in protobuf. A `BoolValue` is the same.
    pub(super) fn flag(&mut self, node: &Node, name: &str) -> bool {
        match node.field(name) {
            None => false,
            Some(value) => match value.flag() {
                Some(flag) => flag,
                None => self
                    .fault::<bool>(value.at, format!("{name}: found {}, expected true or false", value.json()))
                    .is_some(),
            },
        }
    }

    pub(super) fn number(&mut self, node: &Node, name: &str) -> Option<u64> {
        let value = node.field(name)?;
        match value.json().as_u64() {
            Some(number) => Some(number),
            None => self.fault(value.at, format!("{name}: found {}, expected a whole number", value.json())),
        }
    }

    /// `1.5s`, or seconds and nanos: as protobuf's JSON has it.
    pub(super) fn duration(&mut self, node: &Node, name: &str) -> Option<Duration> {
        let value = node.field(name)?;
        let of_text = |text: &str| Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok();
        let of_members = || {
            let part = |name: &str| value.get(name).map_or(Some(0), |part| part.json().as_u64());
            let nanos = u32::try_from(part("nanos")?).ok().filter(|nanos| *nanos < 1_000_000_000)?;
            Some(Duration::new(part("seconds")?, nanos))
        };
        let found = match value.text() {
            Some(text) => of_text(text),
            None if value.entries().is_empty() => None,
            None => of_members(),
        };
        match found {
            Some(duration) => Some(duration),
            None => self.fault(value.at, format!("{name}: found {}, expected a duration such as 5s", value.json())),
        }
    }
}

/// A duration as the configuration writes it.
pub(super) fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}
