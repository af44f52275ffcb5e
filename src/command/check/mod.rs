//! `entra-gate check`: every mistake of a configuration with its place in the file, and what will bite later.

mod advice;
mod standin;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::input::Input;
use super::located::{self, Fault, Node, Position};
use super::output::{self, Format};
use super::plugins::{self, Found, Plugin};
use super::service;
use super::wording::counted;

const EXAMPLES: &str = "FILE is a configuration alone, a file of sources for the revocation service, an Envoy file (bootstrap or listeners), an Istio WasmPlugin or EnvoyFilter, or an Envoy \
Gateway EnvoyExtensionPolicy, as YAML or JSON; several documents may stand in one file. Nothing is read from the \
environment: secrets that stand in variables are named, not checked. Warnings do not change the exit code.

Examples:
  entra-gate check envoy.yaml
  kubectl get wasmplugin entra-gate -n istio-ingress -o yaml | entra-gate check -
  entra-gate check --output json gate.yaml | jq -r '.mistakes[] | \"\\(.line): \\(.message)\"'

Exit codes: 0 no mistakes, 6 mistakes, 1 the file cannot be read.";

/// `check`
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Check {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For people, or for machines
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What is said of a place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    #[serde(flatten)]
    at: Position,
    /// Where in the configuration; none for what is around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    message: String,
}

impl Finding {
    fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, path: None, message: message.into() }
    }
}

/// A configuration that was found.
#[derive(Serialize)]
struct Configuration {
    #[serde(flatten)]
    at: Position,
    place: String,
}

/// All that is said of a file.
#[derive(Default, Serialize)]
struct Report {
    file: String,
    configurations: Vec<Configuration>,
    mistakes: Vec<Finding>,
    warnings: Vec<Finding>,
    /// What this file alone cannot tell.
    not_checked: Vec<String>,
}

pub(crate) fn run(check: &Check) -> Result<(), Failure> {
    let input = Input::read(&check.file)?;
    let report = report(&input);
    match check.output {
        Format::Json => output::json(&report)?,
        Format::Table => output::line(&report.told())?,
    }
    match report.mistakes.len() {
        0 => Ok(()),
        mistakes => Err(Failure::document(format!("{}: {}", input.name, counted(mistakes, "mistake")))),
    }
}

fn report(input: &Input) -> Report {
    let mut report = Report { file: input.name.clone(), ..Report::default() };
    match sources(&input.text) {
        Some(document) => report.judge_sources(&document),
        None => match plugins::find(&input.text) {
            Ok(found) => report.judge(&found),
            Err(Fault { at, message }) => report.mistakes.push(Finding::new(at, message)),
        },
    }
    report.mistakes.sort();
    report.mistakes.dedup();
    report.warnings.sort();
    report.warnings.dedup();
    report
}

/// The file of sources of the revocation service, if it is one.
fn sources(text: &str) -> Option<Node> {
    let mut documents = located::read(text).ok()?;
    let document = documents.pop().filter(|_| documents.is_empty())?;
    let is_one = document.get("sources").is_some() && document.get("providers").is_none();
    is_one.then_some(document)
}

impl Report {
    fn judge_sources(&mut self, document: &Node) {
        let place = "the sources of the revocation service".to_owned();
        self.configurations.push(Configuration { at: document.at, place });
        for mistake in service::mistakes_of_sources(&document.json(), &standin::value) {
            let at = document.position(&mistake.path);
            let message = mistake.to_string();
            self.mistakes.push(Finding { at, path: Some(mistake.path), message });
        }
        let mut variables = BTreeSet::new();
        named_variables(document, &mut variables);
        if !variables.is_empty() {
            let names: Vec<String> = variables.into_iter().collect();
            self.not_checked.push(format!("the values of {}", names.join(", ")));
        }
    }

    fn judge(&mut self, found: &Found) {
        let mut variables = BTreeSet::new();
        for plugin in &found.plugins {
            self.configurations.push(Configuration { at: plugin.at, place: plugin.place.clone() });
            self.compile(plugin);
            self.warnings.extend(advice::of_host(plugin));
            advice::clusters(plugin, &found.clusters, &mut self.mistakes, &mut self.warnings);
            named_variables(plugin.node(), &mut variables);
        }
        if !variables.is_empty() {
            let names: Vec<String> = variables.into_iter().collect();
            self.not_checked.push(format!("the values of {}", names.join(", ")));
        }
        if !found.clusters.complete {
            let unknown: BTreeSet<String> = found
                .plugins
                .iter()
                .flat_map(advice::named_clusters)
                .map(|(_, _, name)| name)
                .filter(|name| found.clusters.named(name).is_none())
                .collect();
            if !unknown.is_empty() {
                let names: Vec<String> = unknown.into_iter().collect();
                self.not_checked.push(format!("whether Envoy has the clusters {}", names.join(", ")));
            }
        }
        for (at, place) in &found.others {
            self.not_checked.push(format!("{place} (line {}), which is not entra-gate", at.line));
        }
    }

    fn compile(&mut self, plugin: &Plugin) {
        let Err(mistakes) = plugin.compile(&standin::value) else { return };
        for mistake in mistakes {
            let at = plugin.position(&mistake.path);
            let message = mistake.to_string();
            self.mistakes.push(Finding { at, path: Some(mistake.path), message });
        }
    }

    fn told(&self) -> String {
        let mut lines = Vec::new();
        for (kind, findings) in [("mistake", &self.mistakes), ("warning", &self.warnings)] {
            lines.extend(
                findings.iter().map(|finding| format!("{}:{}: {kind}: {}", self.file, finding.at, finding.message)),
            );
        }
        for Configuration { at, place } in &self.configurations {
            lines.push(format!("{}:{at}: {place}", self.file));
        }
        lines.extend(self.not_checked.iter().map(|what| format!("{}: not checked: {what}", self.file)));
        let (mistakes, warnings) = (counted(self.mistakes.len(), "mistake"), counted(self.warnings.len(), "warning"));
        lines.push(format!(
            "{}: {}, {mistakes}, {warnings}",
            self.file,
            counted(self.configurations.len(), "configuration")
        ));
        lines.join("\n")
    }
}

/// Mistakes of a text that is a configuration; for those who write one.
pub(crate) fn mistakes(text: &str) -> Vec<String> {
    let report = report(&Input { name: String::new(), text: text.to_owned() });
    report.mistakes.into_iter().map(|mistake| mistake.message).collect()
}

/// Every variable that a configuration names: members that end in `_env`.
fn named_variables(node: &Node, names: &mut BTreeSet<String>) {
    for entry in node.entries() {
        match entry.value.json() {
            Value::String(name) if entry.name.ends_with("_env") => drop(names.insert(name)),
            _ => named_variables(&entry.value, names),
        }
    }
    node.items().iter().for_each(|item| named_variables(item, names));
}

#[cfg(test)]
mod tests;
