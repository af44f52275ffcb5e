//! Which requests need a token, and from whom. First match wins; no match needs a token from any provider.

use std::borrow::Cow;
use std::fmt;

use regex_lite::{Regex, RegexBuilder};

use super::index::Index;
use super::path::readings;
use super::requirement::{Asked, Requirement};

/// The rules in order.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    index: Index,
    asked: Asked,
    /// Whether letter case in a pattern can matter.
    has_upper_case: bool,
    look_at_method: bool,
    look_at_host: bool,
}

/// One rule.
pub struct Rule {
    /// Which requests it is for.
    pub matcher: Matcher,
    /// What it asks.
    pub demand: Demand,
}

/// A rule with its number, from 0.
pub type Numbered<'a> = (usize, &'a Rule);

/// What a rule asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each rule, made once and never moved again")]
pub enum Demand {
    /// Nothing: the token, if any, is not looked at.
    Anonymous,
    /// No token passes; a token that is sent must be good.
    Optional,
    /// A good token.
    Token(Requirement),
}

/// Which requests a rule is for. Absent members match everything.
#[derive(Default)]
pub struct Matcher {
    /// The path.
    pub path: Option<PathMatcher>,
    /// Methods, in upper case.
    pub methods: Option<Vec<String>>,
    /// Hosts, in lower case.
    pub hosts: Option<Vec<HostMatcher>>,
}

/// How a path is matched; queries are never looked at.
pub enum PathMatcher {
    /// The whole path.
    Exact(String),
    /// The path's beginning, as a string: `/a` also matches `/ab`, as it does in Envoy's routes.
    Prefix(String),
    /// The whole path, by a regular expression; one for each way to treat letter case.
    Regex(Box<[Regex; 2]>),
}

/// A host name, or everything below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatcher {
    /// Exactly this host.
    Exact(String),
    /// Any host that ends in this, which starts with a dot.
    Below(String),
}

/// What all readings of a request ask together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Every reading is open.
    Anonymous,
    /// A token must satisfy each of these; without one, `without_token` says whether the request passes.
    Token {
        /// The requirements of all readings.
        requirements: Vec<&'a Requirement>,
        /// Whether every reading lets requests without a token pass.
        without_token: WithoutToken,
    },
    /// The path can be read in too many ways.
    Unreadable,
}

/// What becomes of a request without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutToken {
    /// It passes.
    Passes,
    /// It is refused.
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LetterCase {
    Kept,
    Ignored,
}

impl PathMatcher {
    /// Compiles a regular expression that must match the whole path.
    ///
    /// # Errors
    /// The expression's own error.
    pub fn regex(expression: &str) -> Result<Self, regex_lite::Error> {
        let anchored = format!("^(?:{expression})$");
        let ignoring = RegexBuilder::new(&anchored).case_insensitive(true).build()?;
        Ok(Self::Regex(Box::new([Regex::new(&anchored)?, ignoring])))
    }

    fn matches(&self, path: &str, case: LetterCase) -> bool {
        match (self, case) {
            (Self::Exact(exact), LetterCase::Kept) => path == exact,
            (Self::Exact(exact), LetterCase::Ignored) => path.eq_ignore_ascii_case(exact),
            (Self::Prefix(prefix), LetterCase::Kept) => path.starts_with(prefix),
            (Self::Prefix(prefix), LetterCase::Ignored) => {
                path.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            (Self::Regex(regexes), case) => {
                let [kept, ignored] = regexes.as_ref();
                if case == LetterCase::Kept { kept.is_match(path) } else { ignored.is_match(path) }
            }
        }
    }

    /// Whether the path differs from the pattern, or from its beginning, only by a final slash.
    fn matches_without_final_slash(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) | Self::Prefix(text) => {
                path.trim_end_matches('/').eq_ignore_ascii_case(text.trim_end_matches('/'))
            }
            Self::Regex(_) => false,
        }
    }

    /// What every path that matches begins with, letter case and final slashes apart.
    fn beginning(&self) -> Option<&str> {
        match self {
            Self::Exact(text) | Self::Prefix(text) => Some(text),
            Self::Regex(_) => None,
        }
    }

    fn has_upper_case(&self) -> bool {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text.bytes().any(|byte| byte.is_ascii_uppercase()),
            Self::Regex(_) => true,
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &self.path {
            Some(PathMatcher::Exact(text)) => Some(format!("path {text}")),
            Some(PathMatcher::Prefix(text)) => Some(format!("prefix {text}")),
            Some(PathMatcher::Regex(regexes)) => {
                let [kept, _] = regexes.as_ref();
                let written = kept.as_str().strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"));
                Some(format!("regex {}", written.unwrap_or_default()))
            }
            None => None,
        };
        let methods = self.methods.as_ref().map(|methods| format!("methods [{}]", methods.join(", ")));
        let hosts = self.hosts.as_ref().map(|hosts| {
            let hosts: Vec<String> = hosts
                .iter()
                .map(|host| match host {
                    HostMatcher::Exact(host) => host.clone(),
                    HostMatcher::Below(suffix) => format!("*{suffix}"),
                })
                .collect();
            format!("hosts [{}]", hosts.join(", "))
        });
        let parts: Vec<String> = [path, methods, hosts].into_iter().flatten().collect();
        formatter.write_str(if parts.is_empty() { "everything" } else { "" })?;
        formatter.write_str(&parts.join(", "))
    }
}

