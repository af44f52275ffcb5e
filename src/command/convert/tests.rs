use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::located;

const TENANT: &str = "8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b";
const OTHER: &str = "c2b1a098-7f6e-4d5c-8b4a-39281706f5e4";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// What the command makes of a text: YAML, or what it says about it.
fn converted(kind: &str, text: &str, arguments: &[&str]) -> Result<String, Vec<String>> {
    let line =
        Line::try_parse_from([&["convert", kind, "f"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
    let draft = match &line.command {
        Command::Apim(apim) => {
            let certificates = Certificates::read(&apim.certificates).unwrap_or_else(|failure| panic!("{failure:?}"));
            let given =
                Given { options: &apim.options, values: &Values(apim.values.clone()), certificates: &certificates };
            apim::convert(text, &given)
        }
        Command::JwtAuthn(jwt_authn) => jwt_authn::convert(text, &jwt_authn.options),
    };
    let text = draft.map_err(|faults| faults.told("f"))?.text("f");
    match check::mistakes(&text) {
        mistakes if mistakes.is_empty() => Ok(text),
        mistakes => Err(mistakes),
    }
}

fn value(yaml: &str) -> Value {
    located::read(yaml).unwrap_or_else(|fault| panic!("{fault:?}\n{yaml}"))[0].json()
}

fn good(kind: &str, text: &str, arguments: &[&str]) -> (Value, String) {
    let yaml = converted(kind, text, arguments).unwrap_or_else(|told| panic!("{text}\n{told:#?}"));
    (value(&yaml), yaml)
}

fn refused(kind: &str, text: &str, arguments: &[&str]) -> Vec<String> {
    converted(kind, text, arguments).err().unwrap_or_else(|| vec!["this was converted".to_owned()])
}

/// Each of these is said, and nothing else is. What is amiss, if anything.
fn amiss(found: &[String], expected: &[&str], text: &str) -> Option<String> {
    let is_said = |expected: &&str| found.iter().any(|found| found.starts_with(expected));
    let good = found.len() == expected.len() && expected.iter().all(is_said);
    (!good).then(|| format!("{text}\nexpected {expected:#?}\nfound {found:#?}\n"))
}

fn assert_told(found: &[String], expected: &[&str], text: &str) {
    assert_eq!(amiss(found, expected, text), None);
}

/// All rows of a table, each with what is said about it.
fn assert_all_refused(kind: &str, rows: Vec<(String, Vec<&str>)>) {
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let found = refused(kind, &text, &[]);
        wrong.extend(amiss(&found, &expected, &text));
        assert!(!found.iter().any(|line| line.contains("c2VjcmV0")), "{found:#?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_become_what_the_page_says() {
    let page = std::fs::read_to_string(repository().join("docs/migration.md")).unwrap();
    let certificate = repository().join("tests/mock-entra/keys/oidc.crt.pem");
    let base64: String =
        std::fs::read_to_string(&certificate).unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
    let host = "@(context.Request.OriginalUrl.Host)=api.contoso.example";
    let tenant = format!("{{{{aad-tenant-id}}}}={TENANT}");
    let client = "{{aad-client-application-id}}=aaaaaaaa-0000-4000-8000-000000000001";
    let certificate = format!("my-rsa-cert={}", certificate.display());
    let of_entra = ["--value", tenant.as_str(), "--value", client];
    let (orders, uri) = (["--audience", "11111111-2222-4333-8444-555555555555"], ["--audience", "api://orders"]);
    let by_host = ["--value", host];
    let contoso = format!("contoso.onmicrosoft.com={TENANT}");
    let rows: [(&str, &str, Vec<&str>); 13] = [
        (
            "Simple token validation (`validate-azure-ad-token`)",
            "apim/simple-azure-ad.xml",
            [&of_entra[..], &orders, &uri].concat(),
        ),
        (
            "Audience and claim are correct (`validate-azure-ad-token`)",
            "apim/audience-and-claim-azure-ad.xml",
            [&of_entra[..], &by_host].concat(),
        ),
        ("Simple token validation (`validate-jwt`)", "apim/signing-key.xml", by_host.to_vec()),
        (
            "RSA certificate (`validate-jwt`)",
            "apim/rsa-certificate.xml",
            [&by_host[..], &["--certificate", &certificate]].concat(),
        ),
        ("Entra ID, a single tenant (`validate-jwt`)", "apim/single-tenant.xml", vec!["--tenant", &contoso]),
        ("Entra External ID, a customer tenant (`validate-jwt`)", "apim/customer-tenant.xml", orders.to_vec()),
        (
            "Azure AD B2C (`validate-jwt`)",
            "apim/b2c.xml",
            vec!["--tenant", "contosob2c.onmicrosoft.com=775527ff-9a37-4307-8b3d-cc311f58d925"],
        ),
        ("Decryption key (`validate-jwt`)", "apim/decryption-key.xml", by_host.to_vec()),
        ("Operations by claims (`validate-jwt`)", "apim/operations-by-claims.xml", by_host.to_vec()),
        ("Remote keys (`jwt_authn`)", "jwt-authn/remote-keys.yaml", vec![]),
        ("Inline keys and a header (`jwt_authn`)", "jwt-authn/inline-keys-and-a-header.yaml", vec![]),
        ("Rules (`jwt_authn`)", "jwt-authn/rules.yaml", vec![]),
        ("Groups (`jwt_authn`)", "jwt-authn/groups.yaml", vec![]),
    ];
    for (heading, file, arguments) in rows {
        let section = page.split("\n### ").find(|section| section.lines().next() == Some(heading));
        let section = section.unwrap_or_else(|| panic!("no example {heading:?}"));
        let yaml = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let mut expected = value(&yaml.replace("MY_RSA_CERT", &base64));
        if heading.starts_with("Operations") {
            // Added by hand: it stands for <choose>, which is named and not converted.
            expected.as_object_mut().unwrap().remove("rules");
        }
        let text = std::fs::read_to_string(repository().join("tests/convert").join(file)).unwrap();
        let keys = format!("'{{\"keys\": [{{\"x5c\": [\"{base64}\"]}}]}}'");
        let kind = file.split('/').next().unwrap();
        let (found, _) = good(kind, &text.replace("MY_KEYS", &keys), &arguments);
        assert_eq!(found, expected, "{heading}\n{found:#}\n{expected:#}");
    }
}

/// A policy with these attributes and elements.
fn entra_token(attributes: &str, elements: &str) -> String {
    format!("<validate-azure-ad-token {attributes}>{elements}</validate-azure-ad-token>")
}

const AUDIENCES: &str = "<audiences><audience>a</audience></audiences>";
const CONFIG: &str = "<openid-config url=\"https://login.microsoftonline.com/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/v2.0/.well-known/openid-configuration\"/>";

/// A policy with these attributes and elements beside the usual ones.
fn jwt(attributes: &str, elements: &str) -> String {
    format!("<validate-jwt header-name=\"Authorization\" {attributes}>{CONFIG}{AUDIENCES}{elements}</validate-jwt>")
}

#[test]
fn every_part_of_validate_azure_ad_token_has_its_equal() {
    let guid = format!("tenant-id=\"{TENANT}\"");
    let with = |attributes: &str| format!("{guid} {attributes}");
    for (attributes, elements, pointer, expected) in [
        (guid.clone(), "", "/providers/workforce/tenants", json!([TENANT])),
        (guid.clone(), "", "/providers/workforce/audiences", json!(["a"])),
        (guid.clone(), "", "/providers/workforce/upstream", json!({"cluster": "entra"})),
        (
            guid.to_ascii_uppercase().replace("TENANT-ID", "tenant-id"),
            "",
            "/providers/workforce/tenants",
            json!([TENANT]),
        ),
        ("tenant-id=\"organizations\"".into(), "", "/providers/workforce/tenants", json!("any")),
        ("tenant-id=\"common\"".into(), "", "/providers/workforce/personal_accounts", json!(true)),
        (
            "tenant-id=\"https://login.microsoftonline.com/organizations\"".into(),
            "",
            "/providers/workforce/tenants",
            json!("any"),
        ),
        (
            format!("tenant-id=\"https://login.microsoftonline.com/{TENANT}/v2.0\""),
            "",
            "/providers/workforce/tenants",
            json!([TENANT]),
        ),
        (
            format!("tenant-id=\"https://login.microsoftonline.us/{TENANT}\""),
            "",
            "/providers/workforce/cloud",
            json!("us_government"),
        ),
        ("tenant-id=\"contoso.example\"".into(), "", "/providers/workforce/tenants", json!([OTHER])),
        (
            with("authentication-endpoint=\"https://login.microsoftonline.us\""),
            "",
            "/providers/workforce/cloud",
            json!("us_government"),
        ),
        (
            with("authentication-endpoint=\"login.partner.microsoftonline.cn/\""),
            "",
            "/providers/workforce/cloud",
            json!("china"),
        ),
        (with("header-name=\"Authorization\""), "", "/providers/workforce/token_sources", Value::Null),
        (with("header-name=\"X-Token\""), "", "/providers/workforce/token_sources", json!([{"header": "X-Token"}])),
        (with("query-parameter-name=\"t\""), "", "/providers/workforce/token_sources", json!([{"query": "t"}])),
        (with("failed-validation-httpcode=\"403\""), "", "/responses/unauthorized_status", json!(403)),
        (with("failed-validation-error-message=\"No.\""), "", "/responses/message", json!("No.")),
        (with("output-token-variable-name=\"myJwt\""), "", "/forward/payload_header", json!("x-myjwt")),
        (
            guid.clone(),
            "<client-application-ids><application-id>c</application-id><application-id>d</application-id></client-application-ids>",
            "/providers/workforce/client_applications",
            json!(["c", "d"]),
        ),
        (
            guid.clone(),
            "<required-claims><claim name=\"x\"/></required-claims>",
            "/providers/workforce/required_claims",
            json!([{"name": "x"}]),
        ),
        (
            guid.clone(),
            "<required-claims><claim name=\"x\" match=\"any\" separator=\",\"><value>1</value><value>yes</value></claim></required-claims>",
            "/providers/workforce/required_claims",
            json!([{"name": "x", "match": "any", "separator": ",", "values": ["1", "yes"]}]),
        ),
        (
            guid.clone(),
            "<decryption-keys><key certificate-id=\"my-cert\"/></decryption-keys>",
            "/providers/workforce/decryption_keys",
            json!([{"private_key_env": "MY_CERT"}]),
        ),
        (
            guid.clone(),
            "<decryption-keys><key certificate-id=\"1\"/></decryption-keys>",
            "/providers/workforce/decryption_keys",
            json!([{"private_key_env": "KEY_1"}]),
        ),
    ] {
        let text = entra_token(&attributes, &format!("{AUDIENCES}{elements}"));
        let (found, yaml) = good("apim", &text, &["--tenant", &format!("contoso.example={OTHER}")]);
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), &expected, "{text}\n{yaml}");
    }
    let backends = "<backend-application-ids><application-id>b</application-id></backend-application-ids>";
    let (found, _) = good("apim", &entra_token(&guid, backends), &[]);
    assert_eq!(found["providers"]["workforce"]["audiences"], json!(["b"]));
    let (found, _) =
        good("apim", &entra_token(&guid, ""), &["--audience", "a", "--audience", "b", "--cluster", "login"]);
    assert_eq!(found["providers"]["workforce"]["audiences"], json!(["a", "b"]));
    assert_eq!(found["providers"]["workforce"]["upstream"]["cluster"], "login");
}

#[test]
fn every_part_of_validate_jwt_has_its_equal() {
    let workforce = |member: &str| format!("/providers/workforce/{member}");
    for (attributes, elements, pointer, expected) in [
        ("", "", workforce("tenants"), json!([TENANT])),
        ("", "", workforce("token_versions"), json!([2])),
        ("", "", workforce("clock_skew"), Value::Null),
        ("clock-skew=\"0\"", "", workforce("clock_skew"), json!("0s")),
        ("clock-skew=\"300\"", "", workforce("clock_skew"), json!("5m")),
        ("clock-skew=\"00:05:00\"", "", workforce("clock_skew"), json!("5m")),
        ("require-scheme=\"Bearer\"", "", workforce("token_sources"), Value::Null),
        (
            "require-scheme=\"Token\"",
            "",
            workforce("token_sources"),
            json!([{"header": "authorization", "scheme": "Token"}]),
        ),
        ("require-signed-tokens=\"true\"", "", workforce("tenants"), json!([TENANT])),
        ("require-expiration-time=\"false\"", "", workforce("require_expiration_time"), Value::Null),
        ("require-expiration-time=\"true\"", "", workforce("require_expiration_time"), Value::Null),
        ("failed-validation-httpcode=\"401\"", "", "/responses/unauthorized_status".into(), json!(401)),
        ("output-token-variable-name=\"jwt\"", "", "/forward/payload_header".into(), json!("x-jwt")),
        (
            "",
            "<decryption-keys><key certificate-id=\"c\"/></decryption-keys>",
            workforce("decryption_keys"),
            json!([{"private_key_env": "C"}]),
        ),
        (
            "",
            "<issuers><issuer>https://sts.windows.net/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/</issuer></issuers>",
            workforce("token_versions"),
            Value::Null,
        ),
        (
            "",
            "<issuers><issuer>https://login.microsoftonline.com/c2b1a098-7f6e-4d5c-8b4a-39281706f5e4/v2.0</issuer></issuers>",
            workforce("tenants"),
            json!([TENANT, OTHER]),
        ),
        // What one tenant may do, the other may not.
        (
            "",
            "<issuers><issuer>https://sts.windows.net/c2b1a098-7f6e-4d5c-8b4a-39281706f5e4/</issuer></issuers>",
            "/providers/workforce_2".into(),
            json!({"tenants": [OTHER], "token_versions": [1], "audiences": ["a"], "upstream": {"cluster": "entra"}}),
        ),
    ] {
        let text = jwt(attributes, elements);
        let (found, yaml) = good("apim", &text, &[]);
        assert_eq!(found.pointer(&pointer).unwrap_or(&Value::Null), &expected, "{text}\n{yaml}");
    }
}

#[test]
fn every_kind_of_metadata_and_key_has_its_equal() {
    let policy = |attributes: &str, elements: &str| {
        format!("<validate-jwt header-name=\"Authorization\" {attributes}>{AUDIENCES}{elements}</validate-jwt>")
    };
    let config = |url: &str| format!("<openid-config url=\"{url}\"/>");
    let well_known = ".well-known/openid-configuration";
    let modulus = "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw";
    for (elements, attributes, expected) in [
        (config(&format!("https://login.microsoftonline.com/{TENANT}/{well_known}?appid={OTHER}")), "", json!({"workforce": {"tenants": [TENANT], "token_versions": [1], "app_id": OTHER}})),
        (config(&format!("https://login.microsoftonline.us/{TENANT}/v2.0/{well_known}")), "", json!({"workforce": {"cloud": "us_government", "tenants": [TENANT], "token_versions": [2]}})),
        (
            format!("{}{}", config(&format!("https://login.microsoftonline.com/{TENANT}/{well_known}")), config(&format!("https://login.microsoftonline.com/{TENANT}/v2.0/{well_known}"))),
            "",
            json!({"workforce": {"tenants": [TENANT]}}),
        ),
        (
            format!("{}<issuers><issuer>https://login.microsoftonline.com/{TENANT}/v2.0</issuer><issuer>https://login.microsoftonline.com/{OTHER}/v2.0</issuer></issuers>", config(&format!("https://login.microsoftonline.com/common/v2.0/{well_known}"))),
            "",
            json!({"workforce": {"tenants": [TENANT, OTHER], "token_versions": [2]}}),
        ),
        (config(&format!("https://contoso.ciamlogin.com/{TENANT}/v2.0/{well_known}")), "", json!({"customers": {"kind": "external_id", "domain": "contoso", "tenants": [TENANT], "token_versions": [2]}})),
        (config(&format!("https://contoso.b2clogin.com/{TENANT}/B2C_1_x/v2.0/{well_known}")), "", json!({"b2c": {"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_x"]}})),
        (
            format!("{}<issuers><issuer>https://contoso.b2clogin.com/{TENANT}/v2.0/</issuer></issuers>", config(&format!("https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_x/v2.0/{well_known}"))),
            "",
            json!({"b2c": {"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_x"]}}),
        ),
        (
            config(&format!("https://idp.example.com/{well_known}")),
            "require-expiration-time=\"false\"",
            json!({"idp": {"kind": "oidc", "metadata_url": format!("https://idp.example.com/{well_known}"), "require_expiration_time": false}}),
        ),
        (
            format!("{}<issuers><issuer>urn:x</issuer></issuers>", config("https://idp.example.com/metadata")),
            "",
            json!({"idp": {"kind": "oidc", "metadata_url": "https://idp.example.com/metadata", "issuers": ["urn:x"]}}),
        ),
        (
            format!("<issuer-signing-keys><key id=\"k\" n=\"{modulus}\" e=\"AQAB\"/></issuer-signing-keys><issuers><issuer>urn:x</issuer></issuers>"),
            "",
            json!({"urn": {"kind": "oidc", "issuers": ["urn:x"], "jwks": {"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "k"}]}}}),
        ),
        (
            "<issuer-signing-keys><key id=\"one\">{{first-key}}</key><key id=\"two\">c2VjcmV0</key></issuer-signing-keys><issuers><issuer>urn:x</issuer></issuers>".to_owned(),
            "",
            json!({"urn": {"kind": "oidc", "issuers": ["urn:x"], "jwks": {"keys": [{"kty": "oct", "k_env": "FIRST_KEY", "kid": "one"}, {"kty": "oct", "k_env": "TWO", "kid": "two"}]}, "algorithms": ["HS256"]}}),
        ),
    ] {
        let text = policy(attributes, &elements);
        let (mut found, yaml) = good("apim", &text, &[]);
        for provider in found["providers"].as_object_mut().unwrap().values_mut() {
            let provider = provider.as_object_mut().unwrap();
            assert_eq!(provider.remove("audiences"), Some(json!(["a"])));
            provider.remove("upstream");
        }
        assert_eq!(found["providers"], expected, "{text}\n{yaml}");
        assert!(!yaml.contains("c2VjcmV0"), "{yaml}");
    }
}

#[test]
fn what_api_management_alone_can_do_is_told_with_its_place() {
    let guid = format!("tenant-id=\"{TENANT}\"");
    let token = |attributes: &str, elements: &str| {
        entra_token(&format!("{guid} {attributes}"), &format!("{AUDIENCES}{elements}"))
    };
    let policy = |elements: &str| {
        format!("<validate-jwt header-name=\"Authorization\">\n{AUDIENCES}\n{elements}</validate-jwt>")
    };
    let url = |url: &str| policy(&format!("<openid-config url=\"{url}\"/>"));
    let lines = |lines: &[&str]| lines.join("\n");
    assert_all_refused(
        "apim",
        vec![
            // Not XML, or more than XML.
            ("".to_owned(), vec!["f:1:1: not XML"]),
            ("<a".to_owned(), vec!["f:1:"]),
            ("<inbound>\n  <base/>\n</outbound>".to_owned(), vec!["f:3:1: not XML: expected 'inbound' tag"]),
            ("<!DOCTYPE x [<!ENTITY e \"v\">]>\n<inbound>&e;</inbound>".to_owned(), vec!["f:1:1: a document type"]),
            ("<inbound>\n&e;</inbound>".to_owned(), vec!["f:2:1: not XML: unknown entity reference 'e'"]),
            ("<a b=\"1\" b=\"2\"/>".to_owned(), vec!["f:1:10: not XML: attribute 'b' at"]),
            ("<inbound/><inbound/>".to_owned(), vec!["f:1:"]),
            ("<set-variable name=\"x\" value=\"@(a[\"b\"])\"/>".to_owned(), vec!["f:1:"]),
            // Documents.
            ("<validate/>".to_owned(), vec!["f:1:1: found <validate>"]),
            ("<policies/>".to_owned(), vec!["f:1:1: no <inbound>"]),
            ("<inbound><base/></inbound>".to_owned(), vec!["f:1:1: no validate-azure-ad-token and no validate-jwt"]),
            (
                lines(&["<policies>", "<inbounds/>", "</policies>"]),
                vec![
                    "f:2:1: found the unknown element <inbounds> in <policies>, expected `inbound`, perhaps",
                    "f:1:1: no <inbound>",
                ],
            ),
            (
                format!("<inbound>\n{}\n{}</inbound>", token("", ""), token("", "")),
                vec!["f:3:1: a second policy for tokens"],
            ),
            (
                format!("<inbound><choose><when condition=\"x\">\n{}</when></choose></inbound>", token("", "")),
                vec!["f:2:1: <validate-azure-ad-token> inside <choose>"],
            ),
            (
                format!(
                    "<policies><inbound>{}</inbound><outbound>\n{}</outbound></policies>",
                    token("", ""),
                    token("", "")
                ),
                vec!["f:2:1: <validate-azure-ad-token> of <outbound>"],
            ),
            // Expressions and named values, wherever they are.
            (
                "<validate-azure-ad-token\n  tenant-id=\"{{tenant}}\"/>".to_owned(),
                vec!["f:2:3: the named value {{tenant}}", "f:1:1: no <audiences>"],
            ),
            (
                "<validate-azure-ad-token\n  tenant-id=\"@(context.X)\"/>".to_owned(),
                vec!["f:2:3: the policy expression @(context.X)", "f:1:1: no <audiences>"],
            ),
            (token("\nheader-name=\"@{ return 1; }\"", ""), vec!["f:2:1: the policy expression @{ return 1; }"]),
            (token("\nfailed-validation-httpcode=\"{{code}}\"", ""), vec!["f:2:1: the named value {{code}}"]),
            (token("\nfailed-validation-error-message=\"a {{b}} c\"", ""), vec!["f:2:1: the named value {{b}}"]),
            (token("\ntoken-value=\"@(context.Variables)\"", ""), vec!["f:2:1: the policy expression"]),
            (token("\ntoken-value=\"x\"", ""), vec!["f:2:1: token-value"]),
            (
                format!(
                    "<validate-azure-ad-token {guid}><audiences>\n  <audience>api://{{{{a}}}}</audience></audiences></validate-azure-ad-token>"
                ),
                vec!["f:2:13: the named value {{a}}"],
            ),
            (
                token(
                    "",
                    "\n<client-application-ids><application-id>\n  {{c}}</application-id></client-application-ids>",
                ),
                vec!["f:3:3: the named value {{c}}"],
            ),
            (
                token("", "\n<required-claims><claim name=\"{{n}}\"><value>1</value></claim></required-claims>"),
                vec!["f:2:25: the named value {{n}}"],
            ),
            (
                token("", "\n<required-claims><claim name=\"n\"><value>@(1)</value></claim></required-claims>"),
                vec!["f:2:41: the policy expression @(1)"],
            ),
            (policy("<openid-config url=\"{{url}}\"/>"), vec!["f:3:16: the named value {{url}}"]),
            (
                policy(
                    "<issuer-signing-keys><key>@(k)</key></issuer-signing-keys><issuers><issuer>i</issuer></issuers>",
                ),
                vec!["f:3:22: a key that an expression makes"],
            ),
            (
                policy(
                    "<issuer-signing-keys><key>a{{k}}</key></issuer-signing-keys><issuers><issuer>i</issuer></issuers>",
                ),
                vec!["f:3:22: a key that an expression makes"],
            ),
            // What there is not.
            (
                token("\ntenant=\"x\"", ""),
                vec![
                    "f:2:1: found the unknown attribute tenant of <validate-azure-ad-token>, expected `tenant-id`, perhaps",
                ],
            ),
            (token("\nclock-skew=\"5\"", ""), vec!["f:2:1: found the unknown attribute clock-skew"]),
            (token("\nxmlns:x=\"y\" x:header-name=\"z\"", ""), vec!["f:2:13: found the unknown attribute header-name"]),
            (
                token("", "\n<issuers/>"),
                vec!["f:2:1: found the unknown element <issuers> in <validate-azure-ad-token>"],
            ),
            (token("", "\n<x:audiences xmlns:x=\"y\"/>"), vec!["f:2:1: found the unknown element <audiences>"]),
            (token("", "text"), vec!["f:1:"]),
            (
                token("", "\n<required-claims><claims/></required-claims>"),
                vec!["f:2:18: found the unknown element <claims>", "f:2:1: <required-claims> is empty"],
            ),
            (
                token("", "\n<required-claims><claim name=\"a\" values=\"b\"/></required-claims>"),
                vec!["f:2:34: found the unknown attribute values"],
            ),
            (
                token("", "\n<required-claims any=\"1\"><claim name=\"a\"/></required-claims>"),
                vec!["f:2:18: found the unknown attribute any of <required-claims>, expected no attributes"],
            ),
            (
                token(
                    "",
                    "\n<client-application-ids><application-id x=\"1\">c</application-id></client-application-ids>",
                ),
                vec!["f:2:41: found the unknown attribute x"],
            ),
            (
                token("", "\n<client-application-ids><application-id><b/></application-id></client-application-ids>"),
                vec!["f:2:41: found an element in <application-id>"],
            ),
            // What is wrong.
            ("<validate-azure-ad-token/>".to_owned(), vec!["f:1:1: no tenant-id", "f:1:1: no <audiences>"]),
            (entra_token("tenant-id=\"contoso\"", AUDIENCES), vec!["f:1:26: tenant-id: found \"contoso\""]),
            (
                entra_token("tenant-id=\"contoso.com\"", AUDIENCES),
                vec![
                    "f:1:26: the tenant contoso.com: tokens name it by its GUID. Give it with --tenant contoso.com=GUID",
                ],
            ),
            (
                entra_token("tenant-id=\"https://idp.example/x\"", AUDIENCES),
                vec!["f:1:26: tenant-id: idp.example is no host of Entra"],
            ),
            (
                entra_token("tenant-id=\"https://login.microsoftonline.com/a/b/c\"", AUDIENCES),
                vec!["f:1:26: tenant-id: found"],
            ),
            (
                entra_token(
                    "tenant-id=\"https://login.microsoftonline.us/common\" authentication-endpoint=\"login.microsoftonline.com\"",
                    AUDIENCES,
                ),
                vec!["f:1:26: tenant-id and authentication-endpoint name different clouds"],
            ),
            (
                token("\nauthentication-endpoint=\"https://login-microosftonline.com\"", ""),
                vec!["f:2:1: authentication-endpoint: login-microosftonline.com is no host"],
            ),
            (
                token("\nauthentication-endpoint=\"login.microsoftonline.de\"", ""),
                vec!["f:2:1: authentication-endpoint: login.microsoftonline.de belongs to Azure Germany"],
            ),
            (
                token("header-name=\"a\"\nquery-parameter-name=\"b\"", ""),
                vec!["f:2:1: both header-name and query-parameter-name"],
            ),
            (token("\nfailed-validation-httpcode=\"200\"", ""), vec!["f:2:1: found the status \"200\""]),
            (token("\nfailed-validation-httpcode=\"no\"", ""), vec!["f:2:1: found the status \"no\""]),
            (
                token("\nfailed-validation-error-message=\"é\"", ""),
                vec!["f:2:1: a message that a challenge cannot hold"],
            ),
            (token("\nheader-name=\"\"", ""), vec!["f:2:1: nothing, expected a value"]),
            (token("", "\n<audiences><audience>b</audience></audiences>"), vec!["f:2:1: a second <audiences>"]),
            (token("", "\n<client-application-ids/>"), vec!["f:2:1: <client-application-ids> is empty"]),
            (
                token("", "\n<client-application-ids><application-id/></client-application-ids>"),
                vec!["f:2:25: <application-id> is empty"],
            ),
            (entra_token(&guid, "<audiences/>"), vec!["f:1:"]),
            (
                token("", "<backend-application-ids><application-id>\nb</application-id></backend-application-ids>"),
                vec!["f:2:1: both <backend-application-ids> and <audiences>"],
            ),
            (token("", "\n<required-claims><claim/></required-claims>"), vec!["f:2:18: no name of the claim"]),
            (
                token("", "\n<required-claims><claim name=\"a\" match=\"some\"/></required-claims>"),
                vec!["f:2:34: found match \"some\""],
            ),
            (token("", "\n<decryption-keys><key/></decryption-keys>"), vec!["f:2:18: a symmetric decryption key"]),
            (
                token("", "\n<decryption-keys><key>c2VjcmV0</key></decryption-keys>"),
                vec!["f:2:18: a symmetric decryption key"],
            ),
            (jwt("\nrequire-signed-tokens=\"false\"", ""), vec!["f:2:1: require-signed-tokens false"]),
            (jwt("\nrequire-signed-tokens=\"no\"", ""), vec!["f:2:1: require-signed-tokens: found \"no\""]),
            (jwt("\nrequire-expiration-time=\"maybe\"", ""), vec!["f:2:1: require-expiration-time: found \"maybe\""]),
            (jwt("\nclock-skew=\"601\"", ""), vec!["f:2:1: clock-skew: found \"601\""]),
            (jwt("\nclock-skew=\"-1\"", ""), vec!["f:2:1: clock-skew"]),
            (format!("<validate-jwt>{CONFIG}{AUDIENCES}</validate-jwt>"), vec!["f:1:1: no place of the token"]),
            (policy(""), vec!["f:1:1: no keys"]),
            (policy("<openid-config/>"), vec!["f:3:1: no url"]),
            (
                policy("<openid-config url=\"https://idp.example/x\"><a/></openid-config>"),
                vec!["f:3:1: <openid-config> holds elements"],
            ),
            (
                policy(&format!("{CONFIG}\n<issuer-signing-keys><key>{{{{k}}}}</key></issuer-signing-keys>")),
                vec!["f:4:1: both <openid-config> and <issuer-signing-keys>"],
            ),
            (
                policy("<issuer-signing-keys><key>{{k}}</key></issuer-signing-keys>"),
                vec!["f:3:1: keys without <issuers>"],
            ),
            (
                policy("<issuer-signing-keys/><issuers><issuer>i</issuer></issuers>"),
                vec!["f:3:1: <issuer-signing-keys> is empty"],
            ),
            (
                policy("<issuer-signing-keys><key/></issuer-signing-keys><issuers><issuer>i</issuer></issuers>"),
                vec!["f:3:22: not one key"],
            ),
            (
                policy(
                    "<issuer-signing-keys><key n=\"a\"/></issuer-signing-keys><issuers><issuer>i</issuer></issuers>",
                ),
                vec!["f:3:22: not one key"],
            ),
            (
                policy(
                    "<issuer-signing-keys><key certificate-id=\"c\"/></issuer-signing-keys><issuers><issuer>i</issuer></issuers>",
                ),
                vec!["f:3:27: the certificate c is not in this file: give it with --certificate c=FILE"],
            ),
            (
                policy(
                    "<issuer-signing-keys><key>{{k}}</key><key n=\"a\" e=\"AQAB\"/></issuer-signing-keys><issuers><issuer>i</issuer></issuers>",
                ),
                vec!["f:3:1: secrets and public keys together"],
            ),
            (url("http://idp.example/.well-known/openid-configuration"), vec!["f:3:16: openid-config: found"]),
            (
                url("https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"),
                vec!["f:3:16: metadata of many tenants without <issuers>"],
            ),
            (
                url("https://login.microsoftonline.com/contoso.com/v2.0/.well-known/openid-configuration"),
                vec!["f:3:16: the tenant contoso.com"],
            ),
            (
                url("https://login.microsoftonline.com/contoso/v2.0/.well-known/openid-configuration"),
                vec!["f:3:16: openid-config: found"],
            ),
            (
                url("https://contoso.ciamlogin.com/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration"),
                vec!["f:3:16: the tenant contoso.onmicrosoft.com"],
            ),
            (
                jwt("", "\n<issuers><issuer>https://idp.example/</issuer></issuers>"),
                vec!["f:2:18: the issuer https://idp.example/ does not belong"],
            ),
            (
                jwt(
                    "",
                    "\n<issuers><issuer>https://sts.windows.net/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b</issuer></issuers>",
                ),
                vec!["f:2:18: issuer: found"],
            ),
            (
                jwt(
                    "",
                    "\n<issuers><issuer>https://login.microsoftonline.us/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/v2.0</issuer></issuers>",
                ),
                vec!["f:2:18: the issuer https://login.microsoftonline.us"],
            ),
            // Only our own reader knows: the address says no issuer.
            (
                url("https://idp.example/metadata"),
                vec!["providers.idp.metadata_url: found an address from which no issuer follows"],
            ),
        ],
    );
}

#[test]
fn other_policies_are_named() {
    let policy = entra_token(&format!("tenant-id=\"{TENANT}\""), AUDIENCES);
    let text = format!(
        "<policies>\n<inbound>\n<base/>\n<rate-limit calls=\"1\" renewal-period=\"1\"/>\n<set-header name=\"a\"/>\n{policy}</inbound>\n<outbound>\n<base/>\n<find-and-replace/></outbound></policies>"
    );
    let (_, yaml) = good("apim", &text, &[]);
    for line in [
        "# Line 3: <base/>: the policies of the outer scopes are not in this file.",
        "# Line 4: <rate-limit> is not converted. It may refuse requests",
        "# Line 5: <set-header> is not converted.",
        "# Line 9: <find-and-replace> of <outbound> is not converted.",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
    for root in ["inbound", "fragment"] {
        good("apim", &format!("<{root}>{policy}</{root}>"), &[]);
    }
}

#[test]
fn texts_of_a_policy_stay_texts() {
    let claim = "<required-claims><claim name=\"n\"><value>yes</value><value>1</value><value># x</value><value>a: [b</value></claim></required-claims>";
    let (found, yaml) =
        good("apim", &entra_token(&format!("tenant-id=\"{TENANT}\""), &format!("{AUDIENCES}{claim}")), &[]);
    assert_eq!(
        found["providers"]["workforce"]["required_claims"][0]["values"],
        json!(["yes", "1", "# x", "a: [b"]),
        "{yaml}"
    );
    // A comment cannot be left.
    let text =
        entra_token(&format!("tenant-id=\"{TENANT}\" output-token-variable-name=\"a&#10;rules: []\""), AUDIENCES);
    let (found, yaml) = good("apim", &text, &[]);
    assert_eq!(found.get("rules"), None, "{yaml}");
}

/// A filter with one provider of these members, and these members of its own.
fn filter(provider: &str, members: &str) -> String {
    format!(
        "providers:\n  p:\n    issuer: https://idp.example\n    audiences: [a]\n    forward: true\n    remote_jwks: {{http_uri: {{uri: https://idp.example/keys, cluster: c, timeout: 5s}}}}\n{provider}{members}"
    )
}

#[test]
fn every_part_of_jwt_authn_has_its_equal() {
    let rule = |rule: &str| format!("rules:\n  - {rule}\n");
    for (provider, members, pointer, expected) in [
        ("", String::new(), "/providers/p/kind", json!("oidc")),
        ("", String::new(), "/providers/p/metadata_url", json!("https://idp.example/.well-known/openid-configuration")),
        ("", String::new(), "/providers/p/upstream", json!({"cluster": "c", "timeout": "5s"})),
        (
            "    subjects: {exact: s}\n",
            String::new(),
            "/providers/p/required_claims",
            json!([{"name": "sub", "values": ["s"]}]),
        ),
        ("    require_expiration: true\n", String::new(), "/providers/p/require_expiration_time", Value::Null),
        ("    max_lifetime: 3600s\n", String::new(), "/providers/p/max_lifetime", json!("1h")),
        ("    clock_skew_seconds: 30\n", String::new(), "/providers/p/clock_skew", json!("30s")),
        ("    clock_skew_seconds: 0\n", String::new(), "/providers/p/clock_skew", Value::Null),
        (
            "    from_headers: [{name: Authorization, value_prefix: 'Bearer '}]\n",
            String::new(),
            "/providers/p/token_sources",
            json!([{"header": "authorization", "scheme": "Bearer"}]),
        ),
        (
            "    from_headers: [{name: x-a}, {name: x-b, value_prefix: 'Token '}]\n",
            String::new(),
            "/providers/p/token_sources",
            json!([{"header": "x-a"}, {"header": "x-b", "scheme": "Token"}]),
        ),
        (
            "    from_params: [t]\n    from_cookies: [c]\n",
            String::new(),
            "/providers/p/token_sources",
            json!([{"query": "t"}, {"cookie": "c"}]),
        ),
        ("    forward_payload_header: x-p\n", String::new(), "/forward/payload_header", json!("x-p")),
        (
            "    pad_forward_payload_header: true\n    forward_payload_header: x-p\n",
            String::new(),
            "/forward/payload_header",
            json!("x-p"),
        ),
        ("    payload_in_metadata: m\n", String::new(), "/forward/filter_state/5", json!("payload")),
        (
            "    header_in_metadata: m\n    failed_status_in_metadata: m\n    normalize_payload_in_metadata: {}\n    jwt_cache_config: {}\n",
            String::new(),
            "/forward",
            Value::Null,
        ),
        (
            "    claim_to_headers: [{header_name: x-c, claim_name: a.b}]\n",
            String::new(),
            "/forward/claim_headers",
            json!([{"header": "x-c", "claim": "a.b"}]),
        ),
        (
            "    claim_to_headers: [{header_name: x-c, claim_path: [a, b]}]\n",
            String::new(),
            "/forward/claim_headers",
            json!([{"header": "x-c", "claim": "a.b"}]),
        ),
        ("    clear_route_cache: true\n", String::new(), "/forward/clear_route_cache", json!(true)),
        ("    clearRouteCache: true\n", String::new(), "/forward/clear_route_cache", json!(true)),
        ("", "bypass_cors_preflight: true\n".into(), "/bypass_cors_preflight", json!(true)),
        ("", "bypassCorsPreflight: true\n".into(), "/bypass_cors_preflight", json!(true)),
        ("", "strip_failure_response: true\n".into(), "/responses/detail", json!("none")),
        ("", "stat_prefix: x\n".into(), "/responses", Value::Null),
        ("", String::new(), "/rules", Value::Null),
        ("", rule("match: {prefix: /a}"), "/rules/0", json!({"match": {"prefix": "/a"}, "allow": "anonymous"})),
        (
            "",
            rule("{match: {path: /a}, requires: {provider_name: p}}"),
            "/rules/0",
            json!({"match": {"path": "/a"}, "require": {"providers": ["p"]}}),
        ),
        (
            "",
            rule("{match: {safe_regex: {regex: '/a|/b', google_re2: {}}}, requires: {provider_name: p}}"),
            "/rules/0/match",
            json!({"regex": "/a|/b"}),
        ),
        (
            "",
            rule("{match: {path_separated_prefix: /a.b}, requires: {provider_name: p}}"),
            "/rules/0/match",
            json!({"regex": "/a\\.b(/.*)?"}),
        ),
        (
            "",
            rule(
                "{match: {prefix: '', headers: [{name: ':method', string_match: {exact: GET}}, {name: ':authority', exact_match: h.example}]}, requires: {provider_name: p}}",
            ),
            "/rules/0/match",
            json!({"prefix": "/", "methods": ["GET"], "hosts": ["h.example"]}),
        ),
        (
            "",
            rule("{match: {prefix: /}, requires: {providerName: p}}"),
            "/rules/0/require",
            json!({"providers": ["p"]}),
        ),
        (
            "",
            rule("{match: {prefix: /}, requires: {allow_missing: {}}}"),
            "/rules/0",
            json!({"match": {"prefix": "/"}, "allow": "optional"}),
        ),
        (
            "",
            rule(
                "{match: {prefix: /}, requires: {requires_any: {requirements: [{provider_name: p}, {allow_missing: {}}]}}}",
            ),
            "/rules/0/allow",
            json!("optional"),
        ),
        (
            "",
            rule(
                "{match: {prefix: /}, requires: {requires_any: {requirements: [{requires_any: {requirements: [{provider_name: p}]}}]}}}",
            ),
            "/rules/0/require",
            json!({"providers": ["p"]}),
        ),
        (
            "",
            rule("{match: {prefix: /}, requires: {requires_all: {requirements: [{provider_name: p}]}}}"),
            "/rules/0/require",
            json!({"providers": ["p"]}),
        ),
        (
            "",
            rule("{match: {prefix: /}, requires: {provider_and_audiences: {provider_name: p, audiences: [b]}}}"),
            "/rules/0/require",
            json!({"providers": ["p"], "audiences": ["b"]}),
        ),
        (
            "",
            rule("{match: {prefix: /}, requires: {provider_and_audiences: {provider_name: p, audiences: [b]}}}"),
            "/providers/p/audiences",
            json!(["a", "b"]),
        ),
        (
            "",
            "requirement_map: {r: {provider_name: p}}\nrules: [{match: {prefix: /}, requirement_name: r}]\n".into(),
            "/rules/0/require",
            json!({"providers": ["p"]}),
        ),
    ] {
        let text = filter(provider, &members);
        let (found, yaml) = good("jwt-authn", &text, &[]);
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), &expected, "{text}\n{yaml}");
    }
}

#[test]
fn issuers_of_entra_become_its_kinds() {
    let provider = |issuer: &str, keys: &str| {
        format!(
            "providers: {{p: {{issuer: '{issuer}', audiences: [a], forward: true, remote_jwks: {{http_uri: {{uri: '{keys}', cluster: c, timeout: 5s}}, cache_duration: 600s}}}}}}"
        )
    };
    for (issuer, keys, expected) in [
        (
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys"),
            json!({"tenants": [TENANT], "token_versions": [2]}),
        ),
        (
            format!("https://sts.windows.net/{TENANT}/"),
            "https://login.microsoftonline.com/common/discovery/keys".into(),
            json!({"tenants": [TENANT], "token_versions": [1]}),
        ),
        (
            format!("https://sts.windows.net/{TENANT}/"),
            "https://login.microsoftonline.us/common/discovery/keys".into(),
            json!({"cloud": "us_government", "tenants": [TENANT], "token_versions": [1]}),
        ),
        (
            format!("https://login.partner.microsoftonline.cn/{TENANT}/v2.0"),
            format!("https://login.partner.microsoftonline.cn/{TENANT}/discovery/v2.0/keys"),
            json!({"cloud": "china", "tenants": [TENANT], "token_versions": [2]}),
        ),
        (
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys?appid={OTHER}"),
            json!({"tenants": [TENANT], "token_versions": [2], "app_id": OTHER}),
        ),
        (
            format!("https://{TENANT}.ciamlogin.com/{TENANT}/v2.0"),
            format!("https://contoso.ciamlogin.com/{TENANT}/discovery/v2.0/keys"),
            json!({"kind": "external_id", "domain": "contoso", "tenants": [TENANT], "token_versions": [2]}),
        ),
        (
            format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"),
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_x/discovery/v2.0/keys".into(),
            json!({"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_x"]}),
        ),
        (
            format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"),
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/discovery/v2.0/keys?p=B2C_1_x".into(),
            json!({"kind": "b2c", "domain": "contoso", "tenants": [TENANT], "policies": ["B2C_1_x"]}),
        ),
    ] {
        let (mut found, yaml) = good("jwt-authn", &provider(&issuer, &keys), &[]);
        let found = found["providers"]["p"].as_object_mut().unwrap();
        for (name, value) in [
            ("audiences", json!(["a"])),
            ("upstream", json!({"cluster": "c", "timeout": "5s"})),
            ("keys", json!({"refresh": "10m"})),
        ] {
            assert_eq!(found.remove(name), Some(value), "{yaml}");
        }
        assert_eq!(Value::Object(found.clone()), expected, "{yaml}");
    }
    for (issuer, keys, told) in [
        (
            format!("https://login.microsoftonline.com/{TENANT}/v2.0/"),
            "https://login.microsoftonline.com/common/discovery/v2.0/keys",
            "issuer: found",
        ),
        (
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            "https://login.microsoftonline.us/common/discovery/v2.0/keys",
            "issuer: tokens of",
        ),
        (format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "https://keys.example/keys", "issuer: tokens of"),
        (
            format!("https://{TENANT}.ciamlogin.com/{TENANT}/v2.0"),
            "https://login.microsoftonline.com/common/discovery/v2.0/keys",
            "issuer: tokens of External ID",
        ),
        (
            format!("https://contoso.b2clogin.com/{TENANT}/v2.0/"),
            "https://contoso.b2clogin.com/keys",
            "issuer: tokens of B2C",
        ),
        ("https://accounts.example".into(), "https://keys.example/keys", "issuer: its keys are at keys.example"),
        ("me@example.com".into(), "https://keys.example/keys", "issuer: found \"me@example.com\""),
    ] {
        let found = refused("jwt-authn", &provider(&issuer, keys), &[]);
        assert_told(&found, &[&format!("f:1:25: {told}")], &issuer);
    }
}

#[test]
fn what_jwt_authn_alone_can_do_is_told_with_its_place() {
    let rule = |rule: &str| filter("", &format!("rules:\n  - {rule}\n"));
    let provider = |line: &str| filter(&format!("    {line}\n"), "");
    let two = |one: &str, other: &str| {
        format!(
            "providers:\n  p: {{issuer: 'https://a.example', audiences: [a], remote_jwks: {{http_uri: {{uri: 'https://a.example/k', cluster: c}}}}{one}}}\n  q: {{issuer: 'https://b.example', audiences: [b], remote_jwks: {{http_uri: {{uri: 'https://b.example/k', cluster: c}}}}{other}}}\n"
        )
    };
    assert_all_refused("jwt-authn", vec![
        ("".to_owned(), vec!["f:1:1: no jwt_authn filter"]),
        ("a: b".to_owned(), vec!["f:1:1: no jwt_authn filter"]),
        ("a: [".to_owned(), vec!["f:"]),
        ("'@type': x/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication".to_owned(), vec!["f:1:1: no providers"]),
        (provider("issuers: x"), vec!["f:7:5: found the unknown member issuers of provider p, expected `issuer`, perhaps"]),
        (provider("max_lifetime: long"), vec!["f:7:19: max_lifetime: found \"long\", expected a duration such as 5s"]),
        (provider("clock_skew_seconds: 601"), vec!["f:7:25: clock_skew_seconds: found 601"]),
        (provider("clock_skew_seconds: x"), vec!["f:7:25: clock_skew_seconds: found \"x\""]),
        (provider("subjects: {prefix: s}"), vec!["f:7:15: subjects: expected `exact` alone"]),
        (provider("subjects: {exact: s, ignore_case: true}"), vec!["f:7:15: subjects"]),
        (provider("clear_route_cache: 1"), vec!["f:7:24: clear_route_cache: found 1"]),
        (provider("from_headers: [{name: x, value_prefix: ab}]"), vec!["f:7:20: value_prefix: found \"ab\""]),
        (provider("from_headers: [{value_prefix: 'a '}]"), vec!["f:7:20: from_headers without name"]),
        (provider("from_params: t"), vec!["f:7:18: from_params: found \"t\", expected a list"]),
        (provider("claim_to_headers: [{header_name: x}]"), vec!["f:7:24: claim_to_headers: expected claim_name or claim_path"]),
        (provider("claim_to_headers: [{claim_name: x}]"), vec!["f:7:24: claim_to_headers without header_name"]),
        (provider("claim_to_headers: [{header_name: x, claim_path: [a.b]}]"), vec!["f:7:54: claim_path: a name with a dot"]),
        (provider("local_jwks: {inline_string: '{}'}"), vec!["f:7:5: both remote_jwks and local_jwks"]),
        ("providers: {p: {audiences: [a], remote_jwks: {http_uri: {uri: 'https://a.example/k', cluster: c}}}}".to_owned(), vec!["f:1:13: provider p has no issuer"]),
        ("providers: {p: {issuer: 'https://a.example', remote_jwks: {http_uri: {uri: 'https://a.example/k', cluster: c}}}}".to_owned(), vec!["f:1:13: provider p has no audiences"]),
        ("providers: {p: {issuer: i, audiences: [a]}}".to_owned(), vec!["f:1:13: provider p has no keys"]),
        ("providers: {p: {issuer: i, audiences: [a], remote_jwks: {}}}".to_owned(), vec!["f:1:57: remote_jwks without http_uri"]),
        ("providers: {p: {issuer: i, audiences: [a], remote_jwks: {http_uri: {uri: 'http://a/k', cluster: c}}}}".to_owned(), vec!["f:1:74: uri: found \"http://a/k\""]),
        ("providers: {p: {issuer: i, audiences: [a], local_jwks: {filename: /x}}}".to_owned(), vec!["f:1:67: local_jwks.filename"]),
        ("providers: {p: {issuer: i, audiences: [a], local_jwks: {inline_string: no}}}".to_owned(), vec!["f:1:72: local_jwks: found no JWK set"]),
        ("providers: {p: {issuer: i, audiences: [a], local_jwks: {inline_string: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}'}}}".to_owned(), vec!["f:1:72: local_jwks: a secret (oct)"]),
        ("providers: {p: {issuer: i, audiences: [a], local_jwks: {inline_string: '{\"keys\": [{\"kty\": \"OKP\"}]}'}}}".to_owned(), vec!["providers.p.jwks.keys[0].kty"]),
        (two(", forward: true", ""), vec!["f:3:3: provider q does not forward the token"]),
        (two(", forward_payload_header: x", ", forward_payload_header: y"), vec!["f:3:"]),
        (two(", claim_to_headers: [{header_name: x, claim_name: a}]", ", claim_to_headers: [{header_name: x, claim_name: b}]"), vec!["f:3:"]),
        (filter("", "rule: []\n"), vec!["f:7:1: found the unknown member rule of jwt_authn, expected `rules`, perhaps"]),
        (filter("", "filter_state_rules: {}\n"), vec!["f:7:21: filter_state_rules"]),
        (rule("{requires: {provider_name: p}}"), vec!["f:8:5: a rule without match"]),
        (rule("{match: {prefix: /}, requires: {provider_name: q}}"), vec!["f:8:52: found the provider \"q\", expected one of p"]),
        (rule("{match: {prefix: /}, requires: {}}"), vec!["f:8:36: an empty requirement"]),
        (rule("{match: {prefix: /}, requires: {allow_missing_or_failed: {}}}"), vec!["f:8:37: allow_missing_or_failed: a bad token is never let through"]),
        (rule("{match: {prefix: /}, requires: {extract_only_without_validation: {}}}"), vec!["f:8:37: extract_only_without_validation"]),
        (rule("{match: {prefix: /}, requires: {requires_all: {requirements: [{provider_name: p}, {provider_name: p}]}}}"), vec!["f:8:37: requires_all"]),
        (rule("{match: {prefix: /}, requires: {requires_any: {requirements: []}}}"), vec!["f:8:51: requires_any without requirements"]),
        (rule("{match: {prefix: /}, requires: {requires_none: {}}}"), vec!["f:8:37: found the unknown member requires_none"]),
        (rule("{match: {prefix: /}, requirement_name: r}"), vec!["f:8:44: requirement_name: found \"r\""]),
        (rule("{match: {prefix: /}, requires: {provider_and_audiences: {provider_name: p}}}"), vec!["f:8:61: provider_and_audiences without audiences"]),
        (rule("{match: {prefix: /}, requires: {requires_any: {requirements: [{allow_missing: {}}, {provider_and_audiences: {provider_name: p, audiences: [b]}}]}}}"), vec!["f:8:5: allow_missing beside some providers or audiences"]),
        (rule("{match: {}}"), vec!["f:8:13: match: expected one of prefix"]),
        (rule("{match: {prefix: /, path: /}}"), vec!["f:8:13: match: expected one of prefix"]),
        (rule("{match: {prefix: /, case_sensitive: false}}"), vec!["f:8:41: case_sensitive false"]),
        (rule("{match: {prefix: /, query_parameters: []}}"), vec!["f:8:43: match.query_parameters"]),
        (rule("{match: {connect_matcher: {}}}"), vec!["f:8:31: match.connect_matcher"]),
        (rule("{match: {prefix: /, headers: [{name: x-a, exact_match: b}]}}"), vec!["f:8:35: match.headers"]),
        (rule("{match: {prefix: /, headers: [{name: ':method', string_match: {prefix: G}}]}}"), vec!["f:8:35: match.headers"]),
        (rule("{match: {prefix: /, headers: [{name: ':method', invert_match: true, exact_match: GET}]}}"), vec!["f:8:49: found the unknown member invert_match"]),
        (rule("{match: {prefixes: /}}"), vec!["f:8:14: found the unknown member prefixes", "f:8:13: match: expected one"]),
        (
            format!("{}rules: [{{match: {{prefix: /}}, requires: {{requires_any: {{requirements: [{{provider_and_audiences: {{provider_name: p, audiences: [b]}}}}, {{provider_name: q}}]}}}}}}, {{match: {{prefix: /}}, requires: {{provider_and_audiences: {{provider_name: q, audiences: [x, b]}}}}}}, {{match: {{prefix: /}}, requires: {{requires_any: {{requirements: [{{provider_and_audiences: {{provider_name: p, audiences: [x]}}}}, {{provider_name: q}}]}}}}}}]\n", two("", "")),
            vec!["f:4:"],
        ),
    ]);
}

#[test]
fn what_differs_is_said_beside_it() {
    let (_, yaml) = good(
        "jwt-authn",
        &filter(
            "    jwt_cache_config: {}\n    from_cookies: [c]\n",
            "rules: [{match: {prefix: /a}, requires: {provider_name: p}}]\n",
        ),
        &[],
    );
    for line in [
        "  # Line 7: jwt_cache_config has no equal",
        "# What no rule names needs a token here",
        "  # Keys are found by OpenID metadata",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
    let routes = "typed_per_filter_config:\n  x: {'@type': x/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig, disabled: true}\n";
    let whole = format!(
        "{routes}filter:\n  '@type': x/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication\n{}",
        filter("", "").lines().map(|line| format!("  {line}\n")).collect::<String>()
    );
    let (_, yaml) = good("jwt-authn", &whole, &[]);
    assert!(yaml.contains("# Line 2: a route without jwt_authn"), "{yaml}");
    let found = refused("jwt-authn", &whole.replace("disabled: true", "requirement_name: r"), &[]);
    assert_told(&found, &["f:2:95: requirement_name of a route"], &whole);
}

#[test]
fn istio_s_rules_become_providers() {
    let text = format!(
        "kind: RequestAuthentication
spec:
  jwtRules:
    - issuer: https://login.microsoftonline.com/{TENANT}/v2.0
      jwksUri: https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys
      audiences: [a]
      fromHeaders: [{{name: x-t, prefix: 'Bearer '}}]
      outputPayloadToHeader: x-p
      outputClaimToHeaders: [{{header: x-o, claim: oid}}]
      forwardOriginalToken: true
      timeout: 2s
    - issuer: https://idp.example.com
      audiences: [b]
      fromParams: [t]
      forwardOriginalToken: true
---
kind: AuthorizationPolicy
spec: {{}}
"
    );
    let (found, yaml) = good("jwt-authn", &text, &["--cluster", "outbound|443||login.microsoftonline.com"]);
    assert_eq!(
        found["providers"],
        json!({
            "microsoftonline": {
                "tenants": [TENANT],
                "token_versions": [2],
                "audiences": ["a"],
                "token_sources": [{"header": "x-t", "scheme": "Bearer"}],
                "upstream": {"cluster": "outbound|443||login.microsoftonline.com", "timeout": "2s"},
            },
            "idp": {
                "kind": "oidc",
                "metadata_url": "https://idp.example.com/.well-known/openid-configuration",
                "audiences": ["b"],
                "token_sources": [{"query": "t"}],
                "upstream": {"cluster": "outbound|443||login.microsoftonline.com"},
            },
        }),
        "{yaml}"
    );
    assert_eq!(
        found["forward"],
        json!({"payload_header": "x-p", "claim_headers": [{"header": "x-o", "claim": "oid"}]})
    );
    assert!(yaml.contains("# Line 17: an AuthorizationPolicy is not converted"), "{yaml}");
    assert!(yaml.contains("# There a request without a token passes"), "{yaml}");
    let found = refused("jwt-authn", &text.replace("fromParams", "fromParam"), &[]);
    assert_told(&found, &["f:14:7: found the unknown member fromParam of a jwtRule"], &text);
}
