//! Microsoft Graph's delta queries for users and service principals: from an answer to what shall hold, and where the next
//! question goes. Pure.
//!
//! <https://learn.microsoft.com/graph/delta-query-overview>; properties of «user» and «servicePrincipal», Graph v1.0.

use entra_gate::entra::guid::Guid;
use entra_gate::jose::json::{self, Object};
use entra_gate::keys::document::Address;
use entra_gate::revocation::Subject;
use jiff::Timestamp;
use serde_json::Value;

use super::signal::{Clock, Deed};
use crate::service::standing::Wish;

/// The collections that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Collection {
    ServicePrincipals,
    Users,
}

impl Collection {
    /// Its name, in Graph's addresses and in the state that is kept.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ServicePrincipals => "servicePrincipals",
            Self::Users => "users",
        }
    }

    fn select(self) -> &'static str {
        match self {
            Self::ServicePrincipals => "id,appId,accountEnabled,disabledByMicrosoftStatus",
            Self::Users => "id,accountEnabled,signInSessionsValidFromDateTime",
        }
    }
}

/// From where a round begins that has no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Everything is read.
    Everything,
    /// Only what changes from now on.
    Now,
}

/// The first question of a round.
pub(crate) fn first(collection: Collection, start: Start, host: &str) -> Option<Address> {
    let (name, select) = (collection.name(), collection.select());
    let latest = match start {
        Start::Everything => "",
        Start::Now => "&$deltatoken=latest",
    };
    Address::parse(&format!("https://{host}/v1.0/{name}/delta?$select={select}{latest}"))
}

/// A link of an earlier answer, if it stays where it came from: the collection's delta query on this very host.
/// Whatever follows a link takes the token for Graph there.
pub(crate) fn link(text: &str, collection: Collection, host: &str) -> Option<Address> {
    let address = Address::parse(text)?;
    let path = address.path().split('?').next().unwrap_or_default();
    // Graph writes the function's name in either way.
    let name = collection.name();
    let known =
        [format!("/v1.0/{name}/delta"), format!("/v1.0/{name}/microsoft.graph.delta"), format!("/v1.0/{name}/delta()")];
    let same = address.authority().eq_ignore_ascii_case(host)
        || address.authority().eq_ignore_ascii_case(&format!("{host}:443"));
    (same && known.iter().any(|known| known == path)).then_some(address)
}

/// A page of changes.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) next: Next,
    /// How many objects it had.
    pub(crate) objects: usize,
    /// How many of them were none: without an identifier.
    pub(crate) unreadable: usize,
}

/// Where the next question goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There are more pages of this round.
    More(String),
    /// The round is complete; the next one begins here.
    Round(String),
}

/// What an answer comes to that brings no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The permission was not granted.
    Forbidden,
    /// The link is too old: everything must be read again.
    Gone,
    /// It went wrong; the status.
    Failed(u16),
    /// It is a page.
    Page,
    /// Too many questions; seconds to wait, if they were told.
    Throttled(Option<u64>),
    /// The token is not, or no longer, good.
    Unauthorized,
}

/// What an answer is, by its status. An expired link is 410, and was 400 with a code of its own for years.
pub(crate) fn answered(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answered {
    let code = || -> Option<String> {
        let object = json::object(body).ok()?;
        Some(object.get("error")?.get("code")?.as_str()?.to_ascii_lowercase())
    };
    match status {
        200 => Answered::Page,
        401 => Answered::Unauthorized,
        403 => Answered::Forbidden,
        410 => Answered::Gone,
        400 if code().is_some_and(|code| code == "syncstatenotfound" || code == "syncstateinvalid") => Answered::Gone,
        429 | 503 | 504 => Answered::Throttled(retry_after.and_then(|text| text.trim().parse().ok())),
        status => Answered::Failed(status),
    }
}

/// Why a page cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFault {
    /// A link leads to another host, or to something else than this collection's changes.
    Astray,
    /// No JSON object with `value` and one of the links.
    Malformed,
}

impl std::fmt::Display for PageFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Astray => "a link of the answer leads elsewhere, and is not followed",
            Self::Malformed => "the answer is no page of changes",
        })
    }
}

