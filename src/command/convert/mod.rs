//! `entra-gate convert`: other gateways' policies as a configuration of ours.
//!
//! What has no equal is named beside what came of it; what cannot be kept safely is an error, and then nothing is written.

mod apim;
mod authority;
mod draft;
mod faults;
mod jwt_authn;
mod options;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::draft::Draft;
use self::faults::Faults;
use self::options::{Certificates, Options, Values};
use super::check;
use super::failure::Failure;
use super::input::Input;
use super::output;
use super::wording::counted;

/// Where from.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// From `validate-azure-ad-token` or `validate-jwt` of Azure API Management
    #[command(after_long_help = APIM_EXAMPLES)]
    Apim(Apim),
    /// From Envoy's `jwt_authn`, or Istio's RequestAuthentication
    #[command(after_long_help = JWT_AUTHN_EXAMPLES)]
    JwtAuthn(JwtAuthn),
}

const APIM_EXAMPLES: &str = "POLICY.xml is a policy alone, or a whole document with <inbound>; other policies in it are named, not converted. What \
cannot be kept safely is an error with its line and column, and nothing is written.

Examples:
  entra-gate convert apim policy.xml > gate.yaml && entra-gate check gate.yaml
  # A policy that accepts tokens for any API: say which API this is
  entra-gate convert apim policy.xml --audience api://orders
  # Named values and expressions: say what they are
  entra-gate convert apim policy.xml --value '{{aad-tenant-id}}=8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b' \\
      --value '@(context.Request.OriginalUrl.Host)=api.contoso.example'
  # A tenant named by its domain; a certificate of the API Management instance
  entra-gate convert apim - --tenant contoso.onmicrosoft.com=8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b \\
      --certificate my-rsa-cert=my-rsa-cert.pem < policy.xml

Exit codes: 0 converted, 6 it cannot be, 1 a file cannot be read, 2 the command line is wrong.";

const JWT_AUTHN_EXAMPLES: &str = "ENVOY.yaml is a JwtAuthentication alone, an Envoy file with one, or RequestAuthentications of Istio. What cannot be kept \
safely is an error with its line and column, and nothing is written.

Examples:
  entra-gate convert jwt-authn envoy.yaml > gate.yaml && entra-gate check gate.yaml
  # A provider without audiences: say which API this is
  entra-gate convert jwt-authn envoy.yaml --audience api://orders
  kubectl get requestauthentication -n istio-ingress -o yaml | entra-gate convert jwt-authn - --cluster entra

Exit codes: 0 converted, 6 it cannot be, 1 a file cannot be read, 2 the command line is wrong.";

/// `convert apim`
#[derive(Args)]
pub(crate) struct Apim {
    /// The policy, or - for standard input
    #[arg(value_name = "POLICY.xml")]
    file: PathBuf,
    #[command(flatten)]
    options: Options,
    /// What stands for a named value or an expression: '{{name}}=value', '@(…)=value'. Never a secret
    #[arg(long = "value", value_name = "TEXT=VALUE", value_parser = options::value)]
    values: Vec<(String, String)>,
    /// The public certificate (PEM or DER) behind a certificate-id
    #[arg(long = "certificate", value_name = "ID=FILE", value_parser = options::pair)]
    certificates: Vec<(String, String)>,
}

/// `convert jwt-authn`
#[derive(Args)]
pub(crate) struct JwtAuthn {
    /// The file, or - for standard input
    #[arg(value_name = "ENVOY.yaml")]
    file: PathBuf,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Apim(apim) => {
            let input = Input::read(&apim.file)?;
            let certificates = Certificates::read(&apim.certificates)?;
            let given =
                Given { options: &apim.options, values: &Values(apim.values.clone()), certificates: &certificates };
            told(&input, apim::convert(&input.text, &given))
        }
        Command::JwtAuthn(jwt_authn) => {
            let input = Input::read(&jwt_authn.file)?;
            told(&input, jwt_authn::convert(&input.text, &jwt_authn.options))
        }
    }
}

/// All that the command line adds to a policy.
pub(super) struct Given<'a> {
    options: &'a Options,
    values: &'a Values,
    certificates: &'a Certificates,
}

/// Writes what came out, or says why nothing did.
fn told(input: &Input, converted: Result<Draft, Faults>) -> Result<(), Failure> {
    let refused = |all: Vec<String>| {
        let lines: String = all.iter().map(|line| format!("\n  {line}")).collect();
        Err(Failure::document(format!("{}: not converted, {}:{lines}", input.name, counted(all.len(), "mistake"))))
    };
    match converted {
        Err(faults) => refused(faults.told(&input.name)),
        Ok(draft) => {
            let text = draft.text(&input.name);
            let mistakes = check::mistakes(&text);
            // What the policy says is complete, but not possible here: our own words for it are the best there are.
            if mistakes.is_empty() { output::write(text.as_bytes()) } else { refused(mistakes) }
        }
    }
}

#[cfg(test)]
mod tests;
