//! Elements and attributes, strictly: what is not known is a fault, and so is what only the gateway could evaluate.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, TextPos};

use crate::convert::faults::{self, Faults};
use crate::convert::{Given, options};
use crate::located::Position;

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) at: Position,
}

/// The attributes of an element.
pub(super) struct Attributes {
    found: BTreeMap<String, Written>,
}

/// Reads a document and gathers what is wrong with it.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    pub(super) given: &'a Given<'a>,
    faults: Faults,
}

pub(super) fn position(at: TextPos) -> Position {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Position { line: number(at.row), column: number(at.col) }
}

impl Attributes {
    pub(super) fn get(&self, name: &str) -> Option<&Written> {
        self.found.get(name)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document<'a>, given: &'a Given<'a>) -> Self {
        Self { document, given, faults: Faults::default() }
    }

    pub(super) fn faults(self) -> Faults {
        self.faults
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.0.is_empty()
    }

    pub(super) fn root(&self) -> Node<'a, 'a> {
        self.document.root_element()
    }

    pub(super) fn at(&self, node: Node<'_, '_>) -> Position {
        position(self.document.text_pos_at(node.range().start))
    }

    pub(super) fn fault<T>(&mut self, node: Node<'_, '_>, message: impl Into<String>) -> Option<T> {
        let at = self.at(node);
        self.fault_at(at, message)
    }

    pub(super) fn fault_at<T>(&mut self, at: Position, message: impl Into<String>) -> Option<T> {
        self.faults.note(at, message)
    }

    /// The attributes of an element, of which only these exist.
    pub(super) fn attributes(&mut self, node: Node<'_, '_>, known: &[&str]) -> Attributes {
        let mut found = BTreeMap::new();
        for attribute in node.attributes() {
            let at = position(self.document.text_pos_at(attribute.range().start));
            let name = attribute.name();
            if attribute.namespace().is_some() || !known.contains(&name) {
                let expected =
                    if known.is_empty() { "expected no attributes".to_owned() } else { faults::expected(name, known) };
                self.fault_at::<()>(
                    at,
                    format!("found the unknown attribute {name} of <{}>, {expected}", node.tag_name().name()),
                );
            } else if let Some(text) = self.literal(attribute.value(), at) {
                found.insert(name.to_owned(), Written { text, at });
            }
        }
        Attributes { found }
    }

    /// The elements within one, of which only these exist.
    pub(super) fn children(&mut self, node: Node<'a, 'a>, known: &[&str]) -> Vec<Node<'a, 'a>> {
        let mut children = Vec::new();
        for child in node.children() {
            if child.is_element() {
                let name = child.tag_name().name();
                if child.tag_name().namespace().is_none() && known.contains(&name) {
                    children.push(child);
                } else {
                    let message = format!(
                        "found the unknown element <{name}> in <{}>, {}",
                        node.tag_name().name(),
                        faults::expected(name, known)
                    );
                    self.fault::<()>(child, message);
                }
            } else if child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty()) {
                self.fault::<()>(child, format!("found text in <{}>, expected elements", node.tag_name().name()));
            }
        }
        children
    }

    /// The element of this name, of which there may be one.
    pub(super) fn only(&mut self, children: &[Node<'a, 'a>], name: &str) -> Option<Node<'a, 'a>> {
        let mut named = children.iter().filter(|child| child.tag_name().name() == name);
        let first = named.next().copied();
        if let Some(second) = named.next() {
            self.fault::<()>(*second, format!("a second <{name}>, expected one"));
        }
        first
    }

    /// The text of an element without others in it, as it is written.
    pub(super) fn raw_text(&mut self, node: Node<'a, 'a>) -> Option<Written> {
        if let Some(child) = node.children().find(Node::is_element) {
            return self.fault(child, format!("found an element in <{}>, expected text", node.tag_name().name()));
        }
        let texts: Vec<Node<'_, '_>> = node.children().filter(Node::is_text).collect();
        let whole: String = texts.iter().filter_map(Node::text).collect();
        let at = texts.first().map_or_else(|| self.at(node), |first| self.place_of_text(*first));
        match whole.trim() {
            "" => self.fault(node, format!("<{}> is empty, expected text", node.tag_name().name())),
            text => Some(Written { text: text.to_owned(), at }),
        }
    }

    /// The text of an element, with nothing left in it to evaluate.
    pub(super) fn text(&mut self, node: Node<'a, 'a>) -> Option<Written> {
        let Written { text, at } = self.raw_text(node)?;
        Some(Written { text: self.literal(&text, at)?, at })
    }

    /// The texts of the elements of one name within an element that must not be empty.
    pub(super) fn texts(&mut self, list: Node<'a, 'a>, name: &str) -> Vec<Written> {
        self.attributes(list, &[]);
        let children = self.children(list, &[name]);
        if children.is_empty() {
            self.fault::<()>(list, format!("<{}> is empty, expected <{name}>", list.tag_name().name()));
        }
        let mut texts = Vec::new();
        for child in children {
            self.attributes(child, &[]);
            texts.extend(self.text(child));
        }
        texts
    }

    fn place_of_text(&self, node: Node<'_, '_>) -> Position {
        let blank = node.text().map_or(0, |text| text.len().saturating_sub(text.trim_start().len()));
        position(self.document.text_pos_at(node.range().start.saturating_add(blank)))
    }

    /// A text without named values and expressions.
    fn literal(&mut self, text: &str, at: Position) -> Option<String> {
        let values = self.given.values;
        if let Some(value) = values.of(text.trim()) {
            return Some(value.to_owned());
        }
        let text = values.in_place(text);
        if let Some(name) = named_value(&text) {
            let message = format!(
                "the named value {{{{{name}}}}}: its value is not in this file, give it with --value '{{{{{name}}}}}=…'"
            );
            return self.fault_at(at, message);
        }
        if is_expression(&text) {
            let message = format!(
                "the policy expression {}: there are none here. Give what it stands for with --value '@(…)=…', or write it into the policy",
                shown(&text)
            );
            return self.fault_at(at, message);
        }
        if text.trim().is_empty() {
            return self.fault_at(at, "nothing, expected a value");
        }
        Some(text)
    }
}

/// The name of the first named value in a text.
pub(super) fn named_value(text: &str) -> Option<&str> {
    text.split_once("{{")?.1.split("}}").next()
}

pub(super) fn is_expression(text: &str) -> bool {
    text.contains("@(") || text.contains("@{")
}

/// The name of the environment variable that stands for a named value or a certificate.
pub(super) fn variable(name: &str) -> String {
    let plain: String = name
        .trim()
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    if plain.starts_with(|first: char| first.is_ascii_digit()) || plain.is_empty() {
        format!("KEY_{plain}")
    } else {
        plain
    }
}

fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= LONGEST {
        one_line
    } else {
        one_line.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

impl Reader<'_> {
    /// The certificate behind an identifier.
    pub(super) fn certificate(&mut self, id: &Written) -> Option<String> {
        let certificates: &options::Certificates = self.given.certificates;
        match certificates.of(&id.text) {
            Some(certificate) => Some(certificate.to_owned()),
            None => {
                let id = id.clone();
                self.fault_at(
                    id.at,
                    format!("the certificate {0} is not in this file: give it with --certificate {0}=FILE", id.text),
                )
            }
        }
    }
}
