//! What a source has to tell, in the terms of the one set. Pure: nothing here knows where it came from or where it goes.

use std::fmt;

use entra_gate::revocation::Subject;

use crate::service::asked::next_second;
use crate::service::standing::{Lifetimes, Time, Wish};

/// How far the clocks of who tells and of the service may be apart, in seconds.
pub(crate) const CLOCK_SLACK: u64 = 300;

/// What one event, or one page of changes, comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// The event's own identifier (`jti`); none for what has none.
    pub(crate) event: Option<String>,
    /// When what it tells of happened, in Unix seconds.
    pub(crate) at: Option<u64>,
    /// What shall hold.
    pub(crate) deeds: Vec<Deed>,
    /// What nothing follows from.
    pub(crate) remarks: Vec<Remark>,
}

/// What shall hold for a subject, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) subject: Subject,
    pub(crate) wish: Wish,
    pub(crate) reason: String,
}

/// What nothing follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// It asks for nothing here, by what it is or by configuration.
    Idle(String),
    /// Whom it is about cannot be said in the terms of the one set.
    Unmapped(String),
    /// The way to here works: a verification event, with its state.
    Verified(Option<String>),
}

impl Remark {
    /// The sentence for the audit; none for what is no news.
    pub(crate) fn told(&self) -> Option<&str> {
        match self {
            Self::Idle(text) | Self::Unmapped(text) => Some(text),
            Self::Verified(_) => None,
        }
    }
}

/// The times that a reading is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Unix seconds.
    pub(crate) now: u64,
    /// How long what is revoked can matter.
    pub(crate) lifetimes: Lifetimes,
}

impl Clock {
    /// «Now», as an entry of the feed can name it.
    pub(crate) fn time(&self) -> Time {
        time(self.now)
    }

    /// That tokens from before this moment are revoked; none if no living token is that old. What a clock that is
    /// ahead puts into the future is now: whoever signs in until then would be refused.
    pub(crate) fn not_before(&self, since: u64) -> Option<Wish> {
        let since = since.min(next_second(self.now));
        (since >= self.lifetimes.oldest(self.now)).then(|| Wish::NotBefore(time(since)))
    }
}

fn time(seconds: u64) -> Time {
    Time::try_from(seconds).unwrap_or(Time::MAX)
}

/// A text of somebody else's for log and audit: printable, and no longer than this.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 200;
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    text.trim().chars().take(MOST).map(clean).collect()
}

impl fmt::Display for Deed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wish {
            Wish::Block | Wish::BlockUntil(_) => formatter.write_str("block"),
            Wish::Lift => formatter.write_str("lift the block of"),
            Wish::NotBefore(time) => write!(formatter, "revoke tokens issued before {time} of"),
        }?;
        write!(formatter, " {}", self.subject.kind())
    }
}