/// Reads a page.
pub(crate) fn page(
    body: &[u8],
    collection: Collection,
    (tenant, host): (&Guid, &str),
    clock: &Clock,
) -> Result<Page, PageFault> {
    let members = json::object(body).map_err(|_| PageFault::Malformed)?;
    let Some(Value::Array(objects)) = members.get("value") else { return Err(PageFault::Malformed) };
    let named = |name: &str| members.get(name).and_then(Value::as_str);
    let next = match (named("@odata.nextLink"), named("@odata.deltaLink")) {
        (Some(next), None) => Next::More(next.to_owned()),
        (None, Some(next)) => Next::Round(next.to_owned()),
        _ => return Err(PageFault::Malformed),
    };
    let (Next::More(address) | Next::Round(address)) = &next;
    link(address, collection, host).ok_or(PageFault::Astray)?;
    let mut page = Page { deeds: Vec::new(), next, objects: objects.len(), unreadable: 0 };
    for object in objects {
        let found = object.as_object().and_then(|members| Some((members, guid(members, "id")?)));
        let Some((members, id)) = found else {
            page.unreadable = page.unreadable.saturating_add(1);
            continue;
        };
        match collection {
            Collection::ServicePrincipals => service_principal(members, &id, tenant, clock, &mut page.deeds),
            Collection::Users => user(members, &id, tenant, clock, &mut page.deeds),
        }
    }
    Ok(page)
}

fn user(members: &Object, id: &Guid, tenant: &Guid, clock: &Clock, deeds: &mut Vec<Deed>) {
    let subject = Subject::User { tenant: tenant.to_string(), user: id.to_string() };
    let mut deed = |wish, reason: &str| deeds.push(Deed { subject: subject.clone(), wish, reason: reason.to_owned() });
    if let Some(reason) = removed(members) {
        return deed(block(clock), &format!("the user was {reason}"));
    }
    // What is not told has not changed.
    match members.get("accountEnabled").and_then(Value::as_bool) {
        Some(false) => deed(block(clock), "accountEnabled is false"),
        Some(true) => deed(Wish::Lift, "accountEnabled is true again"),
        None => {}
    }
    let since = members.get("signInSessionsValidFromDateTime").and_then(Value::as_str).and_then(seconds);
    if let Some(wish) = since.and_then(|since| clock.not_before(since)) {
        deed(wish, "signInSessionsValidFromDateTime");
    }
}

fn service_principal(members: &Object, id: &Guid, tenant: &Guid, clock: &Clock, deeds: &mut Vec<Deed>) {
    // Tokens of the application itself carry its object id as `oid`; those that users get through it, its application id.
    let of_itself = Subject::User { tenant: tenant.to_string(), user: id.to_string() };
    let client = guid(members, "appId");
    let client = client.map(|client| Subject::Client { tenant: tenant.to_string(), client: client.to_string() });
    let mut all = |wish, reason: &str| {
        let subjects = [Some(of_itself.clone()), client.clone()].into_iter().flatten();
        deeds.extend(subjects.map(|subject| Deed { subject, wish, reason: reason.to_owned() }));
    };
    if let Some(reason) = removed(members) {
        return all(block(clock), &format!("the service principal was {reason}"));
    }
    let status = members.get("disabledByMicrosoftStatus").and_then(Value::as_str);
    let by_microsoft = status.filter(|status| !status.eq_ignore_ascii_case("NotDisabled"));
    match (by_microsoft, members.get("accountEnabled").and_then(Value::as_bool)) {
        (Some(status), _) => {
            let reason = format!("disabledByMicrosoftStatus is {}", super::signal::quoted(status));
            all(block(clock), &reason);
        }
        (None, Some(false)) => all(block(clock), "accountEnabled is false"),
        (None, Some(true)) => all(Wish::Lift, "accountEnabled is true again"),
        (None, None) => {}
    }
}

/// Entra gives no tokens to whom it has disabled, so a block need not outlive those that there are.
fn block(clock: &Clock) -> Wish {
    Wish::BlockUntil(clock.lifetimes.last_token_of(clock.time()))
}

/// How an object was removed, if it was: `changed` can be restored, `deleted` cannot.
fn removed(members: &Object) -> Option<&'static str> {
    let reason = members.get("@removed")?.get("reason").and_then(Value::as_str);
    Some(if reason == Some("changed") { "deleted, and can be restored" } else { "deleted for good" })
}

fn guid(members: &Object, name: &str) -> Option<Guid> {
    Guid::parse(members.get(name)?.as_str()?)
}

