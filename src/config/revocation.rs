//! `revocation`: the break-glass list, and how `iat` is read.

use std::time::Duration;

use super::node::{Members, Node};
use crate::policy::RevocationPolicy;
use crate::revocation::rule::Time;
use crate::revocation::{Entry, Rule, Subject};

pub(super) const MEMBERS: [&str; 3] = ["entries", "issued_at_backdate", "require_token_id"];
pub(super) const ENTRY_MEMBERS: [&str; 9] =
    ["blocked", "client", "issuer", "not_before", "session", "subject", "tenant", "token", "user"];

pub(super) fn compile(node: &Node<'_>) -> Option<RevocationPolicy> {
    let members = node.object(&MEMBERS, &["feed"])?;
    let entries = members.required("entries").and_then(|node| node.list(entry));
    // Entra back-dates `iat` by 300 s.
    let issued_at_backdate = members
        .get("issued_at_backdate")
        .map_or(Some(Duration::from_secs(300)), |node| node.duration(Duration::ZERO..=Duration::from_secs(3_600)));
    let require_token_id = members.get("require_token_id").map_or(Some(true), |node| node.flag());
    Some(RevocationPolicy {
        entries: entries?,
        issued_at_backdate: issued_at_backdate?,
        require_token_id: require_token_id?,
    })
}

fn entry(node: &Node<'_>) -> Option<Entry> {
    let members = node.object(&ENTRY_MEMBERS, &["expires", "unblocked_at"])?;
    let rule = match (members.get("blocked"), members.get("not_before")) {
        (Some(blocked), None) if blocked.flag()? => Some(Rule::blocked(0)),
        (Some(blocked), None) => blocked.mistake("true (leave the entry out to lift it)"),
        (None, Some(time)) => unix_seconds(&time).map(Rule::not_before),
        (Some(_), Some(_)) | (None, None) => node.mistake_of("no single rule", "`blocked: true` or `not_before`"),
    };
    Some(Entry { subject: subject(&members)?, rule: rule?, expires: None })
}

fn unix_seconds(node: &Node<'_>) -> Option<Time> {
    node.integer(1..=u64::from(Time::MAX)).and_then(|time| Time::try_from(time).ok())
}

fn subject(members: &Members<'_>) -> Option<Subject> {
    const SUBJECTS: [&str; 7] = ["client", "issuer", "session", "subject", "tenant", "token", "user"];
    let given: Vec<&str> = SUBJECTS.into_iter().filter(|name| members.get(name).is_some()).collect();
    let text = |name: &str| members.required(name)?.text().map(str::to_owned);
    let tenant = || Some(members.required("tenant")?.guid()?.to_string());
    Some(match given.as_slice() {
        ["tenant"] => Subject::Tenant { tenant: tenant()? },
        ["tenant", "user"] => Subject::User { tenant: tenant()?, user: text("user")? },
        ["session", "tenant"] => Subject::Session { tenant: tenant()?, session: text("session")? },
        ["client", "tenant"] => Subject::Client { tenant: tenant()?, client: text("client")? },
        ["issuer", "token"] => Subject::Token { issuer: text("issuer")?, token: text("token")? },
        ["issuer", "subject"] => Subject::Pairwise { issuer: text("issuer")?, subject: text("subject")? },
        _ => {
            return members.node().mistake_of(
                &format!("the subject members [{}]", given.join(", ")),
                "tenant; tenant + user, session or client; issuer + token or subject",
            );
        }
    })
}
