//! Microsoft Graph's applications and service principals, as far as a client with `Application.ReadWrite.OwnedBy` gets.
//!
//! Follows «application resource type» and «servicePrincipal resource type», Microsoft Graph v1.0. What goes wrong on a bad day is
//! a knob ([`GraphKnobs`]) or a fault: one with a status happens instead of the call, all others after it.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::changes::{Changes, DirectoryChange};
use crate::merge::merge;
use crate::question::without_port;
use crate::registration::{Client, Redirects};

const HOSTS: [&str; 3] = ["graph.microsoft.com", "graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"];
const DAY: i64 = 86_400;
/// The properties of an application that a client may write.
const WRITABLE: [&str; 12] = [
    "api",
    "displayName",
    "info",
    "isFallbackPublicClient",
    "notes",
    "publicClient",
    "requiredResourceAccess",
    "signInAudience",
    "spa",
    "tags",
    "uniqueName",
    "web",
];

/// What is different from a good day.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphKnobs {
    /// How many calls about a new application find nothing.
    pub replication: u32,
    /// How many sign-ins of a new application fail with AADSTS700016.
    pub propagation: u32,
    /// How many objects one creator may have, deleted ones included.
    pub quota: Option<usize>,
    /// The longest lifetime of a secret that the app management policy allows, in days.
    pub max_secret_days: Option<i64>,
    /// Whether that policy forbids secrets.
    pub no_secrets: bool,
    /// Whether the permission was never granted.
    pub no_permission: bool,
    /// Whether objects may be deleted for good.
    pub purge: bool,
    /// Forgets all tokens for Graph that were issued, once.
    pub revoke_tokens: bool,
}

/// An answer of Graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphAnswer {
    /// The status.
    pub status: u16,
    /// The body; null for none.
    pub body: Value,
}

/// A call to Graph.
#[derive(Clone, Copy, Debug)]
pub struct GraphCall<'a> {
    /// `Host`, without a port.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// `Authorization`
    pub authorization: Option<&'a str>,
    /// `Prefer`
    pub prefer: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// All applications.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    changes: Changes,
    pub(crate) knobs: GraphKnobs,
    applications: Vec<Application>,
    deleted: Vec<Application>,
    principals: Vec<String>,
    /// Token → client.
    tokens: HashMap<String, String>,
}