/// The second at which, or after which, a time is: tokens from within that second cannot be told apart.
fn seconds(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    let whole = u64::try_from(time.as_second()).ok()?;
    Some(if time.subsec_nanosecond() > 0 { whole.saturating_add(1) } else { whole })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::service::standing::Lifetimes;

    const NOW: u64 = 1_760_000_000;
    const HOST: &str = "graph.microsoft.com";
    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
    const ID: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
    const APP: &str = "aaaaaaaa-0000-4000-8000-000000000001";

    fn clock() -> Clock {
        let lifetimes = Lifetimes { token: Duration::from_secs(5_400), session: Duration::from_secs(90 * 86_400) };
        Clock { now: NOW, lifetimes }
    }

    fn delta_link(collection: Collection) -> String {
        format!("https://{HOST}/v1.0/{}/delta?$deltatoken=t", collection.name())
    }

    fn read(collection: Collection, objects: Value) -> Page {
        let body = json!({"value": objects, "@odata.deltaLink": delta_link(collection)}).to_string();
        page(body.as_bytes(), collection, (&Guid::parse(TENANT).unwrap(), HOST), &clock()).unwrap()
    }

    const BLOCK: Wish = Wish::BlockUntil(1_760_000_000 + 5_400 + 900);

    #[test]
    fn a_user_is_what_the_directory_says_of_it() {
        let since = |time: &str| json!({"id": ID, "signInSessionsValidFromDateTime": time});
        for (object, wishes) in [
            (json!({"id": ID}), vec![]),
            (json!({"id": ID, "accountEnabled": null}), vec![]),
            (json!({"id": ID, "accountEnabled": false}), vec![BLOCK]),
            (json!({"id": ID.to_uppercase(), "accountEnabled": true}), vec![Wish::Lift]),
            (json!({"id": ID, "@removed": {"reason": "changed"}}), vec![BLOCK]),
            (json!({"id": ID, "@removed": {"reason": "deleted"}}), vec![BLOCK]),
            (json!({"id": ID, "@removed": {"reason": "changed"}, "accountEnabled": true}), vec![BLOCK]),
            (since("2025-10-09T08:53:19Z"), vec![Wish::NotBefore(1_759_999_999)]),
            (since("2025-10-09T08:53:19.25Z"), vec![Wish::NotBefore(1_760_000_000)]),
            // The directory's clock is ahead.
            (since("2025-10-09T09:53:20Z"), vec![Wish::NotBefore(1_760_000_001)]),
            // No token is that old.
            (since("2025-10-09T05:00:00Z"), vec![]),
            (since("yesterday"), vec![]),
            (
                json!({"id": ID, "accountEnabled": false, "signInSessionsValidFromDateTime": "2025-10-09T08:53:19Z"}),
                vec![BLOCK, Wish::NotBefore(1_759_999_999)],
            ),
        ] {
            let page = read(Collection::Users, json!([object]));
            assert_eq!(page.deeds.iter().map(|deed| deed.wish).collect::<Vec<_>>(), wishes, "{object}");
            let user = Subject::User { tenant: TENANT.into(), user: ID.into() };
            assert!(page.deeds.iter().all(|deed| deed.subject == user), "{object}");
        }
    }

    #[test]
    fn a_service_principal_is_a_client_and_a_subject_of_its_own_tokens() {
        let both = |wish| vec![("user", wish), ("client", wish)];
        for (object, wishes) in [
            (json!({"accountEnabled": true}), both(Wish::Lift)),
            (json!({"accountEnabled": true, "disabledByMicrosoftStatus": null}), both(Wish::Lift)),
            (json!({"accountEnabled": true, "disabledByMicrosoftStatus": "NotDisabled"}), both(Wish::Lift)),
            (json!({"accountEnabled": false}), both(BLOCK)),
            (
                json!({"accountEnabled": true, "disabledByMicrosoftStatus": "DisabledDueToViolationOfServicesAgreement"}),
                both(BLOCK),
            ),
            (json!({"disabledByMicrosoftStatus": null}), vec![]),
        ] {
            let mut object = object;
            (object["id"], object["appId"]) = (json!(ID), json!(APP));
            let page = read(Collection::ServicePrincipals, json!([object]));
            let told: Vec<(&str, Wish)> = page.deeds.iter().map(|deed| (deed.subject.kind(), deed.wish)).collect();
            assert_eq!(told, wishes, "{object}");
        }
        // A tombstone names no application.
        let page = read(Collection::ServicePrincipals, json!([{"id": ID, "@removed": {"reason": "deleted"}}]));
        let user = Subject::User { tenant: TENANT.into(), user: ID.into() };
        assert_eq!(page.deeds.iter().map(|deed| &deed.subject).collect::<Vec<_>>(), [&user]);
    }

    #[test]
    fn what_has_no_identifier_is_counted_and_the_rest_is_read() {
        let page = read(
            Collection::Users,
            json!([{"accountEnabled": false}, 5, {"id": "x"}, {"id": ID, "accountEnabled": false}]),
        );
        assert_eq!((page.objects, page.unreadable, page.deeds.len()), (4, 3, 1));
    }

    #[test]
    fn a_page_says_whether_there_are_more() {
        let read = |links: Value| {
            let mut body = json!({"value": []});
            body.as_object_mut().unwrap().extend(links.as_object().unwrap().clone());
            let tenant = Guid::parse(TENANT).unwrap();
            page(body.to_string().as_bytes(), Collection::Users, (&tenant, HOST), &clock()).map(|page| page.next)
        };
        let more = format!("https://{HOST}/v1.0/users/delta?$skiptoken=s");
        assert_eq!(read(json!({"@odata.nextLink": more})).unwrap(), Next::More(more.clone()));
        let round = delta_link(Collection::Users);
        assert_eq!(read(json!({"@odata.deltaLink": round})).unwrap(), Next::Round(round.clone()));
        for links in
            [json!({}), json!({"@odata.nextLink": more, "@odata.deltaLink": round}), json!({"@odata.nextLink": 5})]
        {
            assert_eq!(read(links.clone()).err(), Some(PageFault::Malformed), "{links}");
        }
        for body in ["", "[]", "{}", r#"{"value": 5}"#] {
            let tenant = Guid::parse(TENANT).unwrap();
            assert!(page(body.as_bytes(), Collection::Users, (&tenant, HOST), &clock()).is_err(), "{body}");
        }
        for astray in [
            "https://evil.example/v1.0/users/delta?$skiptoken=s",
            "http://graph.microsoft.com/v1.0/users/delta?$skiptoken=s",
            "https://graph.microsoft.com@evil.example/v1.0/users/delta?$skiptoken=s",
            "https://graph.microsoft.com.evil.example/v1.0/users/delta",
            "https://graph.microsoft.com:8443/v1.0/users/delta",
            "https://graph.microsoft.com/v1.0/servicePrincipals/delta",
            "https://graph.microsoft.com/v1.0/users/delta/../../me",
            "/v1.0/users/delta",
        ] {
            assert_eq!(read(json!({"@odata.nextLink": astray})).err(), Some(PageFault::Astray), "{astray}");
        }
        for good in [
            "https://graph.microsoft.com:443/v1.0/users/delta?$skiptoken=s",
            "https://GRAPH.microsoft.com/v1.0/users/microsoft.graph.delta?$skiptoken=s",
        ] {
            assert!(read(json!({"@odata.nextLink": good})).is_ok(), "{good}");
        }
    }

    #[test]
    fn an_answer_is_told_by_its_status() {
        let code = |code: &str| json!({"error": {"code": code}}).to_string();
        for (status, retry_after, body, expected) in [
            (200, None, String::new(), Answered::Page),
            (401, None, String::new(), Answered::Unauthorized),
            (403, None, String::new(), Answered::Forbidden),
            (410, None, String::new(), Answered::Gone),
            (400, None, code("SyncStateNotFound"), Answered::Gone),
            (400, None, code("Request_BadRequest"), Answered::Failed(400)),
            (400, None, "no JSON".to_owned(), Answered::Failed(400)),
            (429, Some("7"), String::new(), Answered::Throttled(Some(7))),
            (429, Some("Fri, 27 Nov 2026 22:22:00 GMT"), String::new(), Answered::Throttled(None)),
            (503, None, String::new(), Answered::Throttled(None)),
            (500, Some("7"), String::new(), Answered::Failed(500)),
            (302, None, String::new(), Answered::Failed(302)),
        ] {
            assert_eq!(answered(status, retry_after, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_first_question_names_what_is_wanted() {
        let users = first(Collection::Users, Start::Everything, HOST).unwrap();
        assert_eq!(users.path(), "/v1.0/users/delta?$select=id,accountEnabled,signInSessionsValidFromDateTime");
        let clients = first(Collection::ServicePrincipals, Start::Now, "graph.microsoft.us").unwrap();
        assert_eq!(clients.authority(), "graph.microsoft.us");
        assert!(clients.path().ends_with("disabledByMicrosoftStatus&$deltatoken=latest"));
    }
}
