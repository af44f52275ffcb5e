//! From the parser's events to values.

use std::collections::HashMap;
use std::iter::Peekable;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Number;

use super::{Data, Entry, Fault, Node, Position, Text};

/// Deepest nesting: Envoy's files need some thirty levels.
const DEEPEST: usize = 200;
/// Most values, aliases written out: a file of a few kilobytes can name billions.
const MOST_NODES: usize = 2_000_000;

/// The documents of a file. Empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parser = std::iter::from_fn({
        let mut parser = Parser::new_from_str(text);
        move || parser.next_event()
    });
    let lines: Vec<&str> = text.lines().collect();
    let mut reader = Reader { events: parser.peekable(), lines, anchors: HashMap::new(), nodes: 0 };
    reader.documents()
}

struct Reader<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> {
    events: Peekable<I>,
    lines: Vec<&'a str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Reader<'a, I> {
    fn documents(&mut self) -> Result<Vec<Node>, Fault> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::StreamEnd
                | Event::Nothing => {}
                event @ (Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd) => {
                    let document = self.node(event, span, 0)?;
                    if !matches!(document.data, Data::Null) {
                        documents.push(document);
                    }
                }
            }
        }
        Ok(documents)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Fault> {
        match self.events.next() {
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                Err(Fault::new(position(error.marker()), format!("neither YAML nor JSON: {}", error.info())))
            }
            None => Ok(None),
        }
    }

    /// The event, or the fault that there is none: a parser never ends within a value.
    fn within(&mut self, at: Position) -> Result<(Event<'a>, Span), Fault> {
        self.next()?.ok_or_else(|| Fault::new(at, "a value that does not end"))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        let at = position(&span.start);
        self.count(1, at)?;
        if depth > DEEPEST {
            return Err(Fault::new(at, format!("values more than {DEEPEST} levels deep")));
        }
        let (anchor, data) = match event {
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let node = known.ok_or_else(|| Fault::new(at, "an alias of what is not complete"))?;
                self.count(size(&node), at)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), &span)),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.within(at)? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth.saturating_add(1))?),
                    }
                }
                (anchor, Data::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, Data::Map(self.entries(at, depth)?)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(Fault::new(at, "no value")),
        };
        let node = Node { at, data };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, map: Position, depth: usize) -> Result<Vec<Entry>, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.within(map)?;
            let at = position(&span.start);
            let name = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(Fault::new(at, "a member name that is no text")),
            };
            if entries.iter().any(|entry| entry.name == name) {
                return Err(Fault::new(at, format!("the member name {name:?} appears twice")));
            }
            let (event, span) = self.within(at)?;
            let mut value = self.node(event, span, depth.saturating_add(1))?;
            // Nothing was written: it stands where its name stands.
            if matches!(value.data, Data::Null) {
                value.at = at;
            }
            entries.push(Entry { name, at, value });
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES { Err(Fault::new(at, "too many values")) } else { Ok(()) }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Data {
        if style == ScalarStyle::Plain && tag.is_none() {
            if let Some(data) = plain(text) {
                return data;
            }
        }
        Data::Text(Text { text: text.to_owned(), first: self.first(text, style, span) })
    }

    /// Where the first character of a text stands, if the others follow as they do in the file.
    fn first(&self, text: &str, style: ScalarStyle, span: &Span) -> Option<Position> {
        let at = position(&span.start);
        let line = |number: usize| number.checked_sub(1).and_then(|index| self.lines.get(index)).copied();
        match style {
            ScalarStyle::Plain => (span.start.line() == span.end.line()).then_some(at),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                let first = Position { column: at.column.saturating_add(1), ..at };
                let rest: String = line(at.line)?.chars().skip(at.column).collect();
                // Without escapes, on one line.
                rest.starts_with(text).then_some(first)
            }
            ScalarStyle::Literal => {
                let start = text.lines().next()?;
                let header = if line(at.line)?.trim_end().ends_with(start) && !start.is_empty() { 0 } else { 1 };
                let number = at.line.saturating_add(header);
                let written = line(number)?;
                let indentation = written.chars().count().checked_sub(start.chars().count())?;
                written.ends_with(start).then_some(Position { line: number, column: indentation.saturating_add(1) })
            }
            ScalarStyle::Folded => None,
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col().saturating_add(1) }
}

fn size(node: &Node) -> usize {
    let below = node.items().iter().chain(node.entries().iter().map(|entry| &entry.value));
    below.fold(1, |sum: usize, node| sum.saturating_add(size(node)))
}

/// What is not text though nothing says so.
fn plain(text: &str) -> Option<Data> {
    match text.to_ascii_lowercase().as_str() {
        "" | "~" | "null" => return Some(Data::Null),
        "true" | "yes" | "on" | "y" => return Some(Data::Flag(true)),
        "false" | "no" | "off" | "n" => return Some(Data::Flag(false)),
        _ => {}
    }
    let digits = |text: &str| text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if !digits(text) {
        return None;
    }
    let whole = || text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    let hexadecimal = || u64::from_str_radix(text.strip_prefix("0x")?, 16).ok().map(Number::from);
    let real = || text.parse::<f64>().ok().and_then(Number::from_f64);
    whole().or_else(hexadecimal).or_else(real).map(Data::Number)
}
