//! What the upstream learns of a verified token, and which request headers are therefore nobody else's to set.

use serde_json::Value;

use crate::jose::json::Object;

/// What upstream, later filters and access logs are told.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Whether `Authorization` is taken off before the upstream sees it.
    pub authorization: Authorization,
    /// The header that carries base64url of the verified payload.
    pub payload_header: Option<String>,
    /// Headers that carry single claims.
    pub claim_headers: Vec<ClaimHeader>,
    /// What later filters and access logs find in the filter state. Each costs a call to the host for every request.
    pub filter_state: Vec<State>,
    /// Whether the route is chosen again after the headers above are set.
    pub clear_route_cache: bool,
    /// Every spelling of the headers above that an upstream may take for one of them.
    pub owned_headers: Vec<String>,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            authorization: Authorization::default(),
            payload_header: None,
            claim_headers: Vec::new(),
            filter_state: State::IDENTITY.to_vec(),
            clear_route_cache: false,
            owned_headers: Vec::new(),
        }
    }
}

/// A verified fact that the filter state can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The client application.
    Client,
    /// The whole payload, JSON text.
    Payload,
    /// The provider's name.
    Provider,
    /// `oid`, else `sub`.
    Subject,
    /// The tenant.
    Tenant,
    /// `uti`, else `jti`.
    TokenId,
}

impl State {
    /// Who was let in (default).
    pub const IDENTITY: [Self; 5] = [Self::Provider, Self::Tenant, Self::Subject, Self::Client, Self::TokenId];
}

/// Whether the credential reaches the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// It does (default).
    #[default]
    Keep,
    /// It does not.
    Remove,
}

/// A claim in a header.
#[derive(Clone, Debug)]
pub struct ClaimHeader {
    /// The header's name, in lower case.
    pub header: String,
    /// The claim.
    pub claim: ClaimPath,
}

/// Where a claim is: member names from the top down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    whole: String,
    names: Vec<String>,
}

impl ClaimPath {
    /// Reads a dotted path. The whole text is tried first when it is looked up: claim names may hold dots.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then(|| Self { whole: text.to_owned(), names })
    }

    /// The claim's value.
    #[must_use]
    pub fn find<'a>(&self, claims: &'a Object) -> Option<&'a Value> {
        if let Some(value) = claims.get(&self.whole) {
            return Some(value);
        }
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The claims in which the value may be found: what else a token holds does not matter to [`Self::find`].
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        [Some(&self.whole), self.names.first()].into_iter().flatten().map(String::as_str)
    }
}

/// The spellings of a header name that an upstream may fold into one: CGI and its heirs read `-` and `_` alike.
#[must_use]
pub fn spellings(header: &str) -> Vec<String> {
    /// More hyphens than this would need more removals than a request should cost.
    const MOST_HYPHENS: usize = 5;
    let hyphens: Vec<usize> = header.match_indices('-').map(|(at, _)| at).take(MOST_HYPHENS).collect();
    let masks = 0..1_u32 << hyphens.len();
    masks
        .map(|mask| {
            let mut spelling = header.to_owned().into_bytes();
            for (bit, at) in hyphens.iter().enumerate() {
                if mask & (1 << bit) != 0
                    && let Some(byte) = spelling.get_mut(*at)
                {
                    *byte = b'_';
                }
            }
            String::from_utf8(spelling).unwrap_or_default()
        })
        .collect()
}

/// A claim as a header value: strings as they are, numbers and booleans as JSON writes them, arrays and objects as
/// base64url of their JSON (as Envoy's `jwt_authn` does). None for null, and for text that is not printable ASCII: it
/// could split or garble the header.
#[must_use]
pub fn header_value(value: &Value) -> Option<String> {
    use base64::Engine as _;
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
        }
    };
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_found_by_its_whole_name_or_by_path() {
        let claims = json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "e": "x"});
        let claims = claims.as_object().unwrap();
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(claims).cloned();
        assert_eq!(find("a.b"), Some(json!(1)));
        assert_eq!(find("a.c.d"), Some(json!(3)));
        assert_eq!(find("e"), Some(json!("x")));
        assert_eq!(find("e.x"), None);
        assert_eq!(find("a.x"), None);
        assert_eq!(ClaimPath::parse("a..b"), None);
        assert_eq!(ClaimPath::parse(""), None);
    }

    #[test]
    fn values_never_split_a_header() {
        assert_eq!(header_value(&json!("plain text")).as_deref(), Some("plain text"));
        assert_eq!(header_value(&json!(5)).as_deref(), Some("5"));
        assert_eq!(header_value(&json!(["a", "b"])).as_deref(), Some("WyJhIiwiYiJd"));
        for text in ["a\r\nx: y", "a\0", "Zo\u{eb}", "\u{7f}"] {
            assert_eq!(header_value(&json!(text)), None, "{text:?}");
        }
    }

    #[test]
    fn every_mixture_of_hyphen_and_underscore_is_owned() {
        let mut all = spellings("x-entra-oid");
        all.sort();
        assert_eq!(all, ["x-entra-oid", "x-entra_oid", "x_entra-oid", "x_entra_oid"]);
    }
}
