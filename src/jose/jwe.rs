//! Compact JWE (RFC 7516): an encrypted token, opened to the token within, which is then judged as any other.
//!
//! Whoever has the public key can encrypt: that a token can be opened says nothing about who issued it. What fails after
//! the header fails in one way, whatever it was; and where the key cannot be recovered, the content is decrypted with a
//! random one all the same (RFC 7516 section 11.5), so that neither answers nor their timing tell the two apart.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::aes::Aes128;
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use hmac_sha1_compact::WrappedHash as Sha1;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use superboring::reexports::hmac_sha256::{HMAC, Hash as Sha256};
use superboring::reexports::rsa::pkcs1::DecodeRsaPrivateKey as _;
use superboring::reexports::rsa::pkcs8::DecodePrivateKey as _;
use superboring::reexports::rsa::rand_core::{OsRng, RngCore as _};
use superboring::reexports::rsa::traits::PublicKeyParts as _;
use superboring::reexports::rsa::{Oaep, RsaPrivateKey};

use super::compact::{MAX_KID_BYTES, MAX_TOKEN_BYTES, Malformed, Segment};
use super::json::{self, Object};

/// An RSA key that opens tokens.
#[derive(Clone)]
pub struct DecryptionKey {
    /// The `kid` of tokens that are meant for it; without one it is tried where no other key is named.
    pub kid: Option<String>,
    private_key: RsaPrivateKey,
}

/// An encrypted token taken apart.
pub struct Encrypted<'a> {
    /// `kid`, never empty.
    pub kid: Option<String>,
    /// `typ`, if there is one.
    pub typ: Option<String>,
    /// `cty`: what is within.
    pub cty: Option<String>,
    wrapping: Wrapping,
    content: Content,
    header: &'a str,
    encrypted_key: Vec<u8>,
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

/// Why a token cannot be opened by anybody here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptedFault {
    /// It is no acceptable compact JWE.
    Malformed(Malformed),
    /// It is encrypted in a way that is not supported.
    NotSupported {
        /// `alg`
        alg: String,
        /// `enc`
        enc: String,
    },
}

/// How the content's key is encrypted (RFC 7518 section 4.3).
#[derive(Clone, Copy)]
enum Wrapping {
    RsaOaep,
    RsaOaep256,
}

/// How the content is encrypted (RFC 7518 section 5). Both have keys of [`CONTENT_KEY_BYTES`].
#[derive(Clone, Copy)]
enum Content {
    Aes128CbcHmacSha256,
    Aes256Gcm,
}

const CONTENT_KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

impl DecryptionKey {
    /// Reads a private key of 2048 to 4096 bits: PKCS #8 or PKCS #1, as PEM or as the base64 of its DER.
    #[must_use]
    pub fn read(kid: Option<String>, text: &str) -> Option<Self> {
        let der = armored(text)?;
        let pkcs8 = RsaPrivateKey::from_pkcs8_der(&der).ok();
        let private_key = pkcs8.or_else(|| RsaPrivateKey::from_pkcs1_der(&der).ok())?;
        (2048..=4096).contains(&private_key.n().bits()).then_some(Self { kid, private_key })
    }

    fn unwrap(&self, wrapping: Wrapping, encrypted_key: &[u8]) -> Option<Vec<u8>> {
        if encrypted_key.len() != self.private_key.size() {
            return None;
        }
        let padding = match wrapping {
            Wrapping::RsaOaep => Oaep::new::<Sha1>(),
            Wrapping::RsaOaep256 => Oaep::new::<Sha256>(),
        };
        self.private_key.decrypt_blinded(&mut OsRng, padding, encrypted_key).ok()
    }
}

/// The key is not shown.
impl std::fmt::Debug for DecryptionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DecryptionKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The DER within PEM (RFC 7468), or within plain base64.
#[must_use]
pub fn armored(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).ok()
}

/// Whether a text has the five parts of an encrypted token.
#[must_use]
pub fn is_encrypted(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 4
}

