//! Every row of the issuer table whose check applies to a gateway, judged by the whole decision where a token is judged.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;
use std::time::Duration;

use entra_gate::entra::cloud::{Cloud, endpoint_in_authority, same_cloud};
use entra_gate::entra::guid::Guid;
use entra_gate::entra::issuer::{Issuer, host_in, key_may_sign, tenant_in};
use entra_gate::inquiry::heard::Heard;
use entra_gate::jose::algorithm::Algorithm;
use entra_gate::jose::jwk::KeySet;
use entra_gate::jose::signature::Software;
use entra_gate::judge::memory::Memory;
use entra_gate::judge::request::Request;
use entra_gate::judge::verdict::Verdict;
use entra_gate::judge::{Given, judge};
use entra_gate::keys::document::DocumentId;
use entra_gate::keys::store::Held;
use entra_gate::policy::provider::{Authority, Expiry, Kind, PersonalAccounts, Provider, Providers, Stated, Tenants};
use entra_gate::policy::sources::{Carried, Sources};
use entra_gate::policy::{Detail, Policy, Responses};
use entra_gate::revocation::Revocations;
use libtest_mimic::{Arguments, Failed, Trial};
use mock_entra::{Directory, TokenRequest};
use serde_json::{Value, json};

const NOW: i64 = 1_760_000_000;

/// Rows for which a strict gateway answers otherwise than the row says, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] = [(
    "msalpy-ec-custom",
    "a client library leaves a custom authority unconstrained; here its keys must be on its own host",
)];

fn main() {
    let arguments = Arguments::from_args();
    let trials = match vectors::read("issuer_cases.json") {
        Some(table) => trials(table["cases"].as_array().unwrap()),
        None => vec![vectors::skipped("issuer_cases", "no vectors beside the checkout")],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

/// A trial for each row, and one skipped trial for each reason for which rows do not apply.
fn trials(rows: &[Value]) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        match does_not_apply(row) {
            Some(why) => *left_out.entry(why).or_default() += 1,
            None => {
                let name = format!("{}::{}", text(row, "check").unwrap(), text(row, "id").unwrap());
                let row = row.clone();
                trials.push(Trial::test(name, move || check(&row)));
            }
        }
    }
    trials.extend(left_out.into_iter().map(|(why, count)| vectors::skipped(&format!("{count} rows"), why)));
    trials
}

fn does_not_apply(row: &Value) -> Option<&'static str> {
    match text(row, "check")? {
        "authority_transform" => Some("normalises what a client library is configured with"),
        "metadata_discovery" => {
            Some("a client library's trust in metadata, too weak for a gateway: issuers are pinned exactly")
        }
        "token_issuer_alias" if is_guid_row(row) => None,
        "token_issuer_alias" => Some("its tenant is no GUID, to which the superseded validator was blind"),
        "signing_key_issuer" if row["token_kind"] == "saml2" || row["token_kind"] == "none" => Some("not a JWT"),
        "signing_key_issuer" if row["key_present"] == false || row["config_keys"] == 0 => {
            Some("without a key nothing is verified here")
        }
        _ => None,
    }
}

