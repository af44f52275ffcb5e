//! Microsoft Graph's application objects: a client as one, and one as a client (registration in RFC 7591's words).
//!
//! <https://learn.microsoft.com/graph/api/resources/application>

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use superboring::reexports::hmac_sha256::Hash;

use super::limits::MAX_NOTES_CHARS;
use super::metadata::{Metadata, MetadataError, MetadataFault, Platform};
use crate::entra::guid::Guid;
use crate::jose::json::{self, Object};
use crate::policy::registration::{Registration, ScopeKind};

/// What every application that we make is tagged with.
const TAG: &str = "dcr";
/// What an application is tagged with that several instances of a client share.
const TAG_SHARED: &str = "dcr-shared";
/// The members that are read.
pub const SELECT: &str =
    "$select=id,appId,displayName,createdDateTime,notes,tags,web,spa,publicClient,info,passwordCredentials";

/// The body that makes the application, or replaces all that a client can choose of it.
///
/// # Errors
/// What is kept for the client is longer than Graph takes.
pub fn application(metadata: &Metadata, settings: &Registration) -> Result<Value, MetadataFault> {
    let is_shared = !metadata.platform.is_confidential();
    let uris = |platform| -> Vec<String> {
        let mut uris: Vec<String> = Vec::new();
        for uri in metadata.redirect_uris.iter().filter(|_| metadata.platform == platform) {
            let uri = uri.without_free_port();
            // Two that differ in their free port are one, and Graph takes none twice.
            if !uris.contains(&uri) {
                uris.push(uri);
            }
        }
        uris
    };
    let mut tags = vec![TAG.to_owned(), gateway_tag(settings)];
    if is_shared {
        tags.push(TAG_SHARED.to_owned());
    }
    tags.extend(metadata.grant_types.iter().map(|grant| format!("dcr-grant:{grant}")));
    Ok(json!({
        "displayName": metadata.name,
        // The default would be every account in the world, and a hundredth of the throughput.
        "signInAudience": "AzureADMyOrg",
        "publicClient": {"redirectUris": uris(Platform::Public)},
        "spa": {"redirectUris": uris(Platform::Spa)},
        "web": {"redirectUris": uris(Platform::Web), "homePageUrl": metadata.client_uri},
        "api": {"requestedAccessTokenVersion": 2},
        "requiredResourceAccess": resource_access(metadata, settings),
        "info": {
            "marketingUrl": metadata.client_uri,
            "termsOfServiceUrl": metadata.tos_uri,
            "privacyStatementUrl": metadata.policy_uri,
        },
        "tags": tags,
        "notes": notes(metadata)?,
    }))
}

fn gateway_tag(settings: &Registration) -> String {
    format!("dcr-gw:{}", settings.client_id)
}

fn resource_access(metadata: &Metadata, settings: &Registration) -> Vec<Value> {
    let mut resources: Vec<(&Guid, Vec<Value>)> = Vec::new();
    for scope in settings.scopes.iter().filter(|scope| metadata.scopes.contains(&scope.name)) {
        let kind = match scope.kind {
            ScopeKind::Application => "Role",
            ScopeKind::Delegated => "Scope",
        };
        let access = json!({"id": scope.id.as_str(), "type": kind});
        match resources.iter_mut().find(|(resource, _)| **resource == scope.resource) {
            Some((_, known)) => known.push(access),
            None => resources.push((&scope.resource, vec![access])),
        }
    }
    let resource =
        |(resource, access): (&Guid, Vec<Value>)| json!({"resourceAppId": resource.as_str(), "resourceAccess": access});
    resources.into_iter().map(resource).collect()
}

/// What has no place of its own in Graph.
fn notes(metadata: &Metadata) -> Result<String, MetadataFault> {
    let mut kept = Map::new();
    kept.insert("token_endpoint_auth_method".to_owned(), metadata.auth_method.name().into());
    kept.insert("application_type".to_owned(), metadata.application_type.into());
    kept.insert("grant_types".to_owned(), metadata.grant_types.clone().into());
    if !metadata.scopes.is_empty() {
        kept.insert("scope".to_owned(), metadata.scopes.join(" ").into());
    }
    if !metadata.contacts.is_empty() {
        kept.insert("contacts".to_owned(), metadata.contacts.clone().into());
    }
    for (name, value) in [("software_id", &metadata.software_id), ("software_version", &metadata.software_version)] {
        kept.extend(value.as_ref().map(|value| (name.to_owned(), value.as_str().into())));
    }
    let notes = Value::Object(kept).to_string();
    if notes.chars().count() > MAX_NOTES_CHARS {
        return Err(MetadataFault {
            error: MetadataError::Metadata,
            sentence: "scope, contacts, software_id and software_version are too long together.".to_owned(),
        });
    }
    Ok(notes)
}

/// The name under which instances of one public client find each other: whoever asks for the very same gets the same
/// application, and whoever asks for anything else another one.
#[must_use]
pub fn shared_name(application: &Value, settings: &Registration) -> String {
    let digest = Hash::hash(application.to_string().as_bytes());
    named(settings, &hex(&digest))
}

/// A name that nobody else has, so that a lost answer can be asked for again.
#[must_use]
pub fn own_name(random: [u64; 2], settings: &Registration) -> String {
    let [one, other] = random;
    named(settings, &format!("{one:016x}{other:016x}"))
}

