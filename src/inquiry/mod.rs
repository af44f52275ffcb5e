//! What a token does not say itself, asked of those who know: an authorization server about an opaque token, Microsoft Graph
//! about a token for itself, an issuer about the status of its tokens.
//!
//! The questions, what their answers mean and how long they count. It sends nothing and knows no clock.

pub mod heard;
pub mod introspection;
pub mod source;
pub mod status_list;
pub mod userinfo;

use std::fmt;
use std::time::Duration;

use self::introspection::Active;
use self::status_list::{ListFault, StatusList};
use self::userinfo::Subject;
use crate::jose::json::Object;
use crate::keys::document::{Address, DocumentId};
use crate::keys::freshness::{Millis, millis};

/// Largest answer about a token, in bytes. Servers answer with some hundred.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a bad word counts at most: a token that is not known yet may be soon.
const BAD_NEWS: Duration = Duration::from_secs(5);
/// How long nobody asks again after there was no usable answer, unless the answer says how long.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that an answer may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whether a token is active (RFC 7662).
    Introspection,
    /// Which tokens are not valid (Token Status List).
    StatusList,
    /// Whose token it is (Microsoft Graph's `oidc/userinfo`).
    Userinfo,
}

impl Kind {
    /// Largest answer that is read, in bytes.
    #[must_use]
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Introspection | Self::Userinfo => MAX_ANSWER_BYTES,
            Self::StatusList => status_list::MAX_LIST_BYTES,
        }
    }
}

/// A question. Equal ones are one, and two tokens are equal if every byte is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// What is asked.
    pub kind: Kind,
    /// The provider whose settings say who is asked, by its index.
    pub provider: usize,
    /// The provider's document whose keys may sign the answer.
    pub document: DocumentId,
    /// The token, or the address of the list.
    pub about: String,
}

/// A token is not shown.
impl fmt::Debug for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Question").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What was heard, and until when it counts.
pub struct Word {
    /// What was said.
    pub said: Said,
    /// When it no longer counts.
    pub until: Millis,
}

/// What was said.
pub enum Said {
    /// The token is active.
    Active(Active),
    /// It is not: it was revoked, is over, or was never issued (RFC 7662 section 2.2 does not say which).
    Inactive,
    /// The statuses of many tokens.
    Listed(StatusList),
    /// Nothing that could be used.
    Nothing(Fault),
    /// Graph does not take the token: its status.
    Refused(u16),
    /// Graph takes the token, as that user's.
    Taken(Subject),
}

/// Why there is no usable answer. Carries nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body is larger than the limit.
    BodyTooLarge,
    /// As much is asked as may be at once.
    Busy,
    /// The status list is none that can be used.
    List(ListFault),
    /// No answer: connection failure or reset.
    NoAnswer,
    /// The call could not be sent: the cluster is unknown or has no healthy host.
    NotSent,
    /// Another status than 200.
    Status(u16),
    /// Not the JSON that was asked for.
    Unreadable,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLarge => formatter.write_str("the body is too large"),
            Self::Busy => formatter.write_str("too much is asked at once"),
            Self::List(fault) => fault.fmt(formatter),
            Self::NoAnswer => formatter.write_str("no answer"),
            Self::NotSent => formatter.write_str("the request could not be sent: is the cluster defined and healthy?"),
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Unreadable => formatter.write_str("not the JSON object that was asked for"),
        }
    }
}

/// A request to be sent.
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Where to.
    pub address: Address,
    /// The Envoy cluster that carries it.
    pub cluster: String,
    /// How long it may take.
    pub timeout: Duration,
    /// Headers beside those of the address. They hold credentials.
    pub headers: Vec<(&'static str, String)>,
    /// The form, if there is one. It holds credentials.
    pub form: Option<String>,
}

/// What a call brought.
pub struct Response {
    /// The status.
    pub status: u16,
    /// `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Word {
    /// A good one, which counts so long, and to its own end if it has one.
    fn good(said: Said, now: Millis, cache: Duration, ends: Option<Millis>) -> Self {
        let until = now.saturating_add(millis(cache)).min(ends.unwrap_or(Millis::MAX));
        // Whoever waited for it hears it, even if it is over: the token's own times say so then.
        Self { said, until: until.max(now.saturating_add(millis(PAUSE))) }
    }

    /// A bad one, which counts less long.
    fn bad(said: Said, now: Millis, cache: Duration) -> Self {
        Self::good(said, now, cache.min(BAD_NEWS), None)
    }

    /// None at all.
    #[must_use]
    pub fn none(fault: Fault, now: Millis, retry_after: Option<u64>) -> Self {
        let pause = retry_after.map_or(PAUSE, Duration::from_secs).clamp(PAUSE, LONGEST_PAUSE);
        Self { said: Said::Nothing(fault), until: now.saturating_add(millis(pause)) }
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match &self.said {
                Said::Active(active) => active.weight(),
                Said::Inactive | Said::Nothing(_) | Said::Refused(_) => 0,
                Said::Listed(list) => list.weight(),
                Said::Taken(subject) => subject.weight(),
            }
    }
}

impl Response {
    /// Whether whoever was asked wants to be left alone by everybody for some time (RFC 6585 section 4, RFC 9110 section
    /// 15.6.4). What fails for one token may be that token's doing.
    #[must_use]
    pub fn asks_for_quiet(&self) -> bool {
        self.retry_after.is_some() && matches!(self.status, 429 | 503)
    }
}

/// A time in seconds, in milliseconds; none if it is no such time.
fn time(members: &Object, name: &str) -> Option<Millis> {
    let number = members.get(name)?;
    // Fractions are cut off; what is out of range is at the end of all times.
    let seconds = number.as_u64().or_else(|| {
        let text = format!("{:.0}", number.as_f64().filter(|seconds| *seconds >= 0.0)?.trunc());
        Some(text.parse().unwrap_or(u64::MAX))
    });
    seconds.map(|seconds| seconds.saturating_mul(1_000))
}
