//! From a request's document to what is asked: every mistake is told at once, and nothing of a wrong request is done.

use std::collections::BTreeMap;

use entra_gate::entra::guid::Guid;
use entra_gate::revocation::Subject;
use serde_json::Value;

use super::standing::{Time, Wish};
use crate::documents::{LiftRequest, Members, Mistake, NotBefore, NotBeforeWord, RevokeRequest};

/// Longest reason, in characters.
const MOST_REASON: usize = 500;
/// Longest session, token and `sub`, in bytes. Entra's have up to 43; RFC 7519 knows no limit.
const MOST_NAME: usize = 255;
/// Longest issuer, in bytes.
const MOST_ISSUER: usize = 512;
/// How far the clocks of who asks and of the service may be apart.
const CLOCK_SLACK: u64 = 300;

/// A revocation that can be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whom.
    pub(crate) subject: Subject,
    /// What.
    pub(crate) wish: Wish,
    /// Why.
    pub(crate) reason: String,
}

/// The end of a block that can be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AskedLift {
    /// Whose.
    pub(crate) subject: Subject,
    /// Why.
    pub(crate) reason: String,
}

/// What «now» means for a `not_before`: the next whole second. Token times are whole seconds, so a token that was issued
/// within this second cannot be told from one that is issued before it ends; all of them are meant.
pub(crate) fn next_second(now: u64) -> u64 {
    now.saturating_add(1)
}

/// Reads a revocation; `now` in Unix seconds, `oldest` the earliest `not_before` that any living token can be older than.
pub(crate) fn revocation(request: &RevokeRequest, now: u64, oldest: u64) -> Result<Asked, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    const KNOWN: [&str; 4] = ["blocked", "not_before", "reason", "whole_tenant"];
    unknown(&request.unknown, &KNOWN, &mut mistakes);
    let subject = subject(&request.members, &mut mistakes);
    let wish = wish(request, subject.as_ref(), now, oldest, &mut mistakes);
    let reason = reason(&request.reason, &mut mistakes);
    if matches!(subject, Some(Subject::Tenant { .. })) != request.whole_tenant {
        let (found, expected) = if request.whole_tenant {
            ("true beside a narrower subject", "no such member, or `tenant` alone")
        } else {
            ("`tenant` alone", "`whole_tenant: true`, because everybody in the tenant is meant")
        };
        // Without a subject there is nothing that it could contradict.
        if subject.is_some() {
            mistakes.push(Mistake::new("whole_tenant", found, expected));
        }
    }
    match (subject, wish, reason) {
        (Some(subject), Some(wish), Some(reason)) if mistakes.is_empty() => Ok(Asked { subject, wish, reason }),
        _ => Err(mistakes),
    }
}

/// Reads the end of a block.
pub(crate) fn lift(request: &LiftRequest) -> Result<AskedLift, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    unknown(&request.unknown, &["reason"], &mut mistakes);
    let subject = subject(&request.members, &mut mistakes);
    let reason = reason(&request.reason, &mut mistakes);
    match (subject, reason) {
        (Some(subject), Some(reason)) if mistakes.is_empty() => Ok(AskedLift { subject, reason }),
        _ => Err(mistakes),
    }
}

/// Reads a reason alone.
pub(crate) fn only_reason(text: &str) -> Result<String, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    reason(text, &mut mistakes).ok_or(mistakes)
}

fn wish(
    request: &RevokeRequest,
    subject: Option<&Subject>,
    now: u64,
    oldest: u64,
    mistakes: &mut Vec<Mistake>,
) -> Option<Wish> {
    let mut mistake = |found: &str, expected: &str| {
        mistakes.push(Mistake::new("not_before", found, expected));
        None
    };
    let now_at = || Wish::NotBefore(time(next_second(now)));
    match (request.not_before, request.blocked) {
        (None, None) => match subject? {
            // Its tokens are revoked one by one, or as a session, because they are in the wrong hands.
            Subject::Session { .. } | Subject::Token { .. } => Some(Wish::Block),
            Subject::Client { .. } | Subject::Pairwise { .. } | Subject::Tenant { .. } | Subject::User { .. } => {
                Some(now_at())
            }
        },
        (None, Some(false)) => Some(now_at()),
        (None, Some(true)) => Some(Wish::Block),
        (Some(_), Some(true)) => mistake("a time beside `blocked: true`", "one of the two"),
        (Some(NotBefore::Word(NotBeforeWord::Now)), None | Some(false)) => Some(now_at()),
        (Some(NotBefore::At(at)), None | Some(false)) => {
            if at > now.saturating_add(CLOCK_SLACK) {
                // Whoever signs in until then would be refused.
                mistake(&format!("{at}, which is yet to come"), "a time that has passed, or `now`, or `blocked: true`")
            } else if at < oldest {
                mistake(&format!("{at}, before which no living token was issued"), &format!("{oldest} or later"))
            } else {
                Some(Wish::NotBefore(time(at)))
            }
        }
    }
}

/// A time as an entry of the feed can name it.
fn time(seconds: u64) -> Time {
    Time::try_from(seconds).unwrap_or(Time::MAX)
}

