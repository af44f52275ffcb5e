//! The directory's users and service principals, as far as their delta queries go (Microsoft Graph v1.0, «delta query»).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::authority::CONTOSO;
use crate::graph::{GraphAnswer, refusal};
use crate::merge::merge;
use crate::registration::DAEMON;
use crate::token::{USER, service_principal};

/// How many objects Graph puts on a page, unless it is told otherwise.
const PAGE: usize = 1_000;

/// What changes in the directory, all at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryChange {
    /// Users by `id`: merged over what is known (RFC 7396); `"@removed": "changed"` or `"deleted"` removes.
    pub users: Vec<Value>,
    /// Service principals by `id`, likewise.
    pub service_principals: Vec<Value>,
    /// So many users, `00000000-0000-4000-8000-000000000000` and following, that are disabled.
    pub disable_many: u32,
    /// How many objects are on a page from now on.
    pub page_size: Option<usize>,
    /// Every link that was given so far is answered 410.
    pub expire_links: bool,
}

/// Users and service principals.
#[derive(Debug)]
pub(crate) struct Changes {
    collections: BTreeMap<&'static str, BTreeMap<String, Object>>,
    /// The number of the last change.
    revision: u64,
    /// Links of an earlier one have expired.
    epoch: u64,
    page: usize,
}

#[derive(Debug, Default)]
struct Object {
    document: Map<String, Value>,
    removed: Option<String>,
    changed: u64,
}

/// What a link remembers.
struct Place {
    epoch: u64,
    /// After which change this page begins, and with which the round ends.
    after: u64,
    until: u64,
    /// Whether the round tells of everything, and not of changes.
    whole: bool,
    select: String,
}

impl Default for Changes {
    fn default() -> Self {
        let mut changes = Self { collections: BTreeMap::new(), revision: 0, epoch: 0, page: PAGE };
        changes.change(&DirectoryChange {
            users: vec![json!({
                "id": USER, "accountEnabled": true, "signInSessionsValidFromDateTime": "2020-01-01T00:00:00Z",
            })],
            service_principals: vec![json!({
                "id": service_principal(CONTOSO, DAEMON), "appId": DAEMON, "accountEnabled": true,
                "disabledByMicrosoftStatus": null,
            })],
            ..DirectoryChange::default()
        });
        changes
    }
}

impl Changes {
    pub(crate) fn change(&mut self, change: &DirectoryChange) {
        let many = (0..change.disable_many)
            .map(|number| json!({"id": format!("{number:08x}-0000-4000-8000-000000000000"), "accountEnabled": false}));
        for user in change.users.iter().cloned().chain(many) {
            self.put("users", &user);
        }
        for principal in &change.service_principals {
            self.put("servicePrincipals", principal);
        }
        self.page = change.page_size.unwrap_or(self.page).max(1);
        self.epoch += u64::from(change.expire_links);
    }

    fn put(&mut self, collection: &'static str, value: &Value) {
        self.revision += 1;
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        let object = self.collections.entry(collection).or_default().entry(id).or_default();
        object.changed = self.revision;
        object.removed = value["@removed"].as_str().map(str::to_owned);
        let mut document = Value::Object(std::mem::take(&mut object.document));
        merge(&mut document, value);
        if let Value::Object(mut members) = document {
            members.remove("@removed");
            object.document = members;
        }
    }

    /// Answers a delta query; none if the path is another one.
    pub(crate) fn answer(&self, host: &str, path: &str, query: &str) -> Option<GraphAnswer> {
        let collection = match path {
            "users/delta" => "users",
            "servicePrincipals/delta" => "servicePrincipals",
            _ => return None,
        };
        let parameters: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let link = parameters.get("$deltatoken").or_else(|| parameters.get("$skiptoken"));
        let link_to =
            |name: &str, place: &Place| format!("https://{host}/v1.0/{collection}/delta?${name}={}", place.text());
        let place = match link.map(String::as_str) {
            None | Some("latest") => {
                let latest = link.is_some();
                let after = if latest { self.revision } else { 0 };
                let select = parameters.get("$select").cloned().unwrap_or_else(|| "id".to_owned());
                Place { epoch: self.epoch, after, until: self.revision, whole: !latest, select }
            }
            Some(text) => match Place::read(text) {
                None => return Some(refusal(400, "Request_BadRequest", "Badly formed token.")),
                Some(place) if place.epoch != self.epoch => {
                    let message = "The sync state generation is not found. The delta token is expired and data must be synchronized again.";
                    return Some(refusal(410, "syncStateNotFound", message));
                }
                Some(place) if parameters.contains_key("$deltatoken") => Place { until: self.revision, ..place },
                Some(place) => place,
            },
        };
        let nobody = BTreeMap::new();
        let objects = self.collections.get(collection).unwrap_or(&nobody).values();
        let mut told: Vec<&Object> = objects
            .filter(|object| (place.after + 1..=place.until).contains(&object.changed))
            .filter(|object| !place.whole || object.removed.is_none())
            .collect();
        told.sort_by_key(|object| object.changed);
        let is_last = told.len() <= self.page;
        told.truncate(self.page);
        let mut body = json!({
            "@odata.context": format!("https://{host}/v1.0/$metadata#{collection}"),
            "value": told.iter().map(|object| object.told(&place.select)).collect::<Vec<_>>(),
        });
        if is_last {
            let next = Place { after: place.until, whole: false, ..place };
            body["@odata.deltaLink"] = json!(link_to("deltatoken", &next));
        } else {
            let after = told.last().map_or(place.after, |object| object.changed);
            body["@odata.nextLink"] = json!(link_to("skiptoken", &Place { after, ..place }));
        }
        Some(GraphAnswer { status: 200, body })
    }
}

impl Object {
    fn told(&self, select: &str) -> Value {
        if let Some(reason) = &self.removed {
            return json!({"id": self.document.get("id"), "@removed": {"reason": reason}});
        }
        let selected = |name: &String| name == "id" || select.split(',').any(|selected| selected == name);
        let members = self.document.iter().filter(|(name, _)| selected(name));
        Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

impl Place {
    fn text(&self) -> String {
        let Self { epoch, after, until, whole, select } = self;
        format!("{epoch}.{after}.{until}.{}.{}", u8::from(*whole), select.replace(',', "~"))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (epoch, after, until, whole) = (number()?, number()?, number()?, number()? == 1);
        Some(Self { epoch, after, until, whole, select: parts.next()?.replace('~', ",") })
    }
}
