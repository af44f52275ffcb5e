//! `entra-gate revocations …`: the service, and clients of its API for people and scripts.

mod client;
mod keys;
mod told;

use clap::{ArgGroup, Args, Subcommand};
use serde::de::DeserializeOwned;

use self::client::{Client, Connection};
use super::documents::{
    EventPage, LiftRequest, Members, NotBefore, NotBeforeWord, Outcome, RevocationPage, RevokeRequest, Selection,
    SourceStates,
};
use super::failure::Failure;
use super::output::{self, Format};
use super::service::{self, Publish, Serve};
use super::wording;

/// What there is to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the service: an API for people, a signed feed for gates
    Serve(Serve),
    /// Publish the feed to a folder or an object store, for gates that ask there
    Publish(Publish),
    /// Revoke tokens of a user, session, client, token, subject or tenant
    #[command(after_long_help = REVOKE_EXAMPLES)]
    Revoke(Revoke),
    /// Lift a block: tokens issued from now on are good again
    #[command(after_long_help = LIFT_EXAMPLES)]
    Lift(Lift),
    /// What is revoked now, the latest first
    #[command(after_long_help = LIST_EXAMPLES)]
    List(List),
    /// What was asked, by whom and why, the latest first
    #[command(after_long_help = HISTORY_EXAMPLES)]
    History(List),
    /// How the sources are that feed the service
    #[command(
        after_long_help = "Example:\n  entra-gate revocations sources --output json | jq '.sources[] | select(.healthy | not)'"
    )]
    Sources(Sources),
    /// The keys that sign the feed
    #[command(subcommand, arg_required_else_help = true)]
    Keys(keys::Command),
}

const REVOKE_EXAMPLES: &str =
    "Without --block or --not-before: users, clients, subjects and tenants must sign in again \
(--not-before now); sessions and single tokens are blocked.

Examples:
  # Every token that this user holds; signing in again works
  entra-gate revocations revoke --tenant 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b \\
      --user 690222be-ff1a-4d56-abd1-7e4f7d38e474 --reason 'laptop stolen'
  # An account that left: nothing is accepted until `lift`
  entra-gate revocations revoke --tenant … --user … --block --reason 'left the company'
  # One token, by its uti; one session, by its sid
  entra-gate revocations revoke --issuer https://login.microsoftonline.com/…/v2.0 --token … --reason 'in a log file'
  entra-gate revocations revoke --tenant … --session 00aa00aa-bb11-cc22-dd33-44ee44ee44ee --reason 'token theft'
  # Everybody in a tenant
  entra-gate revocations revoke --tenant … --whole-tenant --reason 'incident 4711'";

const LIFT_EXAMPLES: &str = "Tokens from before stay revoked.

Example:
  entra-gate revocations lift --tenant … --user … --reason 'back from leave'";

const LIST_EXAMPLES: &str = "Examples:
  entra-gate revocations list --tenant 8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b
  entra-gate revocations list --limit 1000 --output json | jq -r '.revocations[].user'";

const HISTORY_EXAMPLES: &str = "Examples:
  entra-gate revocations history --tenant … --user …
  entra-gate revocations history --limit 1000 --before 4711 --output json";

/// Whom it is about.
#[derive(Args, Clone)]
#[group(skip)]
struct Subject {
    /// Tenant (`tid`); alone: everybody in it, with --whole-tenant
    #[arg(long, value_name = "GUID", conflicts_with = "issuer")]
    tenant: Option<String>,
    /// User or service principal (`oid`), with --tenant
    #[arg(long, value_name = "GUID")]
    user: Option<String>,
    /// Sign-in session (`sid`), with --tenant
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// Client application (`azp`, `appid`), with --tenant
    #[arg(long, value_name = "GUID")]
    client: Option<String>,
    /// Issuer (`iss`), exactly as in the token
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// One token, by its identifier (`uti`, else `jti`), never the token itself; with --issuer
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    token: Option<String>,
    /// Pairwise subject (`sub`), with --issuer
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    subject: Option<String>,
}

/// `revoke`
#[derive(Args)]
#[command(group = ArgGroup::new("rule").args(["block", "not_before"]))]
pub(crate) struct Revoke {
    #[command(flatten)]
    subject: Subject,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// All tokens, future ones too, until `lift`
    #[arg(long)]
    block: bool,
    /// Tokens issued earlier: now, Unix seconds, or a time such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = not_before)]
    not_before: Option<NotBefore>,
    /// Everybody in the tenant is meant
    #[arg(long, requires = "tenant")]
    whole_tenant: bool,
    #[command(flatten)]
    connection: Connection,
}