fn is_guid_row(row: &Value) -> bool {
    let listed = row["valid_issuers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    listed.chain(text(row, "token_iss")).all(|issuer| tenant_in(issuer).is_some())
}

fn check(row: &Value) -> Result<(), Failed> {
    let accepted = match text(row, "check").unwrap() {
        "endpoint_same_cloud" => {
            let host = |name| host_in(text(row, name).unwrap()).unwrap();
            endpoint_in_authority(host("authority"), host("endpoint"))
        }
        "key_cloud_instance" => token_passes(row, &Scene { issuer: Issuer::new(V2), ..Scene::of(row) }),
        "same_cloud_hosts" => {
            let host = |name| text(row, name).unwrap_or_default();
            same_cloud(host("host_a"), host("host_b"))
        }
        "signing_key_issuer" => key_passes(row),
        "template_match" => {
            let issuer = Issuer::new(text(row, "metadata_issuer").unwrap());
            issuer.admits(text(row, "token_iss").unwrap(), text(row, "tid"))
        }
        "token_issuer" | "token_issuer_alias" => token_passes(row, &Scene::of(row)),
        other => return Err(format!("an unknown check: {other}").into()),
    };
    let expected = text(row, "gateway_expect").or(text(row, "expect")).unwrap() == "accept";
    let exception = EXCEPTIONS.iter().find(|(id, _)| Some(*id) == text(row, "id"));
    match (accepted == expected, exception) {
        (true, None) | (false, Some(_)) => Ok(()),
        (true, Some((_, why))) => Err(format!("no exception is needed any more: {why}").into()),
        (false, None) => Err(format!("accepted: {accepted}, expected: {expected}\n{row:#}").into()),
    }
}

const V2: &str = "https://login.microsoftonline.com/f645ad92-e38d-4d1a-b510-d1b09a74a8ca/v2.0";

/// Both halves of what the gate does with a key's issuer: the binding itself, and the token's own consistency.
fn key_passes(row: &Value) -> bool {
    let Some(iss) = text(row, "token_iss") else { return false };
    let tid = text(row, "tid");
    let document = Issuer::new(text(row, "metadata_issuer").unwrap_or(iss));
    let spelled_twice = row["extra_claims"].as_object().is_some_and(|claims| claims.contains_key("TID"));
    let consistent = tid.is_some() && tid == tenant_in(iss) && !spelled_twice;
    let Some(key_issuer) = text(row, "key_issuer") else { return true };
    consistent && key_may_sign(&Issuer::new(key_issuer), &document, iss, tid)
}

/// A provider as the row configures it.
struct Scene {
    issuer: Issuer,
    listed: Vec<Issuer>,
    allowed: Vec<Guid>,
    key_cloud: Value,
    document_cloud: Option<String>,
}

impl Scene {
    fn of(row: &Value) -> Self {
        let listed = row["valid_issuers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let allowed = row["allowed_tenants"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            issuer: Issuer::new(text(row, "metadata_issuer").unwrap_or("https://nobody.example/")),
            listed: listed.map(Issuer::new).collect(),
            allowed: allowed.filter_map(Guid::parse).collect(),
            key_cloud: row["key_cloud_instance"].clone(),
            document_cloud: text(row, "metadata_cloud_instance").map(str::to_owned),
        }
    }

    fn tenants(&self) -> Tenants {
        let issuers = || self.listed.iter().chain([&self.issuer]);
        let named: Vec<Guid> = issuers().filter_map(|issuer| Guid::parse(tenant_in(issuer.as_str())?)).collect();
        if !self.allowed.is_empty() {
            Tenants::Only(self.allowed.clone())
        } else if issuers().any(Issuer::is_template) {
            Tenants::Any(PersonalAccounts::Accepted)
        } else if named.is_empty() {
            Tenants::Unknown
        } else {
            Tenants::Only(named)
        }
    }

    fn policy(&self) -> Policy {
        let authority = |issuer: &Issuer, stated| Authority {
            issuer: issuer.clone(),
            version: None,
            policy: None,
            document: DocumentId(0),
            stated,
        };
        let listed = self.listed.iter().map(|issuer| authority(issuer, Stated::ByConfiguration));
        let provider = Provider {
            name: "p".into(),
            kind: Kind::Workforce,
            cloud: Cloud::Public,
            tenants: self.tenants(),
            authorities: listed.chain([authority(&self.issuer, Stated::ByMetadata)]).collect(),
            algorithms: vec![Algorithm::Rs256],
            audiences: vec!["a".into()],
            client_applications: None,
            required_claims: Vec::new(),
            clock_skew: Duration::ZERO,
            max_lifetime: None,
            expiry: Expiry::Required,
            sources: vec![0],
            decryption_keys: Vec::new(),
            introspection: None,
            graph_tokens: None,
            status_lists: None,
        };
        let keys = Held {
            issuer: Some(self.issuer.clone()),
            cloud_instance_name: self.document_cloud.clone(),
            address: None,
            keys: self.keys(),
            fetched_at: None,
            max_age: Duration::MAX,
        };
        Policy {
            providers: Providers::new(vec![provider]),
            rules: entra_gate::policy::rules::Rules::default(),
            preflights: entra_gate::policy::Preflights::default(),
            resource: None,
            authorization_server: None,
            forward: entra_gate::policy::forward::Forward::default(),
            responses: Responses {
                unauthorized_status: 401,
                message: None,
                detail: Detail::Full,
                realm: String::new(),
                resource_metadata: None,
            },
            sources: Sources::default(),
            decryption_keys: Vec::new(),
            explain: None,
            registration: None,
            revocation: None,
            documents: vec![None],
            inline_keys: vec![(0, keys)],
        }
    }

    /// The mock's keys, bound to no issuer: only the token's issuer is at stake.
    fn keys(&self) -> KeySet {
        let mut document =
            Directory::new().document("login.microsoftonline.com", "/common/discovery/v2.0/keys").unwrap();
        for key in document["keys"].as_array_mut().unwrap() {
            let members = key.as_object_mut().unwrap();
            members.remove("issuer");
            members.remove("cloud_instance_name");
            if !self.key_cloud.is_null() {
                members.insert("cloud_instance_name".into(), self.key_cloud.clone());
            }
        }
        KeySet::read(document.to_string().as_bytes()).ok().unwrap()
    }
}

fn token_passes(row: &Value, scene: &Scene) -> bool {
    let mut claims = json!({"aud": "a", "azp": "c", "scp": "s", "exp": NOW + 3600, "nbf": NOW - 300, "iat": NOW - 300});
    let is_cloud_row = row.get("token_iss").is_none();
    for (claim, value) in [("iss", &row["token_iss"]), ("tid", &row["tid"])] {
        if !value.is_null() {
            claims[claim] = value.clone();
        }
    }
    if is_cloud_row {
        claims["iss"] = V2.into();
        claims["tid"] = tenant_in(V2).into();
    }
    for (claim, value) in row["extra_claims"].as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    let request = TokenRequest { raw_payload: Some(claims.to_string()), ..TokenRequest::default() };
    let minted = Directory::new().mint(&request, NOW).ok().unwrap();
    let policy = scene.policy();
    let keys = policy.key_store();
    let given = Given {
        policy: &policy,
        keys: &keys,
        revocations: &Revocations::default(),
        memory: &Memory::default(),
        heard: &Heard::default(),
        now: u64::try_from(NOW).unwrap() * 1_000,
        signatures: &Software,
    };
    let request = Request {
        method: "GET".into(),
        authority: "api.example".into(),
        path: "/".into(),
        preflight: false,
        carried: Carried {
            headers: vec![Some(format!("Bearer {}", minted.access_token).into_bytes())],
            parameters: Vec::new(),
        },
    };
    matches!(judge(&request, &given).verdict, Verdict::Allow(_))
}

fn text<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Value::as_str)
}
