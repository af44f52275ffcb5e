//! The public key of a certificate (RFC 5280 section 4.1), and nothing else of it: who issued it and until when does not
//! matter, since it is configuration that trusts the key.

use superboring::reexports::rsa::pkcs8::der::{self, Decode as _, Reader as _, Tag, TagNumber, asn1::AnyRef};
use superboring::reexports::rsa::pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::jwk::KeyMaterial;

/// RFC 8017 appendix A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 5480 section 2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// RFC 5480 section 2.1.1.1.
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// The key of a DER certificate, if it is of a kind that verifies signatures here.
#[must_use]
pub fn key_of(certificate: &[u8]) -> Option<KeyMaterial> {
    let info = public_key_info(certificate).ok()?;
    let key = info.subject_public_key.as_bytes()?;
    match info.algorithm.oid {
        RSA => KeyMaterial::rsa_of_pkcs1(key),
        EC if info.algorithm.parameters_oid() == Ok(P256) => KeyMaterial::p256(key),
        _ => None,
    }
}

fn public_key_info(certificate: &[u8]) -> der::Result<SubjectPublicKeyInfoRef<'_>> {
    AnyRef::from_der(certificate)?.sequence(|certificate| {
        let to_be_signed = AnyRef::decode(certificate)?;
        skip(certificate, 2)?;
        to_be_signed.sequence(|fields| {
            let version = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
            let before = if fields.peek_tag()? == version { 6 } else { 5 };
            skip(fields, before)?;
            let info = SubjectPublicKeyInfoRef::decode(fields)?;
            while !fields.is_finished() {
                skip(fields, 1)?;
            }
            Ok(info)
        })
    })
}

fn skip<'a>(reader: &mut impl der::Reader<'a>, elements: usize) -> der::Result<()> {
    (0..elements).try_for_each(|_| AnyRef::decode(reader).map(|_| ()))
}