impl<'a> Encrypted<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// What is wrong with its form or its header; nothing is decrypted yet.
    pub fn read(token: &'a str) -> Result<Self, EncryptedFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooLong.into());
        }
        let segments: Vec<&str> = token.split('.').collect();
        let [header, encrypted_key, iv, ciphertext, tag] = *segments.as_slice() else {
            return Err(Malformed::Segments.into());
        };
        let decode = |segment: &str, which| URL_SAFE_NO_PAD.decode(segment).map_err(|_| Malformed::Base64(which));
        let members =
            json::object(&decode(header, Segment::Header)?).map_err(|fault| Malformed::Json(Segment::Header, fault))?;
        let Header { alg, enc, kid, typ, cty } = Header::read(&members)?;
        let wrapping = match alg.as_str() {
            "RSA-OAEP" => Some(Wrapping::RsaOaep),
            "RSA-OAEP-256" => Some(Wrapping::RsaOaep256),
            _ => None,
        };
        let content = match enc.as_str() {
            "A128CBC-HS256" => Some(Content::Aes128CbcHmacSha256),
            "A256GCM" => Some(Content::Aes256Gcm),
            _ => None,
        };
        let (Some(wrapping), Some(content)) = (wrapping, content) else {
            return Err(EncryptedFault::NotSupported { alg, enc });
        };
        let decode = |segment| decode(segment, Segment::Encrypted);
        Ok(Self {
            kid,
            typ,
            cty,
            wrapping,
            content,
            header,
            encrypted_key: decode(encrypted_key)?,
            iv: decode(iv)?,
            ciphertext: decode(ciphertext)?,
            tag: decode(tag)?,
        })
    }

    /// The text within, if the token was encrypted for this key. Costs an RSA operation with a private key.
    #[must_use]
    pub fn open(&self, key: &DecryptionKey) -> Option<String> {
        let mut random = vec![0; CONTENT_KEY_BYTES];
        OsRng.try_fill_bytes(&mut random).ok()?;
        let recovered = key.unwrap(self.wrapping, &self.encrypted_key).filter(|key| key.len() == CONTENT_KEY_BYTES);
        let is_recovered = recovered.is_some();
        let content = self.decrypt(&recovered.unwrap_or(random)).filter(|_| is_recovered)?;
        String::from_utf8(content).ok()
    }

    fn decrypt(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut content = self.ciphertext.clone();
        let aad = self.header.as_bytes();
        match self.content {
            Content::Aes256Gcm => {
                let (nonce, tag) =
                    (Nonce::try_from(self.iv.as_slice()).ok()?, Tag::try_from(self.tag.as_slice()).ok()?);
                let cipher = Aes256Gcm::new_from_slice(key).ok()?;
                cipher.decrypt_inout_detached(&nonce, aad, content.as_mut_slice().into(), &tag).ok()?;
            }
            Content::Aes128CbcHmacSha256 => {
                let (mac_key, cipher_key) = key.split_at_checked(CONTENT_KEY_BYTES / 2)?;
                // The tag is the first half of the whole MAC (RFC 7518 section 5.2.2.1).
                let mac = self.mac(mac_key);
                if !bool::from(mac.get(..TAG_BYTES)?.ct_eq(&self.tag)) {
                    return None;
                }
                let cipher = cbc::Decryptor::<Aes128>::new_from_slices(cipher_key, &self.iv).ok()?;
                let length = cipher.decrypt_padded::<Pkcs7>(&mut content).ok()?.len();
                content.truncate(length);
            }
        }
        Some(content)
    }

    fn mac(&self, key: &[u8]) -> [u8; 32] {
        let aad = self.header.as_bytes();
        let aad_bits = u64::try_from(aad.len()).unwrap_or(u64::MAX).saturating_mul(8);
        let mut mac = HMAC::new(key);
        for part in [aad, &self.iv, &self.ciphertext, &aad_bits.to_be_bytes()] {
            mac.update(part);
        }
        mac.finalize()
    }
}