#[derive(Debug)]
struct Application {
    document: Map<String, Value>,
    owner: String,
    passwords: Vec<Password>,
    unseen: u32,
    unknown: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Password {
    key_id: String,
    display_name: Value,
    hint: String,
    start_date_time: String,
    end_date_time: String,
    #[serde(skip)]
    secret: String,
    #[serde(skip)]
    end: i64,
}

impl Application {
    fn text(&self, name: &str) -> &str {
        self.document.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn app_id(&self) -> &str {
        self.text("appId")
    }

    fn read(&self) -> Value {
        let mut document = self.document.clone();
        document.insert("passwordCredentials".into(), json!(self.passwords));
        Value::Object(document)
    }

    fn redirect_uris(&self, platform: &str) -> Vec<String> {
        let uris = self.document.get(platform).and_then(|platform| platform.get("redirectUris"));
        uris.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

pub(crate) fn is_graph(host: &str) -> bool {
    HOSTS.contains(&without_port(host).to_ascii_lowercase().as_str())
}

pub(crate) fn refusal(status: u16, code: &str, message: &str) -> GraphAnswer {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let inner = json!({"date": now, "request-id": Uuid::new_v4(), "client-request-id": Uuid::new_v4()});
    GraphAnswer { status, body: json!({"error": {"code": code, "message": message, "innerError": inner}}) }
}

fn not_found(name: &str) -> GraphAnswer {
    let message =
        format!("Resource '{name}' does not exist or one of its queried reference-property objects are not present.");
    refusal(404, "Request_ResourceNotFound", &message)
}

impl Graph {
    pub(crate) fn know(&mut self, token: &str, client: &str) {
        self.tokens.insert(token.to_owned(), client.to_owned());
    }

    pub(crate) fn turn(&mut self, knobs: GraphKnobs) {
        if knobs.revoke_tokens {
            self.tokens.clear();
        }
        self.knobs = knobs;
    }

    pub(crate) fn change(&mut self, change: &DirectoryChange) {
        self.changes.change(change);
    }

    /// All that there is; secrets by their number only.
    pub(crate) fn summary(&self) -> Value {
        let all = |applications: &[Application]| applications.iter().map(Application::read).collect::<Vec<_>>();
        json!({
            "applications": all(&self.applications),
            "deleted": all(&self.deleted),
            "service_principals": self.principals,
        })
    }

    /// A client of the token endpoint.
    pub(crate) fn client(&mut self, app_id: &str, now: i64) -> Option<Client> {
        let principal = self.principals.iter().any(|known| known == app_id);
        let application = self.applications.iter_mut().find(|application| application.app_id() == app_id)?;
        if application.unknown > 0 {
            application.unknown -= 1;
            return None;
        }
        Some(Client {
            app_id: app_id.to_owned(),
            secrets: application
                .passwords
                .iter()
                .filter(|password| password.end > now)
                .map(|password| password.secret.clone())
                .collect(),
            certificates: Vec::new(),
            redirects: Some(Redirects {
                public: application.redirect_uris("publicClient"),
                spa: application.redirect_uris("spa"),
                web: application.redirect_uris("web"),
            }),
            principal,
        })
    }

    pub(crate) fn answer(&mut self, call: &GraphCall<'_>, now: i64) -> GraphAnswer {
        let token = call.authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let Some(caller) = self.tokens.get(token).cloned() else {
            return refusal(401, "InvalidAuthenticationToken", "Access token is empty or not valid.");
        };
        if self.knobs.no_permission {
            return refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.");
        }
        let (path, query) = call.target.split_once('?').unwrap_or((call.target, ""));
        let Some(path) = path.strip_prefix("/v1.0/") else {
            return refusal(404, "ResourceNotFound", "Invalid version.");
        };
        if call.method == "GET"
            && let Some(answer) = self.changes.answer(call.host, path, query)
        {
            return answer;
        }
        let body: Value = match call.body {
            [] => json!({}),
            body => match serde_json::from_slice(body) {
                Ok(body) => body,
                Err(_) => return refusal(400, "BadRequest", "Unable to read JSON request payload."),
            },
        };
        match (call.method, path) {
            ("POST", "applications") => self.create(&body, None, &caller, now),
            ("POST", "servicePrincipals") => self.principal(&body, &caller),
            ("DELETE", _) if path.starts_with("directory/deletedItems/") => self.purge(path),
            _ => match key(path) {
                Some((property, value, rest)) => self.keyed(call, property, value, rest, &body, &caller, now),
                None => refusal(404, "ResourceNotFound", "Resource not found for the segment."),
            },
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one URL")]
    fn keyed(
        &mut self,
        call: &GraphCall<'_>,
        property: &str,
        value: &str,
        rest: &str,
        body: &Value,
        caller: &str,
        now: i64,
    ) -> GraphAnswer {
        let found = self.applications.iter().position(|application| application.text(property) == value);
        let Some(at) = found else {
            let upsert = property == "uniqueName" && call.prefer == Some("create-if-missing");
            return if upsert && call.method == "PATCH" && rest.is_empty() {
                self.create(body, Some(value), caller, now)
            } else {
                not_found(value)
            };
        };
        let application = &mut self.applications[at];
        if application.owner != caller {
            return refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.");
        }
        if application.unseen > 0 && call.prefer.is_none() {
            application.unseen -= 1;
            return not_found(value);
        }
        match (call.method, rest) {
            ("GET", "") => GraphAnswer { status: 200, body: application.read() },
            ("PATCH", "") => match fault(body) {
                Some(refusal) => refusal,
                None => {
                    let mut document = Value::Object(application.document.clone());
                    for (name, value) in body.as_object().into_iter().flatten() {
                        document[name] = value.clone();
                    }
                    if let Value::Object(document) = document {
                        application.document = document;
                    }
                    GraphAnswer { status: 204, body: Value::Null }
                }
            },
            ("DELETE", "") => {
                let application = self.applications.remove(at);
                self.principals.retain(|known| known != application.app_id());
                self.deleted.push(application);
                GraphAnswer { status: 204, body: Value::Null }
            }
            ("POST", "/addPassword") => self.add_password(at, body, now),
            ("POST", "/removePassword") => {
                let before = application.passwords.len();
                application.passwords.retain(|password| body["keyId"] != password.key_id.as_str());
                if application.passwords.len() < before {
                    GraphAnswer { status: 204, body: Value::Null }
                } else {
                    refusal(400, "Request_BadRequest", "No password credential found with keyId.")
                }
            }
            _ => refusal(405, "Request_BadRequest", "The method is not allowed."),
        }
    }

    fn create(&mut self, body: &Value, name: Option<&str>, caller: &str, now: i64) -> GraphAnswer {
        if let Some(refusal) = fault(body) {
            return refusal;
        }
        let owned = self.applications.iter().chain(&self.deleted).filter(|application| application.owner == caller);
        if self.knobs.quota.is_some_and(|quota| owned.count() >= quota) {
            let message = "The directory object quota limit for the Principal has been exceeded. Please ask your administrator to increase the quota limit or delete objects to reduce the used quota.";
            return refusal(403, "Directory_QuotaExceeded", message);
        }
        let mut document = json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#applications/$entity",
            "id": Uuid::new_v4(),
            "appId": Uuid::new_v4(),
            "createdDateTime": time(now),
            "signInAudience": "AzureADandPersonalMicrosoftAccount",
            "tags": [],
            "notes": null,
            "keyCredentials": [],
            "identifierUris": [],
            "publicClient": {"redirectUris": []},
            "spa": {"redirectUris": []},
            "web": {"redirectUris": [], "homePageUrl": null},
        });
        merge(&mut document, body);
        if let Some(name) = name {
            document["uniqueName"] = json!(name);
        }
        let Value::Object(document) = document else { return refusal(400, "BadRequest", "Not an object.") };
        let application = Application {
            document,
            owner: caller.to_owned(),
            passwords: Vec::new(),
            unseen: self.knobs.replication,
            unknown: self.knobs.propagation,
        };
        let body = application.read();
        self.applications.push(application);
        GraphAnswer { status: 201, body }
    }

    fn add_password(&mut self, at: usize, body: &Value, now: i64) -> GraphAnswer {
        let credential = &body["passwordCredential"];
        let asked = credential["endDateTime"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
        let end = asked.map_or(now + 2 * 365 * DAY, Timestamp::as_second);
        if self.knobs.no_secrets {
            let message = "Credential type not allowed as per assigned policy '8ba5acd5-be73-4dac-b6e9-b9f9c4bd9e5c'.";
            return refusal(400, "CredentialTypeNotAllowedAsPerAppPolicy", message);
        }
        if self.knobs.max_secret_days.is_some_and(|days| end > now + days * DAY) {
            let message = "The lifetime of the credential exceeds the max value allowed as per assigned policy.";
            return refusal(400, "CredentialInvalidLifetimeAsPerAppPolicy", message);
        }
        let secret = format!("{}~{}.", Uuid::new_v4().simple(), &Uuid::new_v4().simple().to_string()[..6]);
        let password = Password {
            key_id: Uuid::new_v4().to_string(),
            display_name: credential["displayName"].clone(),
            hint: secret[..3].to_owned(),
            // So that several of one second have an order.
            start_date_time: format!("{}.{:07}Z", &time(now)[..19], self.applications[at].passwords.len()),
            end_date_time: time(end),
            end,
            secret,
        };
        let mut answer = json!(password);
        answer["secretText"] = json!(password.secret);
        self.applications[at].passwords.push(password);
        GraphAnswer { status: 200, body: answer }
    }

    fn principal(&mut self, body: &Value, caller: &str) -> GraphAnswer {
        let app_id = body["appId"].as_str().unwrap_or_default();
        let application = self
            .applications
            .iter_mut()
            .find(|application| application.app_id() == app_id && application.owner == caller);
        let missing = || {
            let message =
                format!("The appId '{app_id}' of the service principal does not reference a valid application object.");
            refusal(400, "NoBackingApplicationObject", &message)
        };
        let Some(application) = application else { return missing() };
        if application.unseen > 0 {
            application.unseen -= 1;
            return missing();
        }
        if self.principals.iter().any(|known| known == app_id) {
            let message = format!(
                "The service principal cannot be created, updated, or restored because the service principal name {app_id} is already in use."
            );
            return refusal(409, "Request_MultipleObjectsWithSameKeyValue", &message);
        }
        self.principals.push(app_id.to_owned());
        GraphAnswer { status: 201, body: json!({"id": Uuid::new_v4(), "appId": app_id}) }
    }

    fn purge(&mut self, path: &str) -> GraphAnswer {
        if !self.knobs.purge {
            return refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.");
        }
        let id = path.rsplit('/').next().unwrap_or_default();
        let before = self.deleted.len();
        self.deleted.retain(|application| application.text("id") != id);
        if self.deleted.len() < before { GraphAnswer { status: 204, body: Value::Null } } else { not_found(id) }
    }
}

/// `applications(name='value')` and what follows it, or `applications/{id}`.
fn key(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("applications")?;
    if let Some(rest) = rest.strip_prefix('(') {
        let (key, rest) = rest.split_once(')')?;
        let (name, value) = key.split_once('=')?;
        return Some((name, value.strip_prefix('\'')?.strip_suffix('\'')?, rest));
    }
    let rest = rest.strip_prefix('/')?;
    let at = rest.find('/').unwrap_or(rest.len());
    Some(("id", &rest[..at], &rest[at..]))
}

/// What Graph would not take.
fn fault(body: &Value) -> Option<GraphAnswer> {
    let invalid = |property: &str| {
        let message = format!("Invalid value specified for property '{property}' of resource 'Application'.");
        Some(refusal(400, "Request_BadRequest", &message))
    };
    let Some(members) = body.as_object() else { return invalid("application") };
    if let Some(unknown) = members.keys().find(|name| !WRITABLE.contains(&name.as_str())) {
        return invalid(unknown);
    }
    let longer = |name: &str, most: usize| {
        members.get(name).and_then(Value::as_str).is_some_and(|text| text.chars().count() > most)
    };
    if members.get("displayName").is_some_and(|name| name.as_str().is_none_or(str::is_empty))
        || longer("displayName", 256)
    {
        return invalid("displayName");
    }
    if longer("notes", 1024) {
        return invalid("notes");
    }
    for platform in ["publicClient", "spa", "web"] {
        let uris = members.get(platform).and_then(|platform| platform.get("redirectUris")).and_then(Value::as_array);
        let uris: Vec<&str> = uris.into_iter().flatten().map(|uri| uri.as_str().unwrap_or_default()).collect();
        let mut seen = Vec::new();
        for uri in uris {
            let plain = uri.starts_with("http://")
                && !["http://localhost", "http://127.0.0.1"].iter().any(|host| {
                    uri.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
                });
            let own_scheme = !uri.starts_with("https://") && !uri.starts_with("http://");
            let bad = plain
                || !uri.contains(':')
                || uri.contains(['#', '*'])
                || uri.len() > 256
                || (own_scheme && platform != "publicClient");
            if bad || seen.contains(&uri) {
                return invalid("redirectUris");
            }
            seen.push(uri);
        }
    }
    let audiences =
        ["AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"];
    if members.get("signInAudience").is_some_and(|value| !audiences.iter().any(|known| value == known)) {
        return invalid("signInAudience");
    }
    None
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
