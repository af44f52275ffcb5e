//! `revocation`: the feed, the break-glass list, and how `iat` is read.

use std::time::Duration;

use super::node::{Members, Node};
use crate::entra::guid::is_guid;
use crate::feed::source::{Feed, Signers, WhenStale};
use crate::jose::jwk::KeySet;
use crate::keys::document::Address;
use crate::policy::RevocationPolicy;
use crate::revocation::entry::SUBJECT_MEMBERS;
use crate::revocation::rule::Time;
use crate::revocation::{Entry, Rule, Subject};

pub(super) const MEMBERS: [&str; 4] = ["entries", "feed", "issued_at_backdate", "require_token_id"];
pub(super) const FEED_MEMBERS: [&str; 8] =
    ["cluster", "interval", "keys", "long_poll", "max_staleness", "timeout", "url", "when_stale"];
pub(super) const ENTRY_MEMBERS: [&str; 11] = [
    "blocked",
    "client",
    "expires",
    "issuer",
    "not_before",
    "session",
    "subject",
    "tenant",
    "token",
    "unblocked_at",
    "user",
];

pub(super) fn compile(node: &Node<'_>) -> Option<RevocationPolicy> {
    let members = node.object(&MEMBERS)?;
    let feed = members.optional("feed", feed);
    let entries = members.optional("entries", |node| node.list(entry));
    // Entra back-dates `iat` by 300 s.
    let issued_at_backdate = members
        .get("issued_at_backdate")
        .map_or(Some(Duration::from_secs(300)), |node| node.duration(Duration::ZERO..=Duration::from_secs(3_600)));
    let require_token_id = members.get("require_token_id").map_or(Some(true), |node| node.flag());
    let (feed, entries) = (feed?, entries?);
    if feed.is_none() && entries.is_none() {
        return node.mistake_of("neither `feed` nor `entries`", "at least one of them");
    }
    Some(RevocationPolicy {
        feed,
        entries: entries.unwrap_or_default(),
        issued_at_backdate: issued_at_backdate?,
        require_token_id: require_token_id?,
    })
}

fn feed(node: &Node<'_>) -> Option<Feed> {
    let members = node.object(&FEED_MEMBERS)?;
    let url = members.required("url").and_then(|node| match node.json().as_str().and_then(Address::parse) {
        Some(address) => Some(address),
        None => node.mistake("an absolute https address"),
    });
    let cluster = members.required("cluster").and_then(|node| node.text().map(str::to_owned));
    let keys = members.required("keys").and_then(|node| keys(&node));
    let seconds = Duration::from_secs;
    let duration = |name: &str, default: Duration, range| match members.get(name) {
        Some(node) => node.duration(range),
        None => Some(default),
    };
    let interval = duration("interval", seconds(1), Duration::from_millis(200)..=seconds(3_600));
    let timeout = duration("timeout", seconds(2), Duration::from_millis(10)..=seconds(60));
    let long_poll = members.optional("long_poll", |node| match node.duration(seconds(1)..=seconds(120))? {
        whole if whole.subsec_nanos() == 0 => Some(whole),
        _ => node.mistake("whole seconds"),
    });
    let max_staleness = duration("max_staleness", seconds(300), seconds(1)..=seconds(86_400));
    let words = [("deny", WhenStale::Deny), ("allow", WhenStale::Allow)];
    let when_stale = members.get("when_stale").map_or(Some(WhenStale::Deny), |node| node.choice(&words));
    let (interval, timeout, max_staleness) = (interval?, timeout?, max_staleness?);
    let long_poll = long_poll?.unwrap_or_default();
    if max_staleness <= interval.saturating_add(timeout).saturating_add(long_poll) {
        return members.at("max_staleness").mistake_of(
            &humantime::format_duration(max_staleness).to_string(),
            "more than `interval`, `timeout` and `long_poll` together: every pause between two answers would be stale",
        );
    }
    Some(Feed {
        url: url?,
        cluster: cluster?,
        interval,
        timeout,
        long_poll,
        keys: keys?,
        max_staleness,
        when_stale: when_stale?,
    })
}

/// The pinned keys. One that cannot be used is a mistake: the feed may be signed by it tomorrow.
fn keys(node: &Node<'_>) -> Option<Signers> {
    let keys = KeySet::read(node.json().to_string().as_bytes()).ok().filter(|keys| keys.skipped() == 0);
    match keys {
        Some(keys) => Some(Signers::new(keys)),
        None => node.mistake_of(
            "what is not a JWK set of usable keys",
            "{ keys: [ … ] } of public RSA keys (2048 to 4096 bits) or P-256 keys, each with its `kid`",
        ),
    }
}

fn entry(node: &Node<'_>) -> Option<Entry> {
    let members = node.object(&ENTRY_MEMBERS)?;
    let rule = match (members.get("blocked"), members.get("not_before")) {
        (Some(blocked), None) if blocked.flag()? => Some(Rule::blocked(0)),
        (Some(blocked), None) => blocked.mistake("true (leave the entry out to lift it)"),
        (None, Some(time)) => unix_seconds(&time).map(Rule::not_before),
        (Some(_), Some(_)) | (None, None) => node.mistake_of("no single rule", "`blocked: true` or `not_before`"),
    };
    let subject = subject(&members);
    let unblocked_at = members.optional("unblocked_at", unix_seconds);
    let expires = members.optional("expires", unix_seconds);
    Some(Entry { subject: subject?, rule: Rule { unblocked_at: unblocked_at?, ..rule? }, expires: expires? })
}

fn unix_seconds(node: &Node<'_>) -> Option<Time> {
    node.integer(1..=u64::from(Time::MAX)).and_then(|time| Time::try_from(time).ok())
}

fn subject(members: &Members<'_>) -> Option<Subject> {
    let mut named = Vec::with_capacity(2);
    for name in SUBJECT_MEMBERS {
        let Some(node) = members.get(name) else { continue };
        let text = node.text()?;
        if name == "tenant" && !is_guid(text) {
            return node.guid().and(None);
        }
        named.push((name, text));
    }
    let given: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    match Subject::from_members(&named) {
        Some(subject) => Some(subject),
        None => members.node().mistake_of(
            &format!("the subject members [{}]", given.join(", ")),
            "tenant; tenant + user, session or client; issuer + token or subject",
        ),
    }
}
