//! Which rules can match a path at all, found without looking at the others: a thousand rules cost a request what one does.
//!
//! It narrows, and never decides: whatever it names is matched in full, and it names everything that could match.

use std::collections::BTreeMap;

/// Rules by the beginning that their paths must have, letter case and final slashes apart.
#[derive(Default)]
pub(super) struct Index {
    /// In the order of the beginnings.
    by_beginning: Vec<Entry>,
    /// Rules that any path may match.
    others: Vec<usize>,
}

/// A beginning.
struct Entry {
    beginning: Vec<u8>,
    /// The rules that have it, in their order.
    rules: Vec<usize>,
    /// Where the longest of the other beginnings is that this one begins with.
    within: Option<usize>,
}

impl Index {
    /// The index of rules in their order; without a beginning any path may match one.
    pub(super) fn new<'a>(beginnings: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut others = Vec::new();
        let mut rules_of: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (rule, beginning) in beginnings.enumerate() {
            let beginning = beginning.map(|text| text.trim_end_matches('/').to_ascii_lowercase().into_bytes());
            match beginning.filter(|beginning| !beginning.is_empty()) {
                Some(beginning) => rules_of.entry(beginning).or_default().push(rule),
                None => others.push(rule),
            }
        }
        let mut by_beginning: Vec<Entry> = Vec::with_capacity(rules_of.len());
        for (beginning, rules) in rules_of {
            // What it begins with stands right before it, or is what that one begins with, and so on.
            let mut within = by_beginning.len().checked_sub(1);
            while let Some(known) = within.and_then(|at| by_beginning.get(at)) {
                if beginning.starts_with(&known.beginning) {
                    break;
                }
                within = known.within;
            }
            by_beginning.push(Entry { beginning, rules, within });
        }
        Self { by_beginning, others }
    }

    /// The first of the rules that match, tried only where the path allows it.
    pub(super) fn first(&self, path: &str, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let mut first: Option<usize> = None;
        self.for_beginnings(path, |rules| {
            let earlier = rules.iter().take_while(|rule| first.is_none_or(|first| **rule < first));
            first = earlier.copied().find(|rule| matches(*rule)).or(first);
        });
        let earlier = self.others.iter().take_while(|rule| first.is_none_or(|first| **rule < first));
        earlier.copied().find(|rule| matches(*rule)).or(first)
    }

    fn for_beginnings(&self, path: &str, mut visit: impl FnMut(&[usize])) {
        let path = path.to_ascii_lowercase();
        let path = path.as_bytes();
        // Whatever begins the path is not greater than it, and begins all that lies between the two: so it begins the
        // greatest beginning that is not greater than the path, or is that one.
        let after = self.by_beginning.partition_point(|entry| entry.beginning.as_slice() <= path);
        let mut next = after.checked_sub(1);
        while let Some(entry) = next.and_then(|at| self.by_beginning.get(at)) {
            if path.starts_with(&entry.beginning) {
                visit(&entry.rules);
            }
            next = entry.within;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_beginning_of_a_path_is_found_and_nothing_else() {
        let texts =
            ["/", "/a", "/a/", "/A/b", "/a/b/c", "/ab", "/abc", "/b", "/a/c", "/a/b!", "", "/a/bb", "/a/b/c/d", "a"];
        let index = Index::new(texts.iter().copied().map(Some).chain([None]));
        let letters = ["", "/", "a", "b", "c", "!", "B", "A", "z", "ab", "/a", "/b"];
        for one in letters {
            for two in letters {
                for three in letters {
                    let path = format!("/{one}{two}{three}/b/c");
                    let lower = path.to_ascii_lowercase();
                    let begins = |text: &str| lower.starts_with(&text.trim_end_matches('/').to_ascii_lowercase());
                    let mut expected: Vec<usize> = (0..texts.len()).filter(|at| begins(texts[*at])).collect();
                    expected.push(texts.len());
                    let asked = RefCell::new(Vec::new());
                    let none = index.first(&path, |rule| {
                        asked.borrow_mut().push(rule);
                        false
                    });
                    let mut asked = asked.into_inner();
                    asked.sort_unstable();
                    assert_eq!((none, &asked), (None, &expected), "{path}");
                    for (at, rule) in expected.iter().enumerate() {
                        let later = &expected[at..];
                        assert_eq!(index.first(&path, |rule| later.contains(&rule)), Some(*rule), "{path}");
                    }
                }
            }
        }
    }
}
