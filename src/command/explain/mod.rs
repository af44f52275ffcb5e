//! `entra-gate explain`: the filter's decision about one token, on a terminal, with everything that it looked at.
//!
//! The token comes from a file or from standard input, never from the command line, and is never told.

mod given;
mod sheet;

use std::path::PathBuf;

use clap::Args;
use entra_gate::answer::explanation::{End, document};
use entra_gate::judge::trace::Trace;
use entra_gate::judge::verdict::{Judgement, Verdict, Want};
use entra_gate::keys::document::DocumentId;
use entra_gate::policy::Policy;
use reqwest::Url;

use self::given::{Question, Source};
use crate::failure::Failure;
use crate::fetching::Fetcher;
use crate::output::{self, Format};
use crate::service::clock;
use crate::wording;

pub(crate) const EXAMPLES: &str = "\
Without --jwks and --fetch everything is shown that can be checked before the signature. A revocation feed is not asked: \
the token counts as one that it does not name. Secrets that the configuration names are read from the environment; that \
of `explain` itself is not needed.

Exit codes: 0 the token passes, 3 it is refused, 4 the keys could not be fetched, 7 it cannot be told without keys.

Examples:
  entra-gate explain --config gate.yaml --token token.txt --path /orders
  pbpaste | entra-gate explain --config gate.yaml --token - --fetch
  entra-gate explain --config gate.json --token - --jwks keys.json --at 2026-01-31T12:00:00Z --output json < token.txt";

/// What `explain` is asked.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The plugin's configuration, YAML or JSON; `-` is standard input
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file that holds the token; `-` is standard input. Not the token: others can see command lines
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The request's path, which chooses the rule
    #[arg(long, default_value = "/")]
    path: String,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's host
    #[arg(long, default_value = "")]
    host: String,
    /// The keys, as a JWK set
    #[arg(long, value_name = "FILE", conflicts_with = "fetch")]
    jwks: Option<PathBuf>,
    /// Get metadata and keys from where the configuration has them, over HTTPS
    #[arg(long)]
    fetch: bool,
    /// Where a cluster's requests go instead of the addresses' own hosts
    #[arg(long, value_name = "NAME=URL", requires = "fetch", value_parser = cluster)]
    cluster: Vec<(String, Url)>,
    /// The time to judge at, RFC 3339 or Unix seconds; by default now
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    /// For whom
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn cluster(text: &str) -> Result<(String, Url), String> {
    let (name, address) = text.split_once('=').ok_or("a cluster's name, =, and its address")?;
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    if matches!(url.scheme(), "http" | "https") {
        Ok((name.to_owned(), url))
    } else {
        Err("no http address".to_owned())
    }
}

fn time(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().or_else(|| wording::seconds(text));
    seconds.ok_or_else(|| "neither RFC 3339, such as 2026-01-31T12:00:00Z, nor Unix seconds".to_owned())
}

/// Explains.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { config, token, path, method, host, jwks, fetch, cluster, at, output } = arguments;
    if [&config, &token].iter().all(|file| given::is_standard_input(file)) {
        return Err(Failure::usage("only one of --config and --token can be standard input"));
    }
    let policy = given::policy(&config)?;
    let token = given::token(&token)?;
    let mut question = Question::new(&policy, Source { token, path, method, host }, at.unwrap_or_else(clock::seconds));
    if let Some(file) = jwks {
        question.take_keys(&given::keys(&file)?);
    }
    let mut fetched = fetch.then(Vec::new);
    loop {
        let (Judgement { verdict, .. }, trace) = question.ask();
        let show = |end: End<'_>| show(&policy, &trace, &end, output);
        match (verdict, &mut fetched) {
            (Verdict::Allow(grant), _) => return show(End::Allow(&grant)),
            (Verdict::Refuse(refusal), _) => {
                show(End::Refuse(&refusal))?;
                return Err(Failure::credential(format!("refused: {}", refusal.reason().code())));
            }
            // A token is shown to nobody from here.
            (Verdict::Ask(ask), _) => {
                let wanted = format!("the answer of {}", policy.asked(&ask.question));
                show(End::Undecided(&wanted))?;
                return Err(Failure::undecided(format!("it cannot be told without {wanted}: ask the gate (explain)")));
            }
            (Verdict::Lack(lack), Some(fetched)) if !fetched.contains(&lack.document) => {
                fetched.push(lack.document);
                if let Err(failure) = get(&mut question, lack.document, &cluster) {
                    show(End::Undecided(&wanted(&policy, lack.document)))?;
                    return Err(failure);
                }
            }
            (Verdict::Lack(lack), _) if lack.want == Want::Kid => {
                show(End::Refuse(&lack.otherwise))?;
                return Err(Failure::credential(format!("refused: {}", lack.otherwise.reason().code())));
            }
            (Verdict::Lack(lack), _) => {
                let wanted = wanted(&policy, lack.document);
                show(End::Undecided(&wanted))?;
                return Err(Failure::undecided(format!("it cannot be told without {wanted}: give --jwks or --fetch")));
            }
        }
    }
}

/// Gets the keys of a document.
fn get(question: &mut Question<'_>, id: DocumentId, clusters: &[(String, Url)]) -> Result<(), Failure> {
    let Some(Some(document)) = question.policy.documents.get(id.0) else {
        return Ok(());
    };
    let fetcher = Fetcher::new(clusters.iter().cloned().collect())
        .map_err(|error| Failure::here("cannot make an HTTP client", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::here("cannot start", error))?;
    let fetched = runtime.block_on(fetcher.fetch(document, question.millis()));
    let held = fetched.and_then(|fetched| fetched.read(document));
    question
        .accept(id, held.map_err(|fault| Failure::service(format!("no keys from {}: {fault}", document.metadata)))?);
    Ok(())
}

fn wanted(policy: &Policy, id: DocumentId) -> String {
    let document = policy.documents.get(id.0).and_then(Option::as_ref);
    document.map_or_else(|| "keys".to_owned(), |document| format!("the keys of {}", document.metadata))
}

fn show(policy: &Policy, trace: &Trace, end: &End<'_>, format: Format) -> Result<(), Failure> {
    let has_feed = policy.revocation.as_ref().is_some_and(|revocation| revocation.feed.is_some());
    let assumed = has_feed.then_some("the revocation feed names nothing of this token: it was not asked");
    match format {
        Format::Json => {
            let mut document = document(trace, end, &policy.responses);
            if let (Some(assumed), Some(members)) = (assumed, document.as_object_mut()) {
                members.insert("assumed".to_owned(), assumed.into());
            }
            output::json(&document)
        }
        Format::Table => sheet::show(policy, trace, end, assumed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_clusters_are_read() {
        assert_eq!(time("1760000000"), Ok(1_760_000_000));
        assert_eq!(time("2025-10-09T08:53:20Z"), Ok(1_760_000_000));
        assert!(time("yesterday").is_err() && time("").is_err());
        let (name, url) = cluster("entra=http://localhost:8080").unwrap();
        assert_eq!((name.as_str(), url.as_str()), ("entra", "http://localhost:8080/"));
        for text in ["entra", "entra=", "entra=localhost:8080", "entra=ftp://x"] {
            assert!(cluster(text).is_err(), "{text}");
        }
    }
}
