//! What is asked of the host: time, shared data, signatures, the log. Byte calls only: string ones trust the client.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::UNIX_EPOCH;

use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MapType, Status};

use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::KeyMaterial;
use crate::jose::signature::{Signatures, Software};
use crate::jose::signing::SigningCertificate;
use crate::keys::freshness::{Millis, millis};

/// The time.
pub(super) fn now() -> Millis {
    let since_epoch = hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    // Without a clock every token is expired: the closed side.
    since_epoch.map_or(Millis::MAX, millis)
}

/// A random number, from the host's generator.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Writes a line, if anybody listens at that level.
pub(super) fn log(level: LogLevel, line: impl FnOnce() -> String) {
    let listening = hostcalls::get_log_level().unwrap_or(LogLevel::Info);
    if level as u32 >= listening as u32 {
        let _ = hostcalls::log(level, &line());
    }
}

/// A request header's bytes.
pub(super) fn request_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
}

/// All values of a request header, joined by commas: reading it by its name gives the first one only.
pub(super) fn request_header_values(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_property(vec!["request", "headers", name]).ok().flatten()
}

/// All lines of `cookie` as one (RFC 9113 section 8.2.3).
pub(super) fn request_cookies() -> Option<Vec<u8>> {
    let joined = request_header_values("cookie")?;
    if !joined.contains(&b',') {
        return Some(joined);
    }
    // The comma may stand in a cookie, or between two lines.
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).ok()?;
    let lines: Vec<Vec<u8>> =
        headers.into_iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value).collect();
    Some(lines.join(b"; ".as_slice()))
}

/// A request header as text; what is not UTF-8 is replaced, and thereby matches no rule by accident.
pub(super) fn request_text(name: &str) -> String {
    request_header(name).map_or_else(String::new, text)
}

/// Bytes as text; what is not UTF-8 is replaced.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Envoy's BoringSSL for RSASSA-PKCS1-v1_5, many times faster than Rust in wasm; Rust for the rest.
pub struct HostSignatures;

#[derive(Clone, PartialEq, Eq, Message)]
struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// Holds a key, and therefore shows nothing.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
struct SignArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    text: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct SignResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(string, tag = "3")]
    error: String,
}

/// A signature by Envoy's BoringSSL: RSASSA-PKCS1-v1_5 with SHA-256. None where the host has no `sign`, or forbids it.
pub(super) fn sign(certificate: &SigningCertificate, text: &[u8]) -> Option<Vec<u8>> {
    let arguments = SignArguments {
        hash_function: "sha256".to_owned(),
        private_key: certificate.private_key.clone(),
        text: text.to_vec(),
    };
    let answer = hostcalls::call_foreign_function("sign", Some(&arguments.encode_to_vec())).ok().flatten()?;
    let answer = SignResult::decode(answer.as_slice()).ok()?;
    answer.result.then_some(answer.signature)
}

impl Signatures for HostSignatures {
    fn verify(&self, algorithm: Algorithm, key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool {
        let hash_function = match algorithm {
            Algorithm::Rs256 => "sha256",
            Algorithm::Rs384 => "sha384",
            Algorithm::Rs512 => "sha512",
            Algorithm::Es256 | Algorithm::Hs256 | Algorithm::Ps256 => {
                return Software.verify(algorithm, key, message, signature);
            }
        };
        let KeyMaterial::Rsa(der) = key else {
            return false;
        };
        let arguments = VerifySignatureArguments {
            hash_function: hash_function.to_owned(),
            public_key: der.clone(),
            signature: signature.to_vec(),
            text: message.to_vec(),
        };
        match hostcalls::call_foreign_function("verify_signature", Some(&arguments.encode_to_vec())) {
            Ok(Some(answer)) => VerifySignatureResult::decode(answer.as_slice()).is_ok_and(|answer| answer.result),
            // An empty answer is a false one: proto3 leaves false out.
            Ok(None) => false,
            // A host without the function.
            Err(Status::NotFound) => Software.verify(algorithm, key, message, signature),
            Err(_) => false,
        }
    }
}
