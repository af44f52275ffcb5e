//! The authorization and token endpoints (RFC 6749, PKCE: RFC 7636), with Entra's errors.
//!
//! Follows Microsoft's «OAuth 2.0 authorization code flow» and «client credentials flow». There is no login page: one user is always signed in.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest;
use serde_json::{Value, json};

use crate::assertion;
use crate::authority::{Authority, Kind, Version};
use crate::directory::Directory;
use crate::question::{Question, Resource};
use crate::refusal::Refusal;
use crate::registration::{Api, BRIDGE, Client, GRAPH, Platform, READER};
use crate::token::{self, MintError, TokenRequest, USER, opaque};

/// Codes are good for ten minutes at most (RFC 6749 section 4.1.2).
const CODE_LIFETIME: i64 = 600;
const RESERVED_SCOPES: [&str; 4] = ["email", "offline_access", "openid", "profile"];

/// An authorization code and what it is bound to.
#[derive(Debug)]
pub(crate) struct Code {
    client: String,
    redirect_uri: String,
    challenge: Option<String>,
    nonce: Option<String>,
    wanted: Wanted,
    expires: i64,
}

/// A refresh token and what it is bound to.
#[derive(Clone, Debug)]
pub(crate) struct RefreshToken {
    client: String,
    wanted: Wanted,
}

/// What was asked for: at most one API per request, as in Entra.
#[derive(Clone, Debug)]
struct Wanted {
    api: Option<&'static Api>,
    /// As they were asked, to be echoed.
    scope: String,
    openid: bool,
    offline_access: bool,
}

type Form = HashMap<String, String>;

impl Directory {
    /// Answers the authorization endpoint: the URL to redirect to, carrying code and state.
    pub fn authorize(&mut self, host: &str, path_and_query: &str, now: i64) -> Result<String, Refusal> {
        let question = asked(host, path_and_query, Resource::Authorize)?;
        let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
        let form: Form = form_urlencoded::parse(query.as_bytes()).into_owned().collect();

        let client = self.client_of(&form, now)?;
        let redirect_uri = required(&form, "redirect_uri")?;
        if client.platform(redirect_uri).is_none() {
            let description = format!(
                "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for the application '{}'.",
                client.app_id,
            );
            return Err(Refusal::new(400, "invalid_request", 50011, description));
        }
        if required(&form, "response_type")? != "code" {
            let description =
                "The provided value for the input parameter 'response_type' is not allowed for this client.";
            return Err(Refusal::new(400, "unsupported_response_type", 70005, description));
        }
        let challenge = match (form.get("code_challenge"), form.get("code_challenge_method").map(String::as_str)) {
            (None, _) => None,
            (Some(challenge), Some("S256")) => Some(challenge.clone()),
            (Some(_), _) => {
                let description = "The mock supports the code_challenge_method S256 only.";
                return Err(Refusal::new(400, "invalid_request", 501491, description));
            }
        };
        let code = Code {
            client: client.app_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            challenge,
            nonce: form.get("nonce").cloned(),
            wanted: wanted(&question, &form)?,
            expires: now + CODE_LIFETIME,
        };
        let name = format!("1.{}", opaque());
        self.codes.insert(name.clone(), code);

        let mut answer = form_urlencoded::Serializer::new(String::new());
        answer.append_pair("code", &name);
        if let Some(state) = form.get("state") {
            answer.append_pair("state", state);
        }
        let separator = if redirect_uri.contains('?') { '&' } else { '?' };
        Ok(format!("{redirect_uri}{separator}{}", answer.finish()))
    }

    /// Answers the token endpoint. `body` is the form; `authorization` is that header, where the client sent one.
    pub fn token(
        &mut self,
        host: &str,
        path_and_query: &str,
        authorization: Option<&str>,
        body: &[u8],
        now: i64,
    ) -> Result<Value, Refusal> {
        self.token_from(None, host, path_and_query, authorization, body, now)
    }

