//! `require` of a rule: what it asks of a token, and whether any token of its providers could have it.

use super::claims;
use super::node::{Members, Node};
use crate::policy::claim::Needs;
use crate::policy::permission::{RequiredPermissions, Scopes, TokenKind};
use crate::policy::provider::{Kind, Provider};
use crate::policy::requirement::Requirement;

pub(super) const MEMBERS: [&str; 10] = [
    "app_roles",
    "audiences",
    "auth_context",
    "claims",
    "client_applications",
    "providers",
    "scopes",
    "scopes_match",
    "token_kinds",
    "user_roles",
];

/// The providers that rules can name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Their names, in their order.
    pub(super) names: &'a [&'a str],
    /// What they are; none if one of them has a mistake.
    pub(super) providers: Option<&'a [Provider]>,
}

pub(super) fn compile(node: &Node<'_>, known: Known<'_>) -> Option<Requirement> {
    let members = node.object(&MEMBERS)?;
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
        .optional("audiences", |node| narrowing(node, &accepted, "an audience", |provider| Some(&provider.audiences)));
    let client_applications = members.optional("client_applications", |node| {
        narrowing(node, &accepted, "a client", |provider| provider.client_applications.as_deref())
    });
    let claims = members.get("claims").map_or(Some(Vec::new()), |node| claims::compile(&node));
    let permissions = permissions(&members, &accepted);
    let auth_context = members.optional("auth_context", context);
    Some(Requirement {
        providers: providers?,
        audiences: audiences?,
        client_applications: client_applications?,
        claims: claims?,
        permissions: permissions?,
        auth_context: auth_context?,
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
    of_provider: fn(&Provider) -> Option<&[String]>,
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
        node.mistake(&format!("{what} that a provider of this rule accepts: one of {}", known.join(", ")))
    })?;
    let hopeless = providers.iter().find(|provider| !texts.iter().any(|text| takes(provider, text)));
    match hopeless.filter(|_| accepted.named) {
        Some(provider) => node.mistake_of(
            &format!("none of provider {}", provider.name),
            &format!("{what} of each provider that the rule names, else its tokens could never pass"),
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
    match (kinds.contains(&TokenKind::User), kinds.contains(&TokenKind::App)) {
        (true, true) => {
            let node = members.at("token_kinds");
            if for_apps && !for_users {
                node.mistake_of::<()>("user", "`scopes` or `user_roles` beside it: `app_roles` grant a user nothing");
            }
            if for_users && !for_apps {
                node.mistake_of::<()>(
                    "app",
                    "`app_roles` beside it: scopes and user roles grant an application nothing",
                );
            }
        }
        (_, false) => members.forbidden("app_roles", "`token_kinds` has no app"),
        (false, true) => {
            members.forbidden("auth_context", "`token_kinds` has no user, who alone can sign in more strongly");
            members.forbidden("user_roles", "`token_kinds` has no user");
            if !scopes_for_apps {
                members.forbidden("scopes", "`token_kinds` has no user");
            }
        }
    }
}

/// An authentication context: an identifier of the tenant's, c1 to c99, but for the characters that an answer may hold.
fn context(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte)) {
        Some(text.to_owned())
    } else {
        node.mistake("the identifier of an authentication context, such as c1")
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::compile;
    use crate::policy::Policy;
    use crate::policy::claim::{Condition, Needs, Scalar};
    use crate::policy::permission::{RequiredPermissions, TokenKind};
    use crate::policy::requirement::Requirement;
    use crate::policy::rules::Selection;

    const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";

    /// Two providers of Entra, and one of another kind.
    fn document(require: &Value) -> Value {
        let entra = |audience: &str, more: Value| {
            let mut provider = json!({"tenants": [TENANT], "audiences": [audience], "upstream": {"cluster": "c"}});
            provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            provider
        };
        let foreign = json!({
            "kind": "oidc",
            "metadata_url": "https://idp.example/.well-known/openid-configuration",
            "audiences": ["api://foreign"],
            "upstream": {"cluster": "c"},
        });
        let rule = json!({"match": {"prefix": "/"}, "require": require});
        let (orders, stock) = (json!({"client_applications": ["shop"]}), json!({}));
        let providers =
            json!({"foreign": foreign, "orders": entra("api://orders", orders), "stock": entra("api://stock", stock)});
        json!({"providers": providers, "rules": [rule]})
    }

    fn mistakes(require: &Value) -> Vec<String> {
        match compile(document(require).to_string().as_bytes()) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        }
    }

    fn requirement(require: &Value) -> Requirement {
        let policy: Policy = compile(document(require).to_string().as_bytes()).unwrap_or_else(|all| panic!("{all:?}"));
        match policy.rules.select("GET", "h", "/") {
            Selection::Token { requirements, .. } => requirements[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_is_compiled_once() {
        assert_eq!(requirement(&json!({})), Requirement::ANY);
        assert_eq!(requirement(&json!({"token_kinds": ["user", "app"]})), Requirement::ANY);
        let kind = |kinds: Value| requirement(&json!({"token_kinds": kinds})).permissions.unwrap().kind;
        assert_eq!(kind(json!(["app"])), Some(TokenKind::App));
        assert_eq!(kind(json!(["user", "user"])), Some(TokenKind::User));
        let RequiredPermissions { scopes, app_roles, user_roles, .. } =
            requirement(&json!({"scopes": ["a", "b"], "app_roles": ["c"], "user_roles": ["d"]})).permissions.unwrap();
        assert_eq!(scopes.map(|scopes| (scopes.names, scopes.needs)), Some((vec!["a".into(), "b".into()], Needs::Any)));
        assert_eq!((app_roles, user_roles), (Some(vec!["c".into()]), Some(vec!["d".into()])));
        let claims = requirement(&json!({"claims": [
            {"name": "a.b"},
            {"name": "c", "values": ["x", 1, true]},
            {"name": "d", "match": "any", "separator": ",", "values": ["x y"]},
        ]}))
        .claims;
        assert_eq!(claims[0].condition, Condition::Present);
        let values = vec![Scalar::Text("x".into()), Scalar::Whole(1), Scalar::Flag(true)];
        assert_eq!(claims[1].condition, Condition::Values { needs: Needs::All, values, separator: None });
        let (values, separator) = (vec![Scalar::Text("x y".into())], Some(",".into()));
        assert_eq!(claims[2].condition, Condition::Values { needs: Needs::Any, values, separator });
    }

    #[test]
    fn what_no_token_could_have_is_a_mistake() {
        let orders = |require: Value| {
            let mut require = require;
            require["providers"] = json!(["orders"]);
            require
        };
        for (require, start) in [
            (json!({"scopes": []}), "rules[0].require.scopes: found an empty list"),
            (
                json!({"scopes": ["a b"]}),
                "rules[0].require.scopes[0]: found \"a b\", expected the name of one permission",
            ),
            (json!({"app_roles": ["a\u{e9}"]}), "rules[0].require.app_roles[0]"),
            (json!({"user_roles": ["a\""]}), "rules[0].require.user_roles[0]"),
            (json!({"scope": ["a"]}), "rules[0].require.scope: found an unknown member, expected `scopes`, perhaps"),
            (
                orders(json!({"scopes": ["api://orders/Orders.Read"]})),
                "rules[0].require.scopes[0]: found \"api://orders/Orders.Read\", expected the name alone, as tokens hold \
                 it: Orders.Read",
            ),
            (json!({"scopes_match": "all"}), "rules[0].require.scopes_match: found this member"),
            (json!({"scopes": ["a"], "scopes_match": "some"}), "rules[0].require.scopes_match: found \"some\""),
            (json!({"token_kinds": ["device"]}), "rules[0].require.token_kinds[0]"),
            (json!({"auth_context": "c1 c2"}), "rules[0].require.auth_context: found \"c1 c2\""),
            (json!({"auth_context": ["c1"]}), "rules[0].require.auth_context: found a list"),
            (
                json!({"token_kinds": ["app"], "auth_context": "c1"}),
                "rules[0].require.auth_context: found this member, expected no `auth_context`: `token_kinds` has no user",
            ),
            (orders(json!({"token_kinds": ["app"], "scopes": ["a"]})), "rules[0].require.scopes: found this member"),
            (json!({"token_kinds": ["app"], "user_roles": ["a"]}), "rules[0].require.user_roles: found this member"),
            (json!({"token_kinds": ["user"], "app_roles": ["a"]}), "rules[0].require.app_roles: found this member"),
            (
                orders(json!({"token_kinds": ["user", "app"], "scopes": ["a"]})),
                "rules[0].require.token_kinds: found app, expected `app_roles` beside it",
            ),
            (
                json!({"token_kinds": ["user", "app"], "app_roles": ["a"]}),
                "rules[0].require.token_kinds: found user, expected `scopes` or `user_roles` beside it",
            ),
            (
                json!({"audiences": ["api://other"]}),
                "rules[0].require.audiences[0]: found \"api://other\", expected an audience that a provider of this rule \
                 accepts: one of api://foreign, api://orders, api://stock",
            ),
            (orders(json!({"audiences": ["api://stock"]})), "rules[0].require.audiences[0]"),
            (
                json!({"providers": ["orders", "stock"], "audiences": ["api://orders"]}),
                "rules[0].require.audiences: found none of provider stock, expected an audience of each",
            ),
            (orders(json!({"client_applications": ["daemon"]})), "rules[0].require.client_applications[0]"),
            (json!({"claims": [{"values": ["a"]}]}), "rules[0].require.claims[0].name: found nothing"),
            (
                json!({"claims": [{"name": "a", "values": []}]}),
                "rules[0].require.claims[0].values: found an empty list",
            ),
            (json!({"claims": [{"name": "a", "values": [null]}]}), "rules[0].require.claims[0].values[0]: found null"),
            (json!({"claims": [{"name": "a", "values": [1.5]}]}), "rules[0].require.claims[0].values[0]: found 1.5"),
            (
                json!({"claims": [{"name": "a", "values": [["b"]]}]}),
                "rules[0].require.claims[0].values[0]: found a list",
            ),
            (json!({"claims": [{"name": "a", "separator": " "}]}), "rules[0].require.claims[0].separator: found this"),
            (json!({"claims": [{"name": "a", "match": "any"}]}), "rules[0].require.claims[0].match: found this member"),
            (
                json!({"claims": [{"name": "a", "separator": " ", "values": ["b c"]}]}),
                "rules[0].require.claims[0].values[0]: found \"b c\", expected a value without the separator",
            ),
        ] {
            let all = mistakes(&require);
            assert!(all.len() == 1 && all[0].starts_with(start), "{require}\n{start}\n{all:#?}");
        }
    }

    #[test]
    fn what_some_token_could_have_is_none() {
        for require in [
            json!({"providers": ["orders", "stock"], "audiences": ["api://orders", "api://stock"]}),
            json!({"audiences": ["api://orders"]}),
            json!({"client_applications": ["anything"]}),
            // Other providers than Entra have scopes of any form, and grant them to applications.
            json!({"scopes": ["https://api.example/read"]}),
            json!({"scopes": ["a"], "token_kinds": ["app"]}),
            json!({"providers": ["orders"], "scopes": ["a"], "app_roles": ["b"], "token_kinds": ["user", "app"]}),
        ] {
            assert_eq!(mistakes(&require), Vec::<String>::new(), "{require}");
        }
    }
}