/// `lift`
#[derive(Args)]
pub(crate) struct Lift {
    #[command(flatten)]
    subject: Subject,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

/// `list`, `history`
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    subject: Subject,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only what is older than this number: the last one of the part before
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

/// `sources`
#[derive(Args)]
pub(crate) struct Sources {
    #[command(flatten)]
    connection: Connection,
}

/// Does it.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => service::serve(arguments).await,
        Command::Publish(arguments) => service::publish(arguments).await,
        Command::Revoke(arguments) => revoke(arguments).await,
        Command::Lift(arguments) => lift(arguments).await,
        Command::List(arguments) => list(arguments).await,
        Command::History(arguments) => history(arguments).await,
        Command::Sources(arguments) => sources(arguments).await,
        Command::Keys(command) => keys::run(command).await,
    }
}

async fn revoke(arguments: Revoke) -> Result<(), Failure> {
    let Revoke { subject, reason, block, not_before, whole_tenant, connection } = arguments;
    let blocked = block.then_some(true);
    let (members, unknown) = (subject.into(), Default::default());
    let request = RevokeRequest { members, not_before, blocked, whole_tenant, reason, unknown };
    let outcome: Outcome = Client::new(&connection)?.post("/v1/revocations", &request).await?;
    match connection.output {
        Format::Json => output::json(&outcome),
        Format::Table => output::line(&told::revoked(&outcome)),
    }
}

async fn lift(arguments: Lift) -> Result<(), Failure> {
    let Lift { subject, reason, connection } = arguments;
    let request = LiftRequest { members: subject.into(), reason, unknown: Default::default() };
    let outcome: Outcome = Client::new(&connection)?.post("/v1/revocations/lift", &request).await?;
    match connection.output {
        Format::Json => output::json(&outcome),
        Format::Table => output::line(&told::lifted(&outcome)),
    }
}

async fn list(arguments: List) -> Result<(), Failure> {
    let page: RevocationPage = arguments.ask("/v1/revocations").await?;
    match arguments.connection.output {
        Format::Json => output::json(&page),
        Format::Table => {
            let header = ["subject", "revoked", "until", "changed", "by", "reason"];
            output::table(header, page.revocations.iter().map(told::revocation))?;
            more(page.next)
        }
    }
}

async fn history(arguments: List) -> Result<(), Failure> {
    let page: EventPage = arguments.ask("/v1/history").await?;
    match arguments.connection.output {
        Format::Json => output::json(&page),
        Format::Table => {
            let header = ["at", "by", "action", "subject", "changed", "reason"];
            output::table(header, page.events.iter().map(told::event))?;
            more(page.next)
        }
    }
}

async fn sources(arguments: Sources) -> Result<(), Failure> {
    let states: SourceStates = Client::new(&arguments.connection)?.get("/v1/sources", &()).await?;
    match arguments.connection.output {
        Format::Json => output::json(&states),
        Format::Table => {
            let header = ["source", "kind", "state", "behind", "last event"];
            output::table(header, states.sources.iter().map(told::source))
        }
    }
}

/// That this is not all.
fn more(next: Option<u64>) -> Result<(), Failure> {
    next.map_or(Ok(()), |next| output::line(&format!("There is more: --before {next}")))
}

impl List {
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let Subject { tenant, user, session, client, issuer, token, subject } = self.subject.clone();
        let (limit, before) = (Some(self.limit), self.before);
        let selection = Selection { tenant, user, session, client, issuer, token, subject, limit, before };
        Client::new(&self.connection)?.get(path, &selection).await
    }
}

impl From<Subject> for Members {
    fn from(subject: Subject) -> Self {
        let Subject { tenant, user, session, client, issuer, token, subject } = subject;
        Self { tenant, user, session, client, issuer, token, subject }
    }
}

fn not_before(text: &str) -> Result<NotBefore, String> {
    if text == "now" {
        return Ok(NotBefore::Word(NotBeforeWord::Now));
    }
    let seconds = text.parse().ok().or_else(|| wording::seconds(text));
    seconds
        .map(NotBefore::At)
        .ok_or_else(|| "expected now, Unix seconds, or a time with its offset, such as 2026-11-22T10:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        assert_eq!(not_before("now"), Ok(NotBefore::Word(NotBeforeWord::Now)));
        assert_eq!(not_before("1760000000"), Ok(NotBefore::At(1_760_000_000)));
        assert_eq!(not_before("2025-10-09T08:53:20Z"), Ok(NotBefore::At(1_760_000_000)));
        assert_eq!(not_before("2025-10-09T10:53:20+02:00"), Ok(NotBefore::At(1_760_000_000)));
        for wrong in ["", "yesterday", "2025-10-09", "2025-10-09T08:53:20", "1960-01-01T00:00:00Z", "-5"] {
            assert!(not_before(wrong).is_err(), "{wrong}");
        }
    }
}