    /// The same for a script of an origin.
    pub fn token_from(
        &mut self,
        origin: Option<&str>,
        host: &str,
        path_and_query: &str,
        authorization: Option<&str>,
        body: &[u8],
        now: i64,
    ) -> Result<Value, Refusal> {
        let question = asked(host, path_and_query, Resource::Token)?;
        let mut form: Form = form_urlencoded::parse(body).into_owned().collect();
        if let Some((name, secret)) = authorization.and_then(basic) {
            form.insert("client_id".to_owned(), name);
            form.insert("client_secret".to_owned(), secret);
        }
        let grant = required(&form, "grant_type")?;
        let client = self.client_of(&form, now)?;
        // The platform of the redirect URI decides for a code, the application itself for all else.
        let platform = match (grant, form.get("redirect_uri")) {
            ("authorization_code", Some(redirect_uri)) => client.platform(redirect_uri),
            _ if client.is_public() => Some(Platform::Public),
            _ => Some(Platform::Web),
        };
        let is_asserted = match (form.get("client_assertion"), platform) {
            (Some(assertion), Some(Platform::Web)) if !client.certificates.is_empty() => {
                if required(&form, "client_assertion_type")? != assertion::TYPE {
                    return Err(Refusal::new(400, "invalid_request", 900_144, "The client_assertion_type is unknown."));
                }
                let path = path_and_query.split('?').next().unwrap_or_default();
                let audience = format!("https://{host}{path}");
                let used = &mut self.assertions;
                assertion::verify(assertion, &client.app_id, &client.certificates, &audience, used, now)?;
                true
            }
            _ => false,
        };
        if !is_asserted {
            authenticate(&client, platform, form.get("client_secret").map(String::as_str))?;
        }
        if grant == "authorization_code" && client.redirects.is_some() {
            match (platform, origin) {
                (Some(Platform::Spa), None) => {
                    let description = "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.";
                    return Err(Refusal::new(400, "invalid_request", 9_002_327, description));
                }
                (Some(Platform::Public | Platform::Web), Some(_)) => {
                    let description = "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.";
                    return Err(Refusal::new(400, "invalid_request", 9_002_326, description));
                }
                _ => {}
            }
        }
        match grant {
            "authorization_code" => self.redeem(&question, &client, &form, now),
            "client_credentials" => self.client_credentials(&question, &client, &form, now),
            "refresh_token" => self.refresh(&question, &client, &form, now),
            _ => Err(Refusal::new(
                400,
                "unsupported_grant_type",
                70003,
                format!("The app requested an unsupported grant type '{grant}'."),
            )),
        }
    }

