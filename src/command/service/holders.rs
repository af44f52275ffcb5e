//! Who holds a block: everybody who asked for it and has not taken that back. Pure.
//!
//! A source lifts only what it made itself, and only when nobody else wants it blocked. People lift whatever there is.

use crate::documents::Actor;

/// A request about a subject's block, as the audit has it, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) by: Actor,
    pub(crate) asked: Asked,
    /// Whether anything changed.
    pub(crate) changed: bool,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Block,
    Lift,
}

/// Who holds a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders<'a> {
    sources: Vec<&'a str>,
    /// Somebody who is no source: they do not take it back but by lifting it.
    people: bool,
}

impl<'a> Holders<'a> {
    /// Those whom the requests leave.
    pub(crate) fn after(requests: &'a [Request]) -> Self {
        let mut holders = Self::default();
        for Request { by, asked, changed } in requests {
            match (by, asked) {
                (Actor::Source { name, .. }, Asked::Block) if !holders.holds(name) => holders.sources.push(name),
                (Actor::Source { .. }, Asked::Block) => {}
                (Actor::Source { name, .. }, Asked::Lift) => holders.sources.retain(|known| known != name),
                (Actor::Bootstrap | Actor::Service | Actor::Token { .. }, Asked::Block) => holders.people = true,
                // The block is over, whoever wanted it.
                (Actor::Bootstrap | Actor::Service | Actor::Token { .. }, Asked::Lift) if *changed => {
                    holders = Self::default();
                }
                (Actor::Bootstrap | Actor::Service | Actor::Token { .. }, Asked::Lift) => {}
            }
        }
        holders
    }

    /// Whether this source is one of them.
    pub(crate) fn holds(&self, source: &str) -> bool {
        self.sources.contains(&source)
    }

    /// Whether there is anybody but this source.
    pub(crate) fn others(&self, source: &str) -> bool {
        self.people || self.sources.iter().any(|known| *known != source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Actor {
        Actor::Source { name: name.to_owned(), event: None }
    }

    #[test]
    fn a_block_is_over_when_everybody_took_it_back() {
        use Asked::{Block, Lift};
        let person = || Actor::Bootstrap;
        for (requests, holds, others) in [
            (vec![], false, false),
            (vec![(source("a"), Block, true)], true, false),
            (vec![(source("a"), Block, true), (source("a"), Block, true)], true, false),
            (vec![(source("b"), Block, true)], false, true),
            (vec![(source("a"), Block, true), (source("b"), Block, false)], true, true),
            (vec![(source("a"), Block, true), (source("b"), Block, false), (source("b"), Lift, false)], true, false),
            (vec![(source("a"), Block, true), (source("a"), Lift, true)], false, false),
            (vec![(source("a"), Block, true), (person(), Block, false)], true, true),
            (vec![(person(), Block, true), (source("a"), Block, false)], true, true),
            (vec![(person(), Block, true), (source("a"), Block, false), (person(), Lift, true)], false, false),
            (vec![(source("a"), Block, true), (person(), Lift, true), (source("a"), Block, true)], true, false),
            (vec![(person(), Lift, false), (source("a"), Block, true)], true, false),
        ] {
            let requests: Vec<Request> =
                requests.into_iter().map(|(by, asked, changed)| Request { by, asked, changed }).collect();
            let holders = Holders::after(&requests);
            assert_eq!((holders.holds("a"), holders.others("a")), (holds, others), "{requests:?}");
        }
    }
}