fn named(settings: &Registration, name: &str) -> String {
    let gateway: String = settings.client_id.as_str().chars().take(8).collect();
    let name: String = name.chars().take(32).collect();
    format!("dcr-{gateway}-{name}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A client as Graph has it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// `appId`
    pub client_id: Guid,
    /// `id`
    pub object_id: String,
    document: Object,
    notes: Object,
}

/// A secret of a client, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// `keyId`
    pub key_id: String,
    /// `startDateTime`, in Unix seconds.
    pub start: u64,
}

impl Registered {
    /// Reads an application.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::of(json::object(body).ok()?)
    }

    fn of(document: Object) -> Option<Self> {
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let client_id = Guid::parse(text("appId")?)?;
        let object_id = Guid::parse(text("id")?)?.to_string();
        let notes = text("notes").and_then(|notes| json::object(notes.as_bytes()).ok()).unwrap_or_default();
        Some(Self { client_id, object_id, document, notes })
    }

    /// Whether this gateway made it.
    #[must_use]
    pub fn is_ours(&self, settings: &Registration) -> bool {
        self.has_tag(TAG) && self.has_tag(&gateway_tag(settings))
    }

    /// Whether several instances of a client share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.has_tag(TAG_SHARED)
    }

    fn has_tag(&self, wanted: &str) -> bool {
        let tags = self.document.get("tags").and_then(Value::as_array);
        tags.is_some_and(|tags| tags.iter().any(|tag| tag == wanted))
    }

    /// The same after a change that was made.
    #[must_use]
    pub fn changed(self, change: &Value) -> Option<Self> {
        let mut document = self.document;
        for (name, value) in change.as_object()? {
            document.insert(name.clone(), value.clone());
        }
        Self::of(document)
    }

    /// Its secrets, newest first.
    #[must_use]
    pub fn passwords(&self) -> Vec<Password> {
        let all = self.document.get("passwordCredentials").and_then(Value::as_array);
        let mut passwords: Vec<Password> = all
            .into_iter()
            .flatten()
            .filter_map(|password| {
                let text = |name: &str| password.get(name).and_then(Value::as_str);
                let start = text("startDateTime").and_then(seconds).unwrap_or_default();
                Some(Password { key_id: Guid::parse(text("keyId")?)?.to_string(), start })
            })
            .collect();
        passwords.sort_by_key(|password| std::cmp::Reverse(password.start));
        passwords
    }

    /// The client in RFC 7591's words: what is really registered. Loopback URIs that `asked` names are given back as they
    /// were asked for: their port is free.
    #[must_use]
    pub fn client(&self, asked: Option<&Metadata>) -> Object {
        let mut client = Object::new();
        let mut add = |name: &str, value: Value| {
            client.insert(name.to_owned(), value);
        };
        add("client_id", self.client_id.as_str().into());
        if let Some(created) = self.document.get("createdDateTime").and_then(Value::as_str).and_then(seconds) {
            add("client_id_issued_at", created.into());
        }
        if let Some(name) = self.document.get("displayName").filter(|name| name.is_string()) {
            add("client_name", name.clone());
        }
        add("redirect_uris", self.redirect_uris(asked).into());
        for name in [
            "token_endpoint_auth_method",
            "application_type",
            "grant_types",
            "scope",
            "contacts",
            "software_id",
            "software_version",
        ] {
            if let Some(value) = self.notes.get(name) {
                add(name, value.clone());
            }
        }
        let grants: Vec<&str> = self
            .notes
            .get("grant_types")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        add("response_types", Metadata::response_types(&grants).into());
        for (name, member) in
            [("client_uri", "marketingUrl"), ("tos_uri", "termsOfServiceUrl"), ("policy_uri", "privacyStatementUrl")]
        {
            let info = self.document.get("info").and_then(|info| info.get(member));
            if let Some(value) = info.filter(|value| value.is_string()) {
                add(name, value.clone());
            }
        }
        client
    }

    fn redirect_uris(&self, asked: Option<&Metadata>) -> Vec<String> {
        let of_platform = |platform| {
            let uris = self.document.get(platform).and_then(|platform| platform.get("redirectUris"));
            uris.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        };
        let stored: Vec<&str> = ["publicClient", "spa", "web"].into_iter().flat_map(of_platform).collect();
        let asked = asked.map(|metadata| metadata.redirect_uris.as_slice()).unwrap_or_default();
        let kept = asked.iter().filter(|uri| stored.contains(&uri.without_free_port().as_str()));
        let mut uris: Vec<String> = kept.map(|uri| uri.as_str().to_owned()).collect();
        let others = stored.iter().filter(|uri| !asked.iter().any(|known| known.without_free_port() == **uri));
        uris.extend(others.map(|uri| (*uri).to_owned()));
        uris
    }
}

/// A secret that was just made. Shows nothing.
pub struct NewPassword {
    /// `secretText`
    pub secret: String,
    /// `endDateTime`, in Unix seconds.
    pub expires_at: u64,
}

impl NewPassword {
    /// Reads what `addPassword` answers.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let answer = json::object(body).ok()?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let secret = text("secretText").filter(|secret| !secret.is_empty())?;
        Some(Self { secret: secret.to_owned(), expires_at: seconds(text("endDateTime")?)? })
    }
}

/// The body of `addPassword`.
#[must_use]
pub fn password(settings: &Registration, now: u64) -> Value {
    let end = now.saturating_add(settings.secret_lifetime.as_secs());
    json!({"passwordCredential": {"displayName": format!("dcr-{now}"), "endDateTime": date(end)}})
}

/// An RFC 3339 time as Unix seconds.
fn seconds(text: &str) -> Option<u64> {
    Some(humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn date(seconds: u64) -> String {
    // The end of what humantime can write, the year 9999.
    let seconds = seconds.min(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH))
        .to_string()
}