    fn client_credentials(
        &mut self,
        question: &Question,
        client: &Client,
        form: &Form,
        now: i64,
    ) -> Result<Value, Refusal> {
        if client.is_public() {
            let description = "A public client cannot use the client credentials flow.";
            return Err(Refusal::new(401, "unauthorized_client", 700_025, description));
        }
        let scope = form.get("scope").map_or("", String::as_str);
        if question.version == Version::V2 && !scope.ends_with("/.default") {
            let description = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
            );
            return Err(Refusal::new(400, "invalid_scope", 1_002_012, description));
        }
        if !client.principal {
            let description =
                format!("The client application {} is missing service principal in the tenant.", client.app_id);
            return Err(Refusal::new(401, "invalid_client", 7_000_229, description));
        }
        let api = wanted(question, form)?.api.ok_or_else(|| invalid_resource(scope))?;
        // Nobody has granted it to the others.
        let is_granted = api.app_id != GRAPH.app_id || [BRIDGE, READER].contains(&client.app_id.as_str());
        let roles = if is_granted { vec![api.role.to_owned()] } else { Vec::new() };
        let request = TokenRequest { roles, ..access(&question.authority, api, &client.app_id) };
        let minted = self.mint(&request, now).map_err(|error| server_error(&error))?;
        if api.app_id == GRAPH.app_id && is_granted {
            self.graph.know(&minted.access_token, &client.app_id);
        }
        Ok(answer(question, minted.access_token, Some(api), now))
    }

    fn redeem(&mut self, question: &Question, client: &Client, form: &Form, now: i64) -> Result<Value, Refusal> {
        let name = required(form, "code")?;
        // Taken out first: a code is good for one attempt, right or wrong.
        let code = self.codes.remove(name).ok_or_else(|| {
            invalid_grant(
                54005,
                "OAuth2 Authorization code was already redeemed or never issued, please retry with a new valid code.",
            )
        })?;
        if code.client != client.app_id {
            return Err(invalid_grant(700_005, "Provided Authorization Code is intended to use against other client."));
        }
        if code.expires < now {
            return Err(invalid_grant(70008, "The provided authorization code or refresh token has expired."));
        }
        if form.get("redirect_uri") != Some(&code.redirect_uri) {
            return Err(invalid_grant(
                500_112,
                "The reply address does not match the reply address provided when requesting Authorization code.",
            ));
        }
        match (&code.challenge, form.get("code_verifier")) {
            (None, _) => {}
            (Some(_), None) => return Err(missing("code_verifier")),
            (Some(challenge), Some(verifier)) => {
                let digest = digest::digest(&digest::SHA256, verifier.as_bytes());
                if URL_SAFE_NO_PAD.encode(digest) != *challenge {
                    return Err(invalid_grant(
                        501_481,
                        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
                    ));
                }
            }
        }
        // A resource at the token endpoint is held against the scope that the code is for.
        let scope = form.get("scope").cloned().unwrap_or_else(|| code.wanted.scope.clone());
        let asked = Form::from_iter([("scope".to_owned(), scope)].into_iter().chain(resource_of(form)));
        wanted(question, &asked)?;
        self.answer_user(question, client, &code.wanted, code.nonce.as_deref(), form, now)
    }

    fn refresh(&mut self, question: &Question, client: &Client, form: &Form, now: i64) -> Result<Value, Refusal> {
        let name = required(form, "refresh_token")?;
        let token = self.refresh_tokens.get(name).cloned().filter(|token| token.client == client.app_id);
        let Some(token) = token else {
            return Err(invalid_grant(9_002_313, "Invalid request. Request is malformed or invalid."));
        };
        // A refresh token of Entra is good for any API, so the scope of this request counts.
        let asks_api = form.contains_key("scope") || form.contains_key("resource");
        let wanted = if asks_api { wanted(question, form)? } else { token.wanted };
        self.answer_user(question, client, &wanted, None, form, now)
    }

    fn answer_user(
        &mut self,
        question: &Question,
        client: &Client,
        wanted: &Wanted,
        nonce: Option<&str>,
        form: &Form,
        now: i64,
    ) -> Result<Value, Refusal> {
        let authority = &question.authority;
        let request = match wanted.api {
            Some(api) => {
                TokenRequest { scopes: Some(Some(api.scope.to_owned())), ..access(authority, api, &client.app_id) }
            }
            // Without an API, Entra gives a token for Graph, which is nobody else's business.
            None => TokenRequest {
                audience: Some("00000003-0000-0000-c000-000000000000".to_owned()),
                client: Some(client.app_id.clone()),
                scopes: Some(Some(wanted.scope.clone())),
                ..TokenRequest::of(authority)
            },
        };
        let minted = self.mint(&request, now).map_err(|error| server_error(&error))?;
        let mut answer = answer(question, minted.access_token, wanted.api, now);
        answer["scope"] = json!(wanted.scope);
        if wanted.openid {
            let id_token = token::id_token(&self.publication, authority, question.version, &client.app_id, nonce, now)
                .map_err(|error| server_error(&error))?;
            answer["id_token"] = json!(id_token.access_token);
        }
        if wanted.offline_access || question.version == Version::V1 {
            let name = format!("1.{}", opaque());
            let token = RefreshToken { client: client.app_id.clone(), wanted: wanted.clone() };
            self.refresh_tokens.insert(name.clone(), token);
            answer["refresh_token"] = json!(name);
        }
        if form.get("client_info").is_some_and(|value| value == "1") {
            let info = json!({"uid": USER, "utid": authority.tenant()});
            answer["client_info"] = json!(URL_SAFE_NO_PAD.encode(info.to_string()));
        }
        Ok(answer)
    }
}

impl Directory {
    fn client_of(&mut self, form: &Form, now: i64) -> Result<Client, Refusal> {
        let app_id = required(form, "client_id")?;
        let found = Client::named(app_id).or_else(|| self.graph.client(app_id, now));
        found.ok_or_else(|| {
            let description = format!("Application with identifier '{app_id}' was not found in the directory.");
            Refusal::new(400, "unauthorized_client", 700_016, description)
        })
    }
}

fn asked(host: &str, path_and_query: &str, resource: Resource) -> Result<Question, Refusal> {
    Question::of_url(host, path_and_query)
        .filter(|question| question.resource == resource)
        .ok_or_else(Refusal::invalid_tenant)
}

/// The API's registration decides the version, whichever endpoint was called.
fn access(authority: &Authority, api: &'static Api, client: &str) -> TokenRequest {
    // B2C and the generic provider know the application ID only.
    let version = match authority.kind() {
        Kind::B2c | Kind::Oidc => Version::V2,
        Kind::ExternalId | Kind::Workforce => api.version,
    };
    TokenRequest {
        version: Some(version),
        audience: Some(api.audience(version).to_owned()),
        client: Some(client.to_owned()),
        ..TokenRequest::of(authority)
    }
}

