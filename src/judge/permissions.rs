//! Whose token it is and which permissions it carries, against those that a rule asks for: 403, never 401, because the
//! token is good. Reads `idtyp`, `scp`, `roles` (Microsoft's access token claims reference); never names for display.

use serde_json::Value;

use super::refusal::{Reason, TokenFault};
use super::{claims, excerpt};
use crate::jose::json::Object;
use crate::policy::claim::Needs;
use crate::policy::permission::{Need, RequiredPermissions, Scopes, TokenKind};
use crate::policy::provider::Kind;

/// The permissions of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPermissions {
    /// The kind of provider that issued it.
    pub provider: Kind,
    /// Whose token it is; none if that cannot be told.
    pub kind: Option<TokenKind>,
    /// `scp`; of other providers `scope`, if there is no `scp`.
    pub scopes: Vec<String>,
    /// `roles`
    pub roles: Vec<String>,
}

/// What a good token lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Tokens of this kind are granted nothing.
    Kind {
        /// The token's; none if it cannot be told.
        found: Option<TokenKind>,
        /// The kind that might pass; none: either.
        accepted: Option<TokenKind>,
        /// What is asked of those that might pass.
        needed: Vec<String>,
    },
    /// None of the roles is there.
    Role {
        /// Who lacks it.
        holder: TokenKind,
        /// One of these would do.
        needed: Vec<String>,
        /// `roles`
        held: Vec<String>,
    },
    /// Scopes are missing.
    Scope {
        /// Those that are asked for.
        needed: Vec<String>,
        /// How many of them.
        needs: Needs,
        /// Those that are not there.
        missing: Vec<String>,
        /// `scp`
        held: Vec<String>,
    },
}

impl HeldPermissions {
    /// Reads them from the claims of a token of that kind of provider.
    ///
    /// # Errors
    /// Where a claim has the wrong type.
    pub fn read(claims: &Object, provider: Kind) -> Result<Self, TokenFault> {
        let mut scopes = names(claims, "scp", Texts::Separated)?;
        if provider == Kind::Oidc && !claims.contains_key("scp") {
            scopes = names(claims, "scope", Texts::Separated)?;
        }
        // App-only tokens of agents have `/` where others have no scope.
        scopes.retain(|scope| scope != "/");
        let kind = kind(claims, provider, &scopes)?;
        Ok(Self { provider, kind, scopes, roles: names(claims, "roles", Texts::Single)? })
    }

    /// Those of a token whose permissions no rule looks at: none.
    #[must_use]
    pub fn unread(provider: Kind) -> Self {
        Self { provider, kind: None, scopes: Vec::new(), roles: Vec::new() }
    }

    /// Holds them against what a rule asks.
    ///
    /// # Errors
    /// What is lacking.
    pub fn check(&self, required: &RequiredPermissions) -> Result<(), Shortfall> {
        match required.need(self.kind, self.provider) {
            Need::AppRoles(roles) => self.check_roles(TokenKind::App, roles),
            Need::Delegated(scopes, roles) => {
                scopes.map_or(Ok(()), |scopes| self.check_scopes(scopes))?;
                roles.map_or(Ok(()), |roles| self.check_roles(TokenKind::User, roles))
            }
            Need::Hopeless => Err(self.shortfall_of_kind(required)),
            Need::Nothing => Ok(()),
        }
    }

    fn check_scopes(&self, scopes: &Scopes) -> Result<(), Shortfall> {
        let has = |name: &String| self.scopes.contains(name);
        let enough = match scopes.needs {
            Needs::All => scopes.names.iter().all(has),
            Needs::Any => scopes.names.iter().any(has),
        };
        if enough {
            return Ok(());
        }
        Err(Shortfall::Scope {
            needed: scopes.names.clone(),
            needs: scopes.needs,
            missing: scopes.names.iter().filter(|name| !has(name)).cloned().collect(),
            held: excerpts(&self.scopes),
        })
    }

    fn check_roles(&self, holder: TokenKind, roles: &[String]) -> Result<(), Shortfall> {
        if roles.iter().any(|role| self.roles.contains(role)) {
            return Ok(());
        }
        Err(Shortfall::Role { holder, needed: roles.to_vec(), held: excerpts(&self.roles) })
    }

    fn shortfall_of_kind(&self, required: &RequiredPermissions) -> Shortfall {
        // A rule without a kind of its own accepts the kind that its permissions are for.
        let only = match (&required.scopes, &required.app_roles, &required.user_roles) {
            (None, Some(_), None) => Some(TokenKind::App),
            (_, None, _) => Some(TokenKind::User),
            (_, Some(_), _) => None,
        };
        Shortfall::Kind { found: self.kind, accepted: required.kind.or(only), needed: required.names().to_vec() }
    }

    /// All the names, for whoever weighs them.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.scopes.iter().chain(&self.roles)
    }
}