impl HostMatcher {
    /// Reads `host` or `*.host`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte))
                && !name.ends_with('.')
        };
        match text.strip_prefix("*.") {
            Some(parent) => name(parent).then(|| Self::Below(format!(".{parent}"))),
            None => name(&text).then_some(Self::Exact(text)),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == exact,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl Rule {
    fn matches(&self, method: &str, host: &str, path: &str, case: LetterCase) -> bool {
        let Matcher { path: path_matcher, methods, hosts } = &self.matcher;
        // Methods are case-sensitive (RFC 9110 section 9.1), but upstreams exist that are not.
        methods.as_ref().is_none_or(|methods| methods.iter().any(|known| known.eq_ignore_ascii_case(method)))
            && hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|known| known.matches(host)))
            && path_matcher.as_ref().is_none_or(|known| known.matches(path, case) || self.closes_beside(known, path))
    }

    /// Many upstreams serve a path with and without a final slash alike: what is closed is closed for both.
    fn closes_beside(&self, matcher: &PathMatcher, path: &str) -> bool {
        matches!(self.demand, Demand::Token(_)) && matcher.matches_without_final_slash(path)
    }
}

impl Rules {
    /// Rules in the order in which they are tried.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let has_upper_case =
            rules.iter().any(|rule| rule.matcher.path.as_ref().is_some_and(PathMatcher::has_upper_case));
        let index = Index::new(rules.iter().map(|rule| rule.matcher.path.as_ref().and_then(PathMatcher::beginning)));
        let asked = Asked::by(rules.iter().filter_map(|rule| match &rule.demand {
            Demand::Token(requirement) => Some(requirement),
            Demand::Anonymous | Demand::Optional => None,
        }));
        let look_at_method = rules.iter().any(|rule| rule.matcher.methods.is_some());
        let look_at_host = rules.iter().any(|rule| rule.matcher.hosts.is_some());
        Self { asked, rules, index, has_upper_case, look_at_method, look_at_host }
    }

    /// What of a token the rules look at.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Whether there are none: then nothing of a request but its credentials matters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule looks at the method.
    #[must_use]
    pub fn look_at_method(&self) -> bool {
        self.look_at_method
    }

    /// Whether any rule looks at the host.
    #[must_use]
    pub fn look_at_host(&self) -> bool {
        self.look_at_host
    }

    /// What a request must bring, for every way in which an upstream may read its path.
    #[must_use]
    pub fn select(&self, method: &str, authority: &str, target: &str) -> Selection<'_> {
        self.select_telling(method, authority, target, &mut |_, _| {})
    }

    /// The same, telling each reading and the rule that is the first to match it, with its number; none if none does.
    pub fn select_telling(
        &self,
        method: &str,
        authority: &str,
        target: &str,
        tell: &mut dyn FnMut(&str, Option<Numbered<'_>>),
    ) -> Selection<'_> {
        static ANY_PROVIDER: Demand = Demand::Token(Requirement::ANY);
        if self.rules.is_empty() {
            return strictest(&[&ANY_PROVIDER]);
        }
        let Some(paths) = readings(target) else {
            return Selection::Unreadable;
        };
        let host = host_of(authority);
        let mut demands: Vec<&Demand> = Vec::with_capacity(1);
        for path in &paths {
            let cases: &[LetterCase] = if self.has_upper_case || path.bytes().any(|byte| byte.is_ascii_uppercase()) {
                &[LetterCase::Kept, LetterCase::Ignored]
            } else {
                &[LetterCase::Kept]
            };
            for case in cases {
                let matches =
                    |at: usize| self.rules.get(at).is_some_and(|rule| rule.matches(method, &host, path, *case));
                let first = self.index.first(path, matches).and_then(|at| Some((at, self.rules.get(at)?)));
                tell(path, first);
                let demand = first.map_or(&ANY_PROVIDER, |(_, rule)| &rule.demand);
                // Equal demands of two rules would only be looked at twice.
                if !demands.iter().any(|known| std::ptr::eq(*known, demand)) {
                    demands.push(demand);
                }
            }
        }
        strictest(&demands)
    }
}

fn strictest<'a>(demands: &[&'a Demand]) -> Selection<'a> {
    let requirements: Vec<&Requirement> = demands
        .iter()
        .filter_map(|demand| match demand {
            Demand::Token(requirement) => Some(requirement),
            Demand::Anonymous | Demand::Optional => None,
        })
        .collect();
    if !requirements.is_empty() {
        Selection::Token { requirements, without_token: WithoutToken::Refused }
    } else if demands.iter().any(|demand| matches!(demand, Demand::Optional)) {
        Selection::Token { requirements, without_token: WithoutToken::Passes }
    } else {
        Selection::Anonymous
    }
}

