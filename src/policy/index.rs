//! Which rules can match a path at all, found without looking at the others: a thousand rules cost a request what one does.
//!
//! It narrows, and never decides: whatever it names is matched in full, and it names everything that could match.

/// Rules by the beginning that their paths must have, letter case and final slashes apart.
#[derive(Default)]
pub(super) struct Index {
    /// In the order of the beginnings.
    by_beginning: Vec<(Vec<u8>, Vec<usize>)>,
    /// Rules that any path may match.
    others: Vec<usize>,
}

impl Index {
    /// Adds the next rule; without a beginning any path may match it.
    pub(super) fn add(&mut self, rule: usize, beginning: Option<&str>) {
        let beginning = beginning.map(|text| text.trim_end_matches('/').to_ascii_lowercase().into_bytes());
        let Some(beginning) = beginning.filter(|beginning| !beginning.is_empty()) else {
            self.others.push(rule);
            return;
        };
        match self.by_beginning.binary_search_by(|(known, _)| known.cmp(&beginning)) {
            Ok(at) => self.by_beginning.get_mut(at).into_iter().for_each(|(_, rules)| rules.push(rule)),
            Err(at) => self.by_beginning.insert(at, (beginning, vec![rule])),
        }
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
        let mut rest = path.as_bytes();
        // The greatest beginning that is not greater than the rest either begins it, or shares with it all that any other
        // beginning of it could be made of. The rest gets shorter each time.
        while !rest.is_empty() {
            let after = self.by_beginning.partition_point(|(beginning, _)| beginning.as_slice() <= rest);
            let Some((beginning, rules)) = after.checked_sub(1).and_then(|at| self.by_beginning.get(at)) else {
                return;
            };
            let shared = beginning.iter().zip(rest).take_while(|(one, other)| one == other).count();
            let mut length = shared;
            if shared == beginning.len() {
                visit(rules);
                length = shared.saturating_sub(1);
            }
            rest = rest.get(..length).unwrap_or_default();
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
        let mut index = Index::default();
        for (at, text) in texts.iter().enumerate() {
            index.add(at, Some(text));
        }
        index.add(texts.len(), None);
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