impl From<Malformed> for EncryptedFault {
    fn from(form: Malformed) -> Self {
        Self::Malformed(form)
    }
}

/// The header members that matter.
struct Header {
    alg: String,
    enc: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
}

impl Header {
    fn read(members: &Object) -> Result<Self, Malformed> {
        let text = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Malformed::Member(name)),
        };
        if members.contains_key("crit") {
            return Err(Malformed::Critical);
        }
        // Little text that swells without end, and a length that tells of secrets (RFC 8725 section 3.6).
        if members.contains_key("zip") {
            return Err(Malformed::Compressed);
        }
        let kid = text("kid").map_err(|_| Malformed::KeyId)?;
        if kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(Malformed::KeyId);
        }
        Ok(Self {
            alg: text("alg")?.ok_or(Malformed::Member("alg"))?,
            enc: text("enc")?.ok_or(Malformed::Member("enc"))?,
            kid,
            typ: text("typ")?,
            cty: text("cty")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7516 appendix A.1.1 and A.1.4, the key as PKCS #1.
    const RFC7516_A1_KEY: &str = "MIIEowIBAAKCAQEAoahUIoWw0K0usKNuOR6H4wkf4oBUXHTxRvgb48E+BVvxkeDNjbC4he8rUWcJoZmds2h7M70imEVhRU5djINXtqllXI4DFq\
        cI1DgjT9LewND8MW2Krf3Spsk/ZkoFnilakGygTwpZ3uesH+PFABNIUYpOiN15dsQRkgr0vEhxN92i2asbOenSZeyaxziK72UwxrrKoExv6kc5\
        twXTq4h+QChLOln0/mtUZwfsRaMStPs6mS6XrgxnxbWhojf663tuEQueGC+FCMfra36C9knDFGzKsNa7LZK2djYgyD3JR/MB/4NUJW/TqOQtwH\
        YbxevoJArm+L5StowjzGy+/bq6GwIDAQABAoIBAQCQt20iPoZsOSz8CkJJNhC16Vw222UqI7I/Mytcd4j7KTUXv6SkPFjj5Zjk1ZXkqe1oR5dL\
        WPzYTfvnHGFYwdfK+Nh5w9P1+nBH8z2BXyf0euHZqdOlMP3cO3rbKlbfIOwnMGdOeti7WLBZGAEqsRhjjqoBkisDbEDCebZfu4ZHWGCGSoOnRW\
        qPeRtILPVfJ8Kzr8t6EHC3EcjKHxGKnLjSnbiag4BuDFXDevFP++W3dRV7hY7cmQk7OWlR/4pNUjY+2Cb50BHFMS0T6J37g4mvSH4r5UWzdVKd\
        1VMjOdLF/KuPwgsvowb9S/xgC7tUgtIHeU5bTzn7ioTcPOCtOODJAoGBANa+dl5OOnPi7HweT+ONqe2rXT1K8UEsuJrYv7WSNzIH9hLhVW1KAw\
        b2kUPklsZG5JqBMy+yV66EgY0qyt2CEIGHTIMgBD0z417/4SNv9Xk0j1WX8y9JX3zZ9NyF6lheTAxbqFGBNIc29r4a5Tf6yq23wyMFG06444In\
        kW8AugpdAoGBAMC29+ce4ZkFmbFiZgf75XvO4oYGdfUvJQRETiyLGRuGsmVXvR4vYA1QjgZlA3Wg2FU0jcf/BcsNWGGvVxqxpw3sNNCdvHEVKH\
        gQf4yiNaJmtDq79U/WlyFsSsHeIL8RSJjlq90ES/ShAUc5NkWrVAZ5g2SUyAH8E7NIOvFGR77XAoGAZK+YwE7diUh0qR1tR7w8WHtolDx3MZ/O\
        TowiFvgfeQ3SiresXjm9gZ5KLhMXvo+uz+KUJWDxS5pFQ/M0evdo1dKiRTjVw/x4NyqyXPM5nULPkcpU827rnpZzAJKpdhWAgqrXGKAECQH0Xt\
        4taznjnd/zVpAmZZq60WPMBMfKcuECgYAOrSB+AnUN0UZeIu9ARme4oQ3RRSawkHGSPJ1zePhlh0GIxEDLzrHS8cKPLBwyVhiDjKgLhhlr2E1V\
        yyOoDcV6IvX2uTyDpCfb1O3RyPyqrIWnP280MFR8ICIlV4RI6MkNk9gd0djy/Vv6j5nZfm28vH5MJ6R/ujHJ4oNSopaOKwKBgFSDKTGGz3+O3U\
        9cP8w1F3z4prEnoJzDgNc02l+2hpP/Lq2OkfPmVtRcVOwJVgMi1sm6qurdelRXe4UHdMun5VCuEpTsnQetYMGpzrFxjgDr/NnB6tBN3i+B67WZ\
        FLir5z6zJ7FFBZX1Hcm1c8co8/SRf18mmNeGq3S0o3+C/xTW";
    const RFC7516_A1: &str = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.\
        OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGeipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb\
        23nfa6c9d-StnImGyFDbSv04uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaVmqgfwX7XWRxv2322i-vDxRfq\
        Nzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je81860ppamavo35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi6Ukl\
        fCpIMfIjf7iGdXKHzg.\
        48V1_ALb6US04U3b.\
        5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.\
        XFBoMYUZodetZdvTiFvSkQ";

    fn key() -> DecryptionKey {
        DecryptionKey::read(None, RFC7516_A1_KEY).unwrap()
    }

    fn open(token: &str) -> Option<String> {
        Encrypted::read(token).ok().unwrap().open(&key())
    }

    #[test]
    fn the_example_of_the_specification_is_opened() {
        assert!(is_encrypted(RFC7516_A1));
        let text = "The true sign of intelligence is not knowledge but imagination.";
        assert_eq!(open(RFC7516_A1).as_deref(), Some(text));
    }

    #[test]
    fn whatever_is_changed_it_is_opened_no_more() {
        let parts: Vec<&str> = RFC7516_A1.split('.').collect();
        for at in 1..5 {
            for change in [0, 1, 2] {
                let mut bytes = URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
                match change {
                    0 => bytes[0] ^= 1,
                    1 => bytes.push(0),
                    _ => drop(bytes.pop()),
                }
                let mut changed: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
                changed[at] = URL_SAFE_NO_PAD.encode(bytes);
                assert_eq!(open(&changed.join(".")), None, "part {at}, change {change}");
                changed[at].clear();
                assert_eq!(open(&changed.join(".")), None, "part {at}, empty");
            }
        }
        // The header is authenticated, though it says the same.
        let header = URL_SAFE_NO_PAD.encode(r#"{"enc":"A256GCM","alg":"RSA-OAEP"}"#);
        assert_eq!(open(&RFC7516_A1.replacen(parts[0], &header, 1)), None);
        let other = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#);
        assert_eq!(open(&RFC7516_A1.replacen(parts[0], &other, 1)), None);
    }

    /// RFC 7518 appendix B.1.
    #[test]
    fn cbc_with_hmac_is_as_specified() {
        let hex = |digits: &str| -> Vec<u8> {
            let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        };
        let mut encrypted = Encrypted {
            kid: None,
            typ: None,
            cty: None,
            wrapping: Wrapping::RsaOaep,
            content: Content::Aes128CbcHmacSha256,
            header: "The second principle of Auguste Kerckhoffs",
            encrypted_key: Vec::new(),
            iv: hex("1af38c2dc2b96ffdd86694092341bc04"),
            ciphertext: hex(
                "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9a94ac9b47ad2655c5f10f9aef71427e2fc6f9b3f399a\
                 221489f16362c703233609d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b384c486f3a54c51078158ee5\
                 d79de59fbd34d848b3d69550a67646344427ade54b8851ffb598f7f80074b9473c82e2db",
            ),
            tag: hex("652c3fa36b0a7c5b3219fab3a30bc1c4"),
        };
        let key: Vec<u8> = (0..32).collect();
        let text =
            b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the \
                     enemy without inconvenience";
        assert_eq!(encrypted.decrypt(&key).as_deref(), Some(text.as_slice()));
        encrypted.tag[15] ^= 1;
        assert_eq!(encrypted.decrypt(&key), None);
        encrypted.tag[15] ^= 1;
        encrypted.iv[0] ^= 1;
        assert_eq!(encrypted.decrypt(&key), None);
    }

    #[test]
    fn headers_are_read_strictly_and_before_anything_is_decrypted() {
        let fault = |header: &str| Encrypted::read(&format!("{}.YQ.YQ.YQ.YQ", URL_SAFE_NO_PAD.encode(header))).err();
        for (header, expected) in [
            (r#"{"alg":"RSA-OAEP"}"#, Malformed::Member("enc")),
            (r#"{"enc":"A256GCM"}"#, Malformed::Member("alg")),
            (r#"{"alg":["RSA-OAEP"],"enc":"A256GCM"}"#, Malformed::Member("alg")),
            (r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":1}"#, Malformed::KeyId),
            (r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":""}"#, Malformed::KeyId),
            (r#"{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}"#, Malformed::Compressed),
            (r#"{"alg":"RSA-OAEP","enc":"A256GCM","crit":["exp"],"exp":1}"#, Malformed::Critical),
            (
                r#"{"alg":"RSA-OAEP","alg":"dir","enc":"A256GCM"}"#,
                Malformed::Json(Segment::Header, json::JsonFault::DuplicateMember),
            ),
        ] {
            assert_eq!(fault(header), Some(EncryptedFault::Malformed(expected)), "{header}");
        }
        for (alg, enc) in [
            ("RSA1_5", "A256GCM"),
            ("dir", "A256GCM"),
            ("none", "A256GCM"),
            ("RSA-OAEP", "A128GCM"),
            ("RSA-OAEP", "none"),
        ] {
            let expected = EncryptedFault::NotSupported { alg: alg.into(), enc: enc.into() };
            assert_eq!(fault(&format!(r#"{{"alg":"{alg}","enc":"{enc}"}}"#)), Some(expected));
        }
        let malformed = |token: &str| Encrypted::read(token).err();
        assert_eq!(malformed("a.b.c"), Some(Malformed::Segments.into()));
        assert_eq!(malformed("=.b.c.d.e"), Some(Malformed::Base64(Segment::Header).into()));
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        assert_eq!(malformed(&format!("{header}.YQ==.YQ.YQ.YQ")), Some(Malformed::Base64(Segment::Encrypted).into()));
        assert_eq!(
            malformed(&format!("{header}.{}.YQ.YQ.YQ", "A".repeat(MAX_TOKEN_BYTES))),
            Some(Malformed::TooLong.into())
        );
    }

    #[test]
    fn keys_are_read_as_they_are_kept() {
        let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{RFC7516_A1_KEY}\n-----END RSA PRIVATE KEY-----\n");
        assert!(DecryptionKey::read(None, &pem).is_some());
        assert!(DecryptionKey::read(None, &format!("  {RFC7516_A1_KEY}\r\n")).is_some());
        for text in ["", "x", "-----BEGIN PRIVATE KEY-----", "YQ==", "{\"kty\":\"RSA\"}"] {
            assert!(DecryptionKey::read(None, text).is_none(), "{text}");
        }
        // A key whose parts do not fit together.
        assert!(DecryptionKey::read(None, &RFC7516_A1_KEY.replacen("oahUIoWw0K0us", "oahUIoWw0K0ut", 1)).is_none());
        assert_eq!(format!("{:?}", key()), "DecryptionKey { kid: None, .. }");
    }
}
