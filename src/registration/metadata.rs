//! What a client asks for, read whole and made into what it will get (RFC 7591 section 2, OpenID Connect Dynamic Client
//! Registration 1.0). Unknown members are ignored, as the RFC asks; what is known and cannot be had is an error.

use serde_json::Value;

use super::limits::{MAX_ELEMENTS, MAX_NAME_CHARS, MAX_REDIRECT_URIS, MAX_SCOPE_CHARS, MAX_TEXT_CHARS};
use crate::jose::json::{self, JsonFault, Object};
use crate::policy::redirect::{Kind, RedirectUri};
use crate::policy::registration::{Registration, Scope, ScopeKind};

/// Permissions of sign-in itself, which need no registration.
const SIGN_IN_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// A client as it will be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `client_name`, with the operator's prefix.
    pub name: String,
    /// Which of Entra's platforms its redirect URIs belong to.
    pub platform: Platform,
    /// How it authenticates at the token endpoint.
    pub auth_method: AuthMethod,
    /// As they were sent.
    pub redirect_uris: Vec<RedirectUri>,
    /// Those of the asked grants that Entra has for such a client, and those that it has in any case.
    pub grant_types: Vec<&'static str>,
    /// The names of the granted permissions.
    pub scopes: Vec<String>,
    /// `client_uri`
    pub client_uri: Option<String>,
    /// `tos_uri`
    pub tos_uri: Option<String>,
    /// `policy_uri`
    pub policy_uri: Option<String>,
    /// `contacts`
    pub contacts: Vec<String>,
    /// `software_id`
    pub software_id: Option<String>,
    /// `software_version`
    pub software_version: Option<String>,
    /// `application_type`
    pub application_type: &'static str,
}

/// Which kind of client Entra takes it for: the platform decides whether a secret is needed to redeem a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Mobile and desktop applications: no secret, PKCE.
    Public,
    /// Scripts in a browser: no secret, redeemed with `Origin` only.
    Spa,
    /// With a secret.
    Web,
}

impl Platform {
    /// Whether the client has a secret.
    #[must_use]
    pub fn is_confidential(self) -> bool {
        match self {
            Self::Public | Self::Spa => false,
            Self::Web => true,
        }
    }
}

/// `token_endpoint_auth_method`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The secret by HTTP Basic; the default.
    Basic,
    /// None: a public client.
    None,
    /// The secret in the form.
    Post,
}

impl AuthMethod {
    /// RFC 7591's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::None => "none",
            Self::Post => "client_secret_post",
        }
    }
}

/// Why a client cannot be registered: RFC 7591 section 3.2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFault {
    /// Which error it is.
    pub error: MetadataError,
    /// What to change, in ASCII.
    pub sentence: String,
}

/// The errors of RFC 7591 section 3.2.2 that concern us: software statements are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// `invalid_client_metadata`
    Metadata,
    /// `invalid_redirect_uri`
    RedirectUri,
}

impl MetadataFault {
    fn new(sentence: impl Into<String>) -> Self {
        Self { error: MetadataError::Metadata, sentence: sentence.into() }
    }

    fn uri(sentence: impl Into<String>) -> Self {
        Self { error: MetadataError::RedirectUri, sentence: sentence.into() }
    }
}

/// The members of a request's body.
///
/// # Errors
/// It is not a JSON object with unique names.
pub fn members(body: &[u8]) -> Result<Object, MetadataFault> {
    json::object(body).map_err(|fault| {
        MetadataFault::new(match fault {
            JsonFault::DuplicateMember => "A member name appears twice in the body.",
            JsonFault::NotAnObject => "The body must be a JSON object.",
            JsonFault::Syntax => "The body is not JSON.",
        })
    })
}

impl Metadata {
    /// Reads what a client asks for.
    ///
    /// # Errors
    /// The first thing that it cannot have.
    pub fn read(asked: &Object, settings: &Registration) -> Result<Self, MetadataFault> {
        let (auth_method, platform, application_type) = kind(asked, settings)?;
        keys(asked)?;
        let redirect_uris = redirect_uris(asked, platform, settings)?;
        let grant_types = grant_types(asked, platform, !redirect_uris.is_empty())?;
        response_types(asked, &grant_types)?;
        let metadata = Self {
            name: name(asked, settings)?,
            platform,
            auth_method,
            redirect_uris,
            grant_types,
            scopes: scopes(asked, platform, settings)?,
            client_uri: address(asked, "client_uri")?,
            tos_uri: address(asked, "tos_uri")?,
            policy_uri: address(asked, "policy_uri")?,
            contacts: contacts(asked)?,
            software_id: plain(asked, "software_id")?,
            software_version: plain(asked, "software_version")?,
            application_type,
        };
        Ok(metadata)
    }