fn answer(question: &Question, access_token: String, api: Option<&Api>, now: i64) -> Value {
    match question.version {
        // v1 writes numbers as text.
        Version::V1 => json!({
            "token_type": "Bearer",
            "expires_in": "3599",
            "ext_expires_in": "3599",
            "expires_on": (now + 3600).to_string(),
            "not_before": (now - 300).to_string(),
            "resource": api.map(|api| api.uri),
            "access_token": access_token,
        }),
        Version::V2 => {
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": access_token})
        }
    }
}

fn wanted(question: &Question, form: &Form) -> Result<Wanted, Refusal> {
    let scope = form.get("scope").cloned().unwrap_or_default();
    let mut wanted = Wanted { api: None, openid: false, offline_access: false, scope: scope.clone() };
    for item in scope.split_whitespace() {
        wanted.openid |= item == "openid";
        wanted.offline_access |= item == "offline_access";
        if RESERVED_SCOPES.contains(&item) {
            continue;
        }
        let (resource, permission) = item.rsplit_once('/').ok_or_else(|| invalid_scope(item))?;
        let api = Api::named(resource).ok_or_else(|| invalid_resource(resource))?;
        if permission != ".default" && permission != api.scope {
            return Err(invalid_scope(item));
        }
        if wanted.api.is_some_and(|other| other.app_id != api.app_id) {
            let description =
                "Provided value for the input parameter scope is not valid because it contains more than one resource.";
            return Err(Refusal::new(400, "invalid_request", 28000, description));
        }
        wanted.api = Some(api);
    }
    match (question.version, form.get("resource")) {
        (Version::V1, Some(resource)) => {
            wanted.api = Some(Api::named(resource).ok_or_else(|| invalid_resource(resource))?);
        }
        // RFC 8707 as Entra reads it: a second name of what the scope asks for.
        (Version::V2, Some(resource)) if !wanted.api.is_some_and(|api| api.has_uri(resource)) => {
            let description = "The resource parameter provided in the request doesn't match with the requested scopes.";
            return Err(Refusal::new(400, "invalid_target", 9_010_010, description));
        }
        (Version::V1 | Version::V2, _) => {}
    }
    Ok(wanted)
}

fn resource_of(form: &Form) -> Option<(String, String)> {
    form.get("resource").map(|resource| ("resource".to_owned(), resource.clone()))
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
}

fn authenticate(client: &Client, platform: Option<Platform>, secret: Option<&str>) -> Result<(), Refusal> {
    let refuse = |code, description| Err(Refusal::new(401, "invalid_client", code, description));
    match (platform, secret) {
        (Some(Platform::Public | Platform::Spa), None) => Ok(()),
        (Some(Platform::Public | Platform::Spa), Some(_)) => {
            refuse(700_025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
        }
        (Some(Platform::Web) | None, None) => refuse(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ),
        // All are worthless, so the comparison need not be constant in time.
        (_, Some(secret)) if client.secrets.iter().any(|known| known == secret) => Ok(()),
        (_, Some(_)) => refuse(
            7_000_215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
        ),
    }
}

/// HTTP Basic with both parts form-encoded (RFC 6749 section 2.3.1).
fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (name, secret) = credentials.split_once(':')?;
    let decode = |part: &str| form_urlencoded::parse(part.as_bytes()).next().map(|(part, _)| part.into_owned());
    Some((decode(name)?, decode(secret)?))
}

fn missing(name: &str) -> Refusal {
    let description = format!("The request body must contain the following parameter: '{name}'.");
    Refusal::new(400, "invalid_request", 900_144, description)
}

fn invalid_grant(code: u32, description: &str) -> Refusal {
    Refusal::new(400, "invalid_grant", code, description)
}

fn invalid_resource(resource: &str) -> Refusal {
    let description = format!("The resource principal named {resource} was not found in the tenant.");
    Refusal::new(400, "invalid_resource", 500_011, description)
}

fn invalid_scope(scope: &str) -> Refusal {
    let description =
        format!("The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.");
    Refusal::new(400, "invalid_scope", 70011, description)
}

fn server_error(error: &MintError) -> Refusal {
    Refusal::new(500, "server_error", 90033, error.to_string())
}