fn reason(text: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > MOST_REASON || text.chars().any(char::is_control) {
        let found = if length == 0 { "nothing".to_owned() } else { format!("{length} characters") };
        let expected = format!("1 to {MOST_REASON} printable characters that say why");
        mistakes.push(Mistake::new("reason", &found, &expected));
        return None;
    }
    Some(text.to_owned())
}

/// Reads a subject; none if the members name none.
pub(crate) fn subject(members: &Members, mistakes: &mut Vec<Mistake>) -> Option<Subject> {
    let given: Vec<&str> = members.given().map(|(name, _)| name).collect();
    let mut guid = |name: &'static str, value: &Option<String>| {
        let text = value.as_deref().unwrap_or_default();
        let guid = Guid::parse(text).map(|guid| guid.to_string());
        if guid.is_none() {
            mistakes.push(Mistake::new(name, &describe(text), "a GUID, such as 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b"));
        }
        guid
    };
    match given.as_slice() {
        ["tenant"] => Some(Subject::Tenant { tenant: guid("tenant", &members.tenant)? }),
        ["tenant", "user"] => {
            let (tenant, user) = (guid("tenant", &members.tenant), guid("user", &members.user));
            Some(Subject::User { tenant: tenant?, user: user? })
        }
        ["tenant", "session"] => {
            let tenant = guid("tenant", &members.tenant);
            let session = name("session", &members.session, mistakes);
            Some(Subject::Session { tenant: tenant?, session: session? })
        }
        ["tenant", "client"] => {
            let (tenant, client) = (guid("tenant", &members.tenant), guid("client", &members.client));
            Some(Subject::Client { tenant: tenant?, client: client? })
        }
        ["issuer", "token"] => {
            let (issuer, token) = (issuer(members, mistakes), name("token", &members.token, mistakes));
            Some(Subject::Token { issuer: issuer?, token: token? })
        }
        ["issuer", "subject"] => {
            let (issuer, subject) = (issuer(members, mistakes), name("subject", &members.subject, mistakes));
            Some(Subject::Pairwise { issuer: issuer?, subject: subject? })
        }
        _ => {
            let expected = "tenant; tenant with user, session or client; issuer with token or subject";
            mistakes.push(Mistake::new("", &format!("the subject members [{}]", given.join(", ")), expected));
            None
        }
    }
}

fn name(member: &'static str, value: &Option<String>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let text = value.as_deref().unwrap_or_default();
    if text.is_empty() || text.len() > MOST_NAME || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = format!("1 to {MOST_NAME} printable ASCII characters, as they stand in the token");
        mistakes.push(Mistake::new(member, &describe(text), &expected));
        return None;
    }
    // A token would be stored and shown to whoever may read; its identifier is meant.
    if member == "token" && text.split('.').count() >= 3 && text.len() > 64 {
        mistakes.push(Mistake::new(member, "a whole token", "its identifier: the value of its claim `uti` or `jti`"));
        return None;
    }
    Some(text.to_owned())
}

fn issuer(members: &Members, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let text = members.issuer.as_deref().unwrap_or_default();
    let fits = text.len() <= MOST_ISSUER && text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.strip_prefix("https://") {
        Some(rest) if fits && !rest.is_empty() => Some(text.to_owned()),
        Some(_) | None => {
            mistakes.push(Mistake::new("issuer", &describe(text), "the token's `iss`: an https address"));
            None
        }
    }
}

fn unknown(found: &BTreeMap<String, Value>, known: &[&str], mistakes: &mut Vec<Mistake>) {
    for member in found.keys() {
        let candidates = known.iter().chain(&Members::NAMES);
        let nearest = candidates
            .map(|candidate| (strsim::damerau_levenshtein(member, candidate), *candidate))
            .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(2))
            .min();
        let expected = nearest.map_or("no such member".to_owned(), |(_, nearest)| format!("`{nearest}`, perhaps"));
        mistakes.push(Mistake::new(&excerpt(member), "an unknown member", &expected));
    }
}