/// The host of an authority: lower case, without port and without a final dot.
fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: PathMatcher, demand: Demand) -> Rule {
        Rule { matcher: Matcher { path: Some(path), ..Matcher::default() }, demand }
    }

    fn of(provider: usize) -> Demand {
        Demand::Token(Requirement { providers: Some(vec![provider]), ..Requirement::ANY })
    }

    fn rules() -> Rules {
        Rules::new(vec![
            rule(PathMatcher::Prefix("/public/admin".into()), of(1)),
            rule(PathMatcher::Prefix("/public".into()), Demand::Anonymous),
            rule(PathMatcher::Exact("/healthz".into()), Demand::Anonymous),
            rule(PathMatcher::Prefix("/maybe".into()), Demand::Optional),
            rule(PathMatcher::regex("/files/[0-9]+").unwrap(), Demand::Anonymous),
            rule(PathMatcher::Prefix("/orders".into()), of(0)),
        ])
    }

    fn is_open(rules: &Rules, target: &str) -> bool {
        rules.select("GET", "api.example", target) == Selection::Anonymous
    }

    #[test]
    fn the_first_match_decides() {
        let rules = rules();
        for open in ["/public", "/public/", "/public/x?y=/public/admin", "/healthz", "/files/17", "/public//x"] {
            assert!(is_open(&rules, open), "{open}");
        }
        for closed in ["/", "/orders", "/files/x", "/files/17/x", "/healthz/x", "/public/admin/x", "", "*"] {
            assert!(!is_open(&rules, closed), "{closed}");
        }
        assert_eq!(
            rules.select("GET", "h", "/maybe"),
            Selection::Token { requirements: vec![], without_token: WithoutToken::Passes }
        );
    }

    #[test]
    fn no_open_rule_reaches_a_protected_path_by_another_spelling() {
        let rules = rules();
        for target in [
            "/public/../orders",
            "/public/%2e%2e/orders",
            "/public/..%2forders",
            "/public/..;/orders",
            "/public//admin",
            "/public/./admin",
            "/public/%61dmin",
            "/public/ADMIN",
            "/Public/Admin",
            "/PUBLIC/admin/x",
            "/public%2fadmin",
            "/public\\admin",
            "/healthz/../orders",
            "/healthz;/../orders",
            "/healthz/x/..",
            "/HEALTHZ",
            "/public/%252e%252e/orders",
            "/public/%00/../../orders",
        ] {
            assert!(!is_open(&rules, target), "{target}");
        }
    }

    #[test]
    fn a_path_of_two_readings_needs_what_both_ask() {
        let rules = rules();
        let Selection::Token { requirements, without_token } =
            rules.select("GET", "h", "/public/admin/%2e%2e/../orders")
        else {
            panic!("must need a token");
        };
        assert_eq!(without_token, WithoutToken::Refused);
        let providers: Vec<_> = requirements.iter().filter_map(|requirement| requirement.providers.clone()).collect();
        assert!(providers.contains(&vec![0]) && providers.contains(&vec![1]), "{providers:?}");
    }

    #[test]
    fn a_final_slash_never_opens_what_is_closed() {
        let rules = Rules::new(vec![
            rule(PathMatcher::Exact("/files/secret".into()), of(0)),
            rule(PathMatcher::Prefix("/files/staff/".into()), of(0)),
            rule(PathMatcher::Prefix("/files".into()), Demand::Anonymous),
        ]);
        for closed in
            ["/files/secret", "/files/secret/", "/files/SECRET/", "/files/staff", "/files/staff/", "/files/staff/x"]
        {
            assert!(!is_open(&rules, closed), "{closed}");
        }
        for open in ["/files", "/files/", "/files/x/", "/files/secret/x", "/files/staffroom"] {
            assert!(is_open(&rules, open), "{open}");
        }
    }

    #[test]
    fn methods_and_hosts_narrow_a_rule() {
        let matcher = Matcher {
            path: Some(PathMatcher::Prefix("/".into())),
            methods: Some(vec!["GET".into()]),
            hosts: Some(vec![HostMatcher::parse("*.Example.com").unwrap(), HostMatcher::parse("one.test").unwrap()]),
        };
        let rules = Rules::new(vec![Rule { matcher, demand: Demand::Anonymous }]);
        let open = |method: &str, host: &str| rules.select(method, host, "/x") == Selection::Anonymous;
        assert!(open("GET", "api.example.com"));
        assert!(open("GET", "API.EXAMPLE.COM:8443"));
        assert!(open("GET", "one.test."));
        assert!(!open("POST", "api.example.com"));
        assert!(!open("HEAD", "api.example.com"));
        assert!(!open("GET", "example.com"));
        assert!(!open("GET", "evil-example.com"));
        assert!(!open("GET", "two.one.test"));
    }
}