    /// `response_types`: all that Entra has without implicit grants.
    #[must_use]
    pub fn response_types(grant_types: &[&str]) -> Vec<&'static str> {
        if grant_types.contains(&"authorization_code") { vec!["code"] } else { Vec::new() }
    }
}

fn text<'a>(asked: &'a Object, name: &str) -> Result<Option<&'a str>, MetadataFault> {
    match asked.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(MetadataFault::new(format!("{name} must be a text."))),
    }
}

fn list<'a>(asked: &'a Object, name: &str, most: usize) -> Result<Option<Vec<&'a str>>, MetadataFault> {
    let elements = match asked.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(elements)) => elements,
        Some(_) => return Err(MetadataFault::new(format!("{name} must be a list of texts."))),
    };
    if elements.len() > most {
        return Err(MetadataFault::new(format!("{name} must have at most {most} elements.")));
    }
    let texts: Option<Vec<&str>> = elements.iter().map(Value::as_str).collect();
    texts.map(Some).ok_or_else(|| MetadataFault::new(format!("{name} must be a list of texts.")))
}

/// Of the three, none can be chosen without the others.
fn kind(asked: &Object, settings: &Registration) -> Result<(AuthMethod, Platform, &'static str), MetadataFault> {
    let application_type = match text(asked, "application_type")? {
        None | Some("web") => "web",
        Some("native") => "native",
        // Not OpenID Connect's: Entra has a platform for scripts, and must be told.
        Some("spa") => "spa",
        Some(_) => return Err(MetadataFault::new("application_type must be web, native or spa.")),
    };
    let method = match text(asked, "token_endpoint_auth_method")? {
        None | Some("client_secret_basic") => AuthMethod::Basic,
        Some("client_secret_post") => AuthMethod::Post,
        Some("none") => AuthMethod::None,
        Some("private_key_jwt" | "tls_client_auth" | "self_signed_tls_client_auth" | "client_secret_jwt") => {
            return Err(MetadataFault::new(
                "This token_endpoint_auth_method is not supported; use none, client_secret_basic or client_secret_post.",
            ));
        }
        Some(_) => {
            return Err(MetadataFault::new(
                "token_endpoint_auth_method must be none, client_secret_basic or client_secret_post.",
            ));
        }
    };
    let platform = match (method, application_type) {
        (AuthMethod::Basic | AuthMethod::Post, "spa") => {
            return Err(MetadataFault::new(
                "A script in a browser keeps no secret: use token_endpoint_auth_method none.",
            ));
        }
        (AuthMethod::Basic | AuthMethod::Post, _) => Platform::Web,
        (AuthMethod::None, "spa") => Platform::Spa,
        (AuthMethod::None, _) => Platform::Public,
    };
    match (platform.is_confidential(), settings.confidential_clients, settings.public_clients) {
        (true, false, _) => Err(MetadataFault::new(
            "Only public clients may register here: use token_endpoint_auth_method none, and PKCE.",
        )),
        (false, _, false) => Err(MetadataFault::new(
            "Only confidential clients may register here: use token_endpoint_auth_method client_secret_basic.",
        )),
        (true, true, _) | (false, _, true) => Ok((method, platform, application_type)),
    }
}

fn keys(asked: &Object) -> Result<(), MetadataFault> {
    let given = |name| asked.get(name).is_some_and(|value| !value.is_null());
    if given("jwks") && given("jwks_uri") {
        return Err(MetadataFault::new("jwks and jwks_uri must not be sent together."));
    }
    Ok(())
}

fn redirect_uris(
    asked: &Object,
    platform: Platform,
    settings: &Registration,
) -> Result<Vec<RedirectUri>, MetadataFault> {
    let texts = list(asked, "redirect_uris", MAX_REDIRECT_URIS)
        .map_err(|fault| MetadataFault { error: MetadataError::RedirectUri, ..fault })?;
    let mut uris: Vec<RedirectUri> = Vec::new();
    for (at, text) in texts.unwrap_or_default().into_iter().enumerate() {
        let uri = RedirectUri::parse(text)
            .map_err(|fault| MetadataFault::uri(format!("redirect_uris[{at}] {}.", fault.sentence())))?;
        match (uri.kind(), platform) {
            (Kind::App(_), Platform::Spa | Platform::Web) => {
                return Err(MetadataFault::uri(format!(
                    "redirect_uris[{at}]: a scheme of its own is for public clients (token_endpoint_auth_method none)."
                )));
            }
            (Kind::App(_), Platform::Public) | (Kind::Https | Kind::Loopback, _) => {}
        }
        if !settings.redirect_uris.iter().any(|pattern| pattern.admits(&uri)) {
            return Err(MetadataFault::uri(format!("redirect_uris[{at}] is not one that clients may have here.")));
        }
        if !uris.contains(&uri) {
            uris.push(uri);
        }
    }
    Ok(uris)
}