impl Shortfall {
    /// The stable word.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Kind { .. } => Reason::TokenKindNotAllowed,
            Self::Role { .. } => Reason::RoleInsufficient,
            Self::Scope { .. } => Reason::ScopeInsufficient,
        }
    }

    /// The permissions that are asked for, as configured.
    #[must_use]
    pub fn needed(&self) -> &[String] {
        match self {
            Self::Kind { needed, .. } | Self::Role { needed, .. } | Self::Scope { needed, .. } => needed,
        }
    }

    /// What a developer must change. Names the permissions of the rule: the challenge holds them as well.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Kind { found: None, .. } => {
                "It cannot be told whether the token is a user's or an application's own. Add the optional claim idtyp, with \
                 include_user_token, to the access tokens of the API's registration."
                    .into()
            }
            Self::Kind { accepted: Some(TokenKind::App), needed, .. } => format!(
                "This is a user's token (delegated); this route accepts app-only tokens. Get one by client credentials{}.",
                asks_for(needed)
            ),
            Self::Kind { needed, .. } => format!(
                "This is an app-only token (client credentials); this route accepts users' tokens (delegated). Sign a user \
                 in{}.",
                asks_for(needed)
            ),
            Self::Role { holder: TokenKind::App, needed, .. } => format!(
                "The application lacks the application permission {}, which must be in the token's roles. Add it to the \
                 client's API permissions, have an administrator consent, and get a new token.",
                list(needed, "or")
            ),
            Self::Role { holder: TokenKind::User, needed, .. } => format!(
                "The user lacks the app role {}, which must be in the token's roles. Assign it to the user or a group in \
                 the API's enterprise application, and get a new token.",
                list(needed, "or")
            ),
            Self::Scope { needed, missing, needs, .. } => {
                let wanted = match needs {
                    Needs::All => list(missing, "and"),
                    Needs::Any => list(needed, "or"),
                };
                format!(
                    "The token lacks the delegated permission {wanted}, which must be in its scp. Request the scope \
                     api://<application ID>/<permission>, and have it consented to."
                )
            }
        }
    }

    /// What was found and what was expected.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Kind { found, accepted, needed } => {
                let accepted = accepted.map_or("tokens of known kind", |kind| kind_name(Some(kind)));
                format!("{}, accepted {accepted}, needed [{}]", kind_name(*found), needed.join(", "))
            }
            Self::Role { holder, needed, held } => {
                format!("{}, roles [{}], needed [{}]", kind_name(Some(*holder)), held.join(", "), needed.join(", "))
            }
            Self::Scope { needed, needs, held, .. } => {
                let needs = match needs {
                    Needs::All => "all of",
                    Needs::Any => "any of",
                };
                format!("scp [{}], needed {needs} [{}]", held.join(", "), needed.join(", "))
            }
        }
    }
}

/// What a rule asks, in words.
pub(super) fn asked_for(required: &RequiredPermissions) -> String {
    let RequiredPermissions { kind, scopes, app_roles, user_roles } = required;
    let roles = |whose: &str, roles: &Option<Vec<String>>| {
        roles.as_ref().map(|roles| format!("{whose}: roles any of [{}]", roles.join(", ")))
    };
    let scopes = scopes.as_ref().map(|scopes| {
        let needs = match scopes.needs {
            Needs::All => "all of",
            Needs::Any => "any of",
        };
        format!("user: scp {needs} [{}]", scopes.names.join(", "))
    });
    let kind = kind.map(|kind| format!("only {}", kind_name(Some(kind))));
    let parts = [kind, scopes, roles("user", user_roles), roles("app", app_roles)];
    parts.into_iter().flatten().collect::<Vec<String>>().join("; ")
}

/// Whose token it is. `idtyp` says so where the API's registration asks for it; else a scope is a user's, and an app-only
/// token has none, and its service principal as both `oid` and `sub`. What is neither stays untold.
fn kind(claims: &Object, provider: Kind, scopes: &[String]) -> Result<Option<TokenKind>, TokenFault> {
    let text = |claim| Ok(claims::typed_text(claims, claim)?.filter(|text| !text.is_empty()));
    if let Some(idtyp) = text("idtyp")? {
        return Ok(match idtyp {
            "app" => Some(TokenKind::App),
            "user" => Some(TokenKind::User),
            _ => None,
        });
    }
    // Other providers know none of what follows, and a B2C user's `sub` is its `oid`.
    let (told_by_scope, told_by_subject) = match provider {
        Kind::ExternalId | Kind::Workforce => (true, true),
        Kind::B2c => (true, false),
        Kind::Oidc => (false, false),
    };
    if told_by_scope && !scopes.is_empty() {
        return Ok(Some(TokenKind::User));
    }
    let is_app = told_by_subject
        && text("oid")?.is_some_and(|oid| matches!(text("sub"), Ok(Some(sub)) if sub == oid))
        // A public client has no credentials of its own: it can only act for a user.
        && text("azpacr")? != Some("0")
        && text("appidacr")? != Some("0");
    Ok(is_app.then_some(TokenKind::App))
}

/// Whether a text holds one name or several.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Separated,
    Single,
}

/// Names in a claim: a text, or a list of texts.
fn names(claims: &Object, claim: &'static str, texts: Texts) -> Result<Vec<String>, TokenFault> {
    let fault = || TokenFault::ClaimType { claim, expected: "a string or an array of strings" };
    let names: Vec<&str> = match claims.get(claim) {
        None => Vec::new(),
        Some(Value::String(text)) if texts == Texts::Separated => text.split(' ').collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(elements)) => elements.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(fault)?,
        Some(_) => return Err(fault()),
    };
    Ok(names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// As many of a token's names as a log line should hold.
fn excerpts(names: &[String]) -> Vec<String> {
    names.iter().take(10).map(|name| excerpt(name)).collect()
}

fn asks_for(needed: &[String]) -> String {
    if needed.is_empty() { String::new() } else { format!(": the route asks for {}", list(needed, "or")) }
}

/// `a`, `a or b`, `a, b or c`.
fn list(names: &[String], conjunction: &str) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn kind_name(kind: Option<TokenKind>) -> &'static str {
    match kind {
        Some(TokenKind::App) => "an app-only token",
        Some(TokenKind::User) => "a user's token",
        None => "a token of unknown kind",
    }
}