fn describe(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { format!("{:?}", excerpt(text)) }
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

impl Members {
    /// The names that a subject's members have.
    pub(crate) const NAMES: [&str; 7] = ["tenant", "user", "session", "client", "issuer", "token", "subject"];

    /// The members that are there, in the order of [`Self::NAMES`].
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [&self.tenant, &self.user, &self.session, &self.client, &self.issuer, &self.token, &self.subject];
        Self::NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// The members of a subject.
    pub(crate) fn of(subject: &Subject) -> Self {
        let mut members = Self::default();
        match subject.clone() {
            Subject::Client { tenant, client } => (members.tenant, members.client) = (Some(tenant), Some(client)),
            Subject::Pairwise { issuer, subject } => {
                (members.issuer, members.subject) = (Some(issuer), Some(subject));
            }
            Subject::Session { tenant, session } => (members.tenant, members.session) = (Some(tenant), Some(session)),
            Subject::Tenant { tenant } => members.tenant = Some(tenant),
            Subject::Token { issuer, token } => (members.issuer, members.token) = (Some(issuer), Some(token)),
            Subject::User { tenant, user } => (members.tenant, members.user) = (Some(tenant), Some(user)),
        }
        members
    }
}

impl Mistake {
    /// One mistake.
    pub(crate) fn new(path: &str, found: &str, expected: &str) -> Self {
        Self { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_760_000_000;
    const NEXT: Wish = Wish::NotBefore(1_760_000_001);
    const OLDEST: u64 = NOW - 87_300;
    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
    const USER: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";

    fn read(mut request: Value) -> Result<Asked, Vec<Mistake>> {
        request["reason"] = request.get("reason").cloned().unwrap_or_else(|| json!("stolen"));
        revocation(&serde_json::from_value(request).unwrap(), NOW, OLDEST)
    }

    fn mistaken(request: Value) -> Vec<String> {
        read(request).unwrap_err().into_iter().map(|mistake| mistake.path).collect()
    }

    #[test]
    fn each_kind_of_subject_has_its_default() {
        for (members, kind, wish) in [
            (json!({"tenant": TENANT, "user": USER}), "user", NEXT),
            (json!({"tenant": TENANT, "client": USER}), "client", NEXT),
            (json!({"tenant": TENANT, "session": "s"}), "session", Wish::Block),
            (json!({"tenant": TENANT, "whole_tenant": true}), "tenant", NEXT),
            (json!({"issuer": "https://i", "token": "t"}), "token", Wish::Block),
            (json!({"issuer": "https://i", "subject": "p"}), "subject", NEXT),
        ] {
            let asked = read(members.clone()).unwrap();
            assert_eq!((asked.subject.kind(), asked.wish), (kind, wish), "{members}");
        }
    }

    #[test]
    fn identifiers_are_compared_as_tokens_write_them() {
        let asked = read(json!({"tenant": TENANT.to_uppercase(), "user": USER.to_uppercase()})).unwrap();
        assert_eq!(asked.subject, Subject::User { tenant: TENANT.into(), user: USER.into() });
    }

    #[test]
    fn a_time_is_neither_to_come_nor_older_than_every_token() {
        let user = |not_before: Value| json!({"tenant": TENANT, "user": USER, "not_before": not_before});
        for (time, expected) in [(NOW + 301, None), (NOW + 300, Some(())), (OLDEST, Some(())), (OLDEST - 1, None)] {
            assert_eq!(read(user(json!(time))).ok().map(|_| ()), expected, "{time}");
        }
        assert_eq!(read(user(json!("now"))).unwrap().wish, NEXT);
    }

    #[test]
    fn a_whole_tenant_must_be_meant() {
        assert_eq!(mistaken(json!({"tenant": TENANT})), ["whole_tenant"]);
        assert_eq!(mistaken(json!({"tenant": TENANT, "user": USER, "whole_tenant": true})), ["whole_tenant"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let request = json!({"tenant": "contoso", "user": "me", "usr": 1, "not_before": 5, "reason": " "});
        assert_eq!(mistaken(request), ["usr", "tenant", "user", "not_before", "reason"]);
    }

    #[test]
    fn what_is_no_single_subject_is_refused() {
        for members in [
            json!({}),
            json!({"user": USER}),
            json!({"tenant": TENANT, "user": USER, "client": USER}),
            json!({"tenant": TENANT, "token": "t"}),
            json!({"issuer": "https://i"}),
        ] {
            assert_eq!(mistaken(members.clone()), [""], "{members}");
        }
    }

    #[test]
    fn values_that_no_token_holds_are_refused() {
        let token = format!("{}.{}.{}", "a".repeat(40), "b".repeat(40), "c".repeat(40));
        for (members, path) in [
            (json!({"issuer": "http://i", "token": "t"}), "issuer"),
            (json!({"issuer": "https://", "token": "t"}), "issuer"),
            (json!({"issuer": "https://i", "token": ""}), "token"),
            (json!({"issuer": "https://i", "token": "a b"}), "token"),
            (json!({"issuer": "https://i", "token": "a".repeat(256)}), "token"),
            (json!({"issuer": "https://i", "token": token}), "token"),
            (json!({"tenant": TENANT, "session": "\u{e9}"}), "session"),
        ] {
            assert_eq!(mistaken(members.clone()), [path], "{members}");
        }
    }

    #[test]
    fn a_block_has_no_time() {
        let request = json!({"tenant": TENANT, "user": USER, "blocked": true, "not_before": NOW});
        assert_eq!(mistaken(request), ["not_before"]);
        let request = json!({"tenant": TENANT, "session": "s", "blocked": false});
        assert_eq!(read(request).unwrap().wish, NEXT);
    }

    #[test]
    fn lifting_names_a_subject_and_a_reason() {
        let read = |request: Value| lift(&serde_json::from_value(request).unwrap());
        let good = json!({"tenant": TENANT, "user": USER, "reason": " found "});
        assert_eq!(read(good).unwrap().reason, "found");
        let bad = read(json!({"tenant": TENANT, "blocked": true, "reason": "a\nb"})).unwrap_err();
        assert_eq!(bad.iter().map(|mistake| mistake.path.as_str()).collect::<Vec<_>>(), ["blocked", "reason"]);
    }
}
