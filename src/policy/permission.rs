//! Which permissions a rule asks of a token, and of whose: a user's (delegated) or an application's own.
//!
//! What lets one kind of token pass never lets the other pass: where a rule names permissions of one kind only, nothing
//! grants the other kind anything.

use super::claim::Needs;
use super::provider::Kind;

/// Whom a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The client application itself («app-only»).
    App,
    /// A user, through a client application («delegated»).
    User,
}

/// The permissions that a rule asks for. At least one member is there, else there is nothing to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredPermissions {
    /// The one kind of token that is accepted; none: both.
    pub kind: Option<TokenKind>,
    /// What a user's token needs in `scp`.
    pub scopes: Option<Scopes>,
    /// An app-only token needs one of these in `roles`.
    pub app_roles: Option<Vec<String>>,
    /// A user's token needs one of these in `roles`.
    pub user_roles: Option<Vec<String>>,
}

/// Delegated permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// Their names, as `scp` holds them. Never empty.
    pub names: Vec<String>,
    /// How many of them.
    pub needs: Needs,
}

/// What a token of some kind needs under some rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// One of these application permissions in `roles`.
    AppRoles(&'a [String]),
    /// These delegated permissions in `scp`, and one of these app roles of the user in `roles`.
    Delegated(Option<&'a Scopes>, Option<&'a [String]>),
    /// Nothing grants tokens of this kind anything.
    Hopeless,
    /// No more than to be of this kind.
    Nothing,
}

impl RequiredPermissions {
    /// What a token of this kind, of a provider of that kind, needs; `None` for one whose kind cannot be told.
    #[must_use]
    pub fn need(&self, kind: Option<TokenKind>, provider: Kind) -> Need<'_> {
        if self.kind.is_some() && self.kind != kind {
            return Need::Hopeless;
        }
        let (scopes, app_roles, user_roles) =
            (self.scopes.as_ref(), self.app_roles.as_deref(), self.user_roles.as_deref());
        match (kind, scopes, app_roles, user_roles) {
            (_, None, None, None) => Need::Nothing,
            (Some(TokenKind::App), _, Some(app_roles), _) => Need::AppRoles(app_roles),
            (Some(TokenKind::User), None, _, None) => Need::Hopeless,
            (Some(TokenKind::User), _, _, _) => Need::Delegated(scopes, user_roles),
            // Other providers grant scopes to applications too (RFC 6749 section 4.4, RFC 9068).
            (Some(TokenKind::App) | None, Some(_), _, None) if provider == Kind::Oidc => Need::Delegated(scopes, None),
            (Some(TokenKind::App) | None, _, _, _) => Need::Hopeless,
        }
    }

    /// The names that a token may need, for whoever has none of them: delegated permissions before others.
    #[must_use]
    pub fn names(&self) -> &[String] {
        let scopes = self.scopes.as_ref().map(|scopes| scopes.names.as_slice());
        scopes.or(self.user_roles.as_deref()).or(self.app_roles.as_deref()).unwrap_or_default()
    }
}
