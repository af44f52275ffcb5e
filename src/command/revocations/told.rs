//! The service's answers in the words of people.

use crate::documents::{Action, Actor, Event, Members, Outcome, Revocation, SourceState};
use crate::wording::time;

/// What became of a revocation.
pub(super) fn revoked(outcome: &Outcome) -> String {
    let said = if outcome.changed { "Revoked" } else { "Revoked already, nothing changed" };
    told(said, &outcome.revocation)
}

/// What became of a lift.
pub(super) fn lifted(outcome: &Outcome) -> String {
    let said = if outcome.changed { "Lifted" } else { "Not blocked, nothing changed" };
    told(said, &outcome.revocation)
}

fn told(said: &str, revocation: &Revocation) -> String {
    let (subject, rule) = (subject(&revocation.members, ", "), rule(revocation));
    format!("{said}: {subject}: {rule} (sequence {})", revocation.sequence)
}

/// A row of `list`.
pub(super) fn revocation(revocation: &Revocation) -> [String; 6] {
    [
        subject(&revocation.members, "\n"),
        rule(revocation),
        revocation.expires.map_or_else(|| "lifted".to_owned(), time),
        time(revocation.changed_at),
        actor(&revocation.by),
        revocation.reason.clone(),
    ]
}

/// A row of `history`.
pub(super) fn event(event: &Event) -> [String; 6] {
    let action = match event.action {
        Action::KeyAdd => "add key".to_owned(),
        Action::KeyRetire => "retire key".to_owned(),
        Action::Lift => "lift".to_owned(),
        Action::Revoke if event.blocked => "block".to_owned(),
        Action::Revoke => {
            event.not_before.map_or_else(|| "revoke".to_owned(), |then| format!("revoke before {}", time(then)))
        }
        Action::Sequence => "move the sequence".to_owned(),
        Action::Signal => "signal".to_owned(),
    };
    let changed = match (event.changed, event.sequence) {
        (true, Some(sequence)) => format!("sequence {sequence}"),
        (true, None) => "yes".to_owned(),
        (false, _) => "no".to_owned(),
    };
    let whom = event.key.clone().unwrap_or_else(|| subject(&event.members, "\n"));
    [time(event.at / 1_000), actor(&event.by), action, whom, changed, event.reason.clone()]
}

/// A row of `sources`.
pub(super) fn source(source: &SourceState) -> [String; 5] {
    let state = source.failing.clone().unwrap_or_else(|| "works".to_owned());
    let state = if source.dry_run { format!("{state} (dry run)") } else { state };
    let last = source.last_event.map_or_else(|| "none yet".to_owned(), time);
    [source.name.clone(), source.kind.clone(), state, format!("{} s", source.lag), last]
}

fn rule(revocation: &Revocation) -> String {
    match (revocation.blocked, revocation.not_before.max(revocation.unblocked_at)) {
        (true, _) => "all tokens".to_owned(),
        (false, Some(then)) => format!("tokens issued before {}", time(then)),
        (false, None) => "nothing".to_owned(),
    }
}

fn subject(members: &Members, between: &str) -> String {
    let told: Vec<String> = members.given().map(|(name, value)| format!("{name} {value}")).collect();
    told.join(between)
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Bootstrap => "bootstrap key".to_owned(),
        Actor::Token { subject, client, .. } => {
            let client = client.as_deref().map(|client| format!(" by {client}")).unwrap_or_default();
            format!("{}{client}", subject.as_deref().unwrap_or("unnamed"))
        }
        Actor::Service => "the service".to_owned(),
        Actor::Source { name, event } => match event {
            Some(event) => format!("source {name}\nevent {event}"),
            None => format!("source {name}"),
        },
    }
}