/// Entra has no such field. What it has for a client follows from its platform, and is what the client is told.
fn grant_types(asked: &Object, platform: Platform, redirects: bool) -> Result<Vec<&'static str>, MetadataFault> {
    let wanted = list(asked, "grant_types", MAX_ELEMENTS)?.unwrap_or_else(|| vec!["authorization_code"]);
    let code = wanted.contains(&"authorization_code");
    let own = wanted.contains(&"client_credentials");
    if code && !redirects {
        return Err(MetadataFault::uri("redirect_uris is required for the grant type authorization_code."));
    }
    match platform {
        Platform::Public | Platform::Spa if code => Ok(vec!["authorization_code", "refresh_token"]),
        Platform::Public | Platform::Spa => {
            Err(MetadataFault::new("grant_types must hold authorization_code: a public client has no other."))
        }
        Platform::Web if code => Ok(vec!["authorization_code", "refresh_token", "client_credentials"]),
        Platform::Web if own => Ok(vec!["client_credentials"]),
        Platform::Web => Err(MetadataFault::new("grant_types must hold authorization_code or client_credentials.")),
    }
}

/// RFC 7591 section 2.1: what is asked of the two must fit together.
fn response_types(asked: &Object, grant_types: &[&str]) -> Result<(), MetadataFault> {
    let Some(wanted) = list(asked, "response_types", MAX_ELEMENTS)? else {
        return Ok(());
    };
    let code = grant_types.contains(&"authorization_code");
    if code && !wanted.contains(&"code") {
        return Err(MetadataFault::new("response_types must hold code for the grant type authorization_code."));
    }
    Ok(())
}

fn name(asked: &Object, settings: &Registration) -> Result<String, MetadataFault> {
    let own = text(asked, "client_name")?.or(text(asked, "software_id")?).unwrap_or("unnamed client").trim();
    // Right-to-left marks and their like make a consent page say something else.
    if own.chars().any(|character| character.is_control() || is_invisible(character)) {
        return Err(MetadataFault::new("client_name must not hold control characters."));
    }
    let name = format!("{}{own}", settings.display_name_prefix);
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(MetadataFault::new("client_name is too long."));
    }
    Ok(name)
}

/// Unicode's format characters (category Cf) outside of scripts, and its line separators.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The granted ones of those that were asked for. Without any, all that users can grant: RFC 7591 lets the server choose.
fn scopes(asked: &Object, platform: Platform, settings: &Registration) -> Result<Vec<String>, MetadataFault> {
    let may_have = |scope: &&Scope| scope.kind == ScopeKind::Delegated || platform.is_confidential();
    let Some(wanted) = text(asked, "scope")? else {
        let delegated = settings.scopes.iter().filter(|scope| scope.kind == ScopeKind::Delegated);
        return Ok(delegated.map(|scope| scope.name.clone()).collect());
    };
    if wanted.chars().count() > MAX_SCOPE_CHARS {
        return Err(MetadataFault::new("scope is too long."));
    }
    let mut granted: Vec<String> = Vec::new();
    for name in wanted.split_ascii_whitespace() {
        let known =
            SIGN_IN_SCOPES.contains(&name) || settings.scopes.iter().filter(may_have).any(|scope| scope.name == name);
        if known && !granted.iter().any(|already| already == name) {
            granted.push(name.to_owned());
        }
    }
    Ok(granted)
}

/// A page for people; nothing here fetches it.
fn address(asked: &Object, name: &str) -> Result<Option<String>, MetadataFault> {
    let Some(text) = text(asked, name)? else {
        return Ok(None);
    };
    let web = ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if !web || text.chars().count() > MAX_TEXT_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(MetadataFault::new(format!("{name} must be an address of at most {MAX_TEXT_CHARS} characters.")));
    }
    Ok(Some(text.to_owned()))
}

fn contacts(asked: &Object) -> Result<Vec<String>, MetadataFault> {
    let contacts = list(asked, "contacts", MAX_ELEMENTS)?.unwrap_or_default();
    if contacts.iter().any(|contact| !is_plain(contact)) {
        return Err(MetadataFault::new(format!(
            "contacts must be printable, of at most {MAX_TEXT_CHARS} characters each."
        )));
    }
    Ok(contacts.into_iter().map(str::to_owned).collect())
}

fn plain(asked: &Object, name: &str) -> Result<Option<String>, MetadataFault> {
    match text(asked, name)? {
        Some(text) if !is_plain(text) => {
            Err(MetadataFault::new(format!("{name} must be printable, of at most {MAX_TEXT_CHARS} characters.")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn is_plain(text: &str) -> bool {
    text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(char::is_control)
}
