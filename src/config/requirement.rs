//! `require` of a rule: what it asks of a token, and whether any token of its providers could have it.

use super::claims;
use super::node::{Members, Node};
use crate::policy::claim::Needs;
use crate::policy::permission::{RequiredPermissions, Scopes, TokenKind};
use crate::policy::provider::{Kind, Provider};
use crate::policy::rules::Requirement;

pub(super) const MEMBERS: [&str; 9] = [
    "app_roles",
    "audiences",
    "claims",
    "client_applications",
    "providers",
    "scopes",
    "scopes_match",
    "token_kinds",
    "user_roles",
];
const NOT_YET: [&str; 1] = ["auth_context"];

/// The providers that rules can name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Their names, in their order.
    pub(super) names: &'a [&'a str],
    /// What they are; none if one of them has a mistake.
    pub(super) providers: Option<&'a [Provider]>,
}

pub(super) fn compile(node: &Node<'_>, known: Known<'_>) -> Option<Requirement> {
    let members = node.object(&MEMBERS, &NOT_YET)?;
    let providers = members.optional("providers", |node| {
        node.list(|node| {
            let name = node.text()?;
            match known.names.iter().position(|known| *known == name) {
                Some(at) => Some(at),
                None => node.mistake(&format!("a provider's name: one of {}", known.names.join(", "))),
            }
        })
    });
    let accepted = known.accepted(providers.as_ref());
    let audiences = members
        .optional("audiences", |node| narrowing(node, &accepted, "audience", |provider| Some(&provider.audiences)));
    let client_applications = members.optional("client_applications", |node| {
        narrowing(node, &accepted, "client application", |provider| provider.client_applications.as_deref())
    });
    let claims = members.get("claims").map_or(Some(Vec::new()), |node| claims::compile(&node));
    let permissions = permissions(&members, &accepted);
    Some(Requirement {
        providers: providers?,
        audiences: audiences?,
        client_applications: client_applications?,
        claims: claims?,
        permissions: permissions?,
    })
}

/// The providers whose tokens a rule accepts; none if that is not known yet.
struct Accepted<'a> {
    providers: Option<Vec<&'a Provider>>,
    /// Whether the rule names them: then each must have a chance.
    named: bool,
}

impl<'a> Known<'a> {
    fn accepted(&self, named: Option<&Option<Vec<usize>>>) -> Accepted<'a> {
        let providers = match (self.providers, named) {
            (Some(all), Some(Some(named))) => Some(named.iter().filter_map(|at| all.get(*at)).collect()),
            (Some(all), Some(None)) => Some(all.iter().collect()),
            (None, _) | (_, None) => None,
        };
        Accepted { providers, named: matches!(named, Some(Some(_))) }
    }
}

impl Accepted<'_> {
    /// Whether a provider may be of another kind than Entra's.
    fn may_be_foreign(&self) -> bool {
        self.providers.as_ref().is_none_or(|all| all.iter().any(|provider| provider.kind == Kind::Oidc))
    }
}

/// Texts that narrow what the providers accept: what none of them accepts could never pass.
fn narrowing(
    node: &Node<'_>,
    accepted: &Accepted<'_>,
    what: &str,
    of_provider: impl Fn(&Provider) -> Option<&[String]>,
) -> Option<Vec<String>> {
    let providers = accepted.providers.as_deref().unwrap_or_default();
    let takes =
        |provider: &Provider, text: &str| of_provider(provider).is_none_or(|all| all.iter().any(|known| known == text));
    let texts: Vec<String> = node.list(|node| {
        let text = node.text()?;
        if providers.is_empty() || providers.iter().any(|provider| takes(provider, text)) {
            return Some(text.to_owned());
        }
        let known: Vec<&str> =
            providers.iter().filter_map(|provider| of_provider(provider)).flatten().map(String::as_str).collect();
        node.mistake(&format!("a {what} that a provider of this rule accepts: one of {}", known.join(", ")))
    })?;
    let hopeless = providers.iter().find(|provider| !texts.iter().any(|text| takes(provider, text)));
    match hopeless.filter(|_| accepted.named) {
        Some(provider) => node.mistake_of(
            &format!("no {what} of provider {}", provider.name),
            "one for each provider that the rule names: its tokens could never pass",
        ),
        None => Some(texts),
    }
}

fn permissions(members: &Members<'_>, accepted: &Accepted<'_>) -> Option<Option<RequiredPermissions>> {
    let scopes = members.optional("scopes", |node| node.list(|node| scope(node, accepted)));
    let needs = members.get("scopes_match").map_or(Some(Needs::Any), |node| claims::needs(&node));
    if members.get("scopes").is_none() {
        members.forbidden("scopes_match", "it is for `scopes`");
    }
    let app_roles = members.optional("app_roles", |node| node.list(permission));
    let user_roles = members.optional("user_roles", |node| node.list(permission));
    let kinds = members.optional("token_kinds", |node| {
        node.list(|node| node.choice(&[("app", TokenKind::App), ("user", TokenKind::User)]))
    });
    let (scopes, needs, app_roles, user_roles, kinds) = (scopes?, needs?, app_roles?, user_roles?, kinds?);
    if let Some(kinds) = &kinds {
        refuse_contradictions(members, accepted, kinds);
    }
    let kind = match kinds.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => Some(*first),
        Some(_) | None => None,
    };
    let required =
        RequiredPermissions { kind, scopes: scopes.map(|names| Scopes { names, needs }), app_roles, user_roles };
    Some((required != RequiredPermissions::default()).then_some(required))
}

/// A kind of token that is listed must have a chance, and a permission that is listed must count for a listed kind.
fn refuse_contradictions(members: &Members<'_>, accepted: &Accepted<'_>, kinds: &[TokenKind]) {
    let has = |name: &str| members.get(name).is_some();
    // Other providers grant scopes to applications too.
    let scopes_for_apps = has("scopes") && accepted.may_be_foreign();
    let (for_users, for_apps) = (has("scopes") || has("user_roles"), has("app_roles") || scopes_for_apps);
    let node = members.at("token_kinds");
    if kinds.contains(&TokenKind::User) {
        if for_apps && !for_users {
            node.mistake_of::<()>("user", "`scopes` or `user_roles` beside it: `app_roles` grant a user nothing");
        }
    } else {
        members.forbidden("user_roles", "`token_kinds` has no user");
        if !scopes_for_apps {
            members.forbidden("scopes", "`token_kinds` has no user");
        }
    }
    if kinds.contains(&TokenKind::App) {
        if for_users && !for_apps {
            node.mistake_of::<()>("app", "`app_roles` beside it: scopes and user roles grant an application nothing");
        }
    } else {
        members.forbidden("app_roles", "`token_kinds` has no app");
    }
}

/// The name of a permission, as a challenge can hold it (RFC 6750 section 3, `scope-token`).
fn permission(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    if name.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        Some(name.to_owned())
    } else {
        node.mistake("the name of one permission, without spaces")
    }
}

/// A scope, as `scp` holds it. Clients request it by its API's URI, but no token of Entra has it so.
fn scope(node: &Node<'_>, accepted: &Accepted<'_>) -> Option<String> {
    let name = permission(node)?;
    if name.contains("://") && !accepted.may_be_foreign() {
        let bare = name.rsplit('/').next().unwrap_or_default();
        return node.mistake(&format!("the name alone, as tokens hold it: {bare}"));
    }
    Some(name)
}
