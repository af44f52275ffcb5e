//! `decryption_keys`: what opens a provider's encrypted tokens.

use super::environment::Environment;
use super::node::Node;
use crate::jose::compact::MAX_KID_BYTES;
use crate::jose::jwe::DecryptionKey;

pub(super) const MEMBERS: [&str; 2] = ["kid", "private_key_env"];

/// Most keys that one token may have to be tried with: each costs an RSA operation.
const MOST_ALIKE: usize = 4;

/// The keys of all providers, each once, with the variable that it came from.
#[derive(Default)]
pub(super) struct DecryptionKeys(Vec<(String, DecryptionKey)>);

impl DecryptionKeys {
    pub(super) fn into_keys(self) -> Vec<DecryptionKey> {
        self.0.into_iter().map(|(_, key)| key).collect()
    }

    /// The numbers of a provider's keys among all.
    pub(super) fn compile(&mut self, node: &Node<'_>, environment: &Environment<'_>) -> Option<Vec<usize>> {
        let named = node.list(|node| {
            let members = node.object(&MEMBERS)?;
            let kid = members.optional("kid", |node| match node.text()? {
                kid if kid.len() <= MAX_KID_BYTES => Some(kid.to_owned()),
                _ => node.mistake("a shorter text"),
            });
            let variable = members.required("private_key_env")?;
            Some((variable.clone(), kid?, variable.text()?.to_owned(), environment.read(&variable)?))
        })?;
        let mut numbers = Vec::with_capacity(named.len());
        for (node, kid, variable, text) in named {
            let known = self.0.iter().position(|(known, key)| *known == variable && key.kid == kid);
            let number = match known {
                Some(number) => number,
                None => self.add(&node, variable, kid, &text)?,
            };
            numbers.push(number);
        }
        Some(numbers)
    }

    fn add(&mut self, node: &Node<'_>, variable: String, kid: Option<String>, text: &str) -> Option<usize> {
        if self.0.iter().filter(|(_, key)| key.kid == kid).count() == MOST_ALIKE {
            return node.mistake_of(
                &format!("more than {MOST_ALIKE} keys with the same kid, or without any"),
                "another kid: a token is tried with all of them",
            );
        }
        let Some(key) = DecryptionKey::read(kid, text) else {
            return node.mistake_of(
                &format!("{variable}, which holds no usable private key"),
                "an RSA key of 2048 to 4096 bits as PKCS #8 or PKCS #1, PEM or base64, without a passphrase",
            );
        };
        self.0.push((variable, key));
        Some(self.0.len().saturating_sub(1))
    }
}
