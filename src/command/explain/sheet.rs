//! A trace for people: what the token says, every check as a row, and the end of it.

use comfy_table::{Cell, Color};
use entra_gate::answer::answer;
use entra_gate::answer::explanation::End;
use entra_gate::judge::trace::{Outcome, Trace};
use entra_gate::policy::Policy;
use serde_json::Value;

use crate::failure::Failure;
use crate::output;
use crate::wording;

/// Shows it.
pub(super) fn show(policy: &Policy, trace: &Trace, end: &End<'_>, assumed: Option<&str>) -> Result<(), Failure> {
    let mut facts = vec![("at", format!("{} ({})", wording::time(trace.at), trace.at))];
    facts.push(("request", [&trace.method, &trace.host, &trace.path].map(String::as_str).join(" ")));
    if trace.rules.is_empty() {
        facts.push(("rule", "none configured: a token of any provider is required".to_owned()));
    }
    for reading in &trace.rules {
        let rule = match reading.rule {
            Some(at) => format!("rules[{at}]: {}", reading.matches),
            None => "none matches: a token of any provider is required".to_owned(),
        };
        facts.push(("rule", format!("{rule} (for {})", reading.path)));
    }
    if let Some(token) = &trace.token {
        let encrypted = if token.encrypted { ", encrypted" } else { "" };
        facts.push(("token", format!("{}{encrypted}", token.source)));
        facts.extend(token.header.iter().map(|(name, value)| ("header", member(name, value))));
        facts.extend(token.claims.iter().map(|(name, value)| ("claim", member(name, &told(name, value)))));
        if !token.others.is_empty() {
            facts.push(("other claims", token.others.join(", ")));
        }
    }
    if let Some(key) = &trace.key {
        let age = key.age.map_or(String::new(), |age| format!(", fetched {age} s ago"));
        let from = key.document.as_deref().or(key.metadata.as_deref()).unwrap_or("the configuration");
        facts.push(("key", format!("{} of {}, {from}, {} keys{age}", key.kid, key.provider, key.keys)));
    }
    output::table(["", ""], facts.into_iter().map(|(name, text)| [name.to_owned(), plain(&text)]))?;
    let rows = trace.checks.iter().map(|step| {
        let color = match step.outcome {
            Outcome::Failed => Color::Red,
            Outcome::Lacking => Color::Yellow,
            Outcome::Passed => Color::Green,
        };
        let provider = step.provider.as_deref().unwrap_or_default();
        [
            Cell::new(step.check.name()),
            Cell::new(provider),
            Cell::new(plain(&step.expected)),
            Cell::new(plain(&step.found)),
            Cell::new(step.outcome.name()).fg(color),
        ]
    });
    output::table(["check", "provider", "expected", "found", "outcome"], rows)?;
    for line in ending(policy, end) {
        output::line(&plain(&line))?;
    }
    assumed.map_or(Ok(()), |assumed| output::line(&format!("assumed: {assumed}")))
}

fn ending(policy: &Policy, end: &End<'_>) -> Vec<String> {
    match end {
        End::Allow(grant) => match grant.identity() {
            Some(identity) => vec![format!("passes, by provider {}", identity.provider)],
            None => vec!["passes, without a look at the token".to_owned()],
        },
        End::Refuse(refusal) => vec![
            format!("refused: {} {}", answer(refusal, &policy.responses).status, refusal.reason().code()),
            format!("the client is told: {}", refusal.sentence()),
            format!("the operator reads: {}", refusal.detail()),
        ],
        End::Undecided(wanted) => vec![format!("undecided: it would need {wanted}")],
    }
}

fn member(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    }
}

/// Times as people read them.
fn told(name: &str, value: &Value) -> Value {
    let is_time = matches!(name, "exp" | "iat" | "nbf");
    match value.as_u64().filter(|_| is_time) {
        Some(seconds) => format!("{seconds} ({})", wording::time(seconds)).into(),
        None => value.clone(),
    }
}

/// What comes from a token must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_told_and_control_characters_are_not() {
        assert_eq!(told("exp", &json!(1_760_000_000)), json!("1760000000 (2025-10-09T08:53:20Z)"));
        assert_eq!(told("aud", &json!(1)), json!(1));
        assert_eq!(plain("a\u{1b}[31m\r\nb"), "a?[31m??b");
    }
}
