//! `WWW-Authenticate: Bearer …`, read as strictly as RFC 6750 section 3 and RFC 9110 section 11.6.1 write it.

use std::collections::BTreeMap;

/// The parameters of one Bearer challenge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge(BTreeMap<String, String>);

impl Challenge {
    /// Reads a header value.
    ///
    /// # Errors
    /// Says what RFC 6750 would not have.
    pub fn parse(value: &str) -> Result<Self, String> {
        let rest = value.strip_prefix("Bearer").ok_or("another scheme than Bearer")?;
        let mut rest = match rest.strip_prefix(' ') {
            Some(rest) => rest,
            None if rest.is_empty() => return Ok(Self(BTreeMap::new())),
            None => return Err("no space after Bearer".into()),
        };
        let mut parameters = BTreeMap::new();
        loop {
            let (name, after) = rest.split_once("=\"").ok_or_else(|| format!("no quoted parameter in {rest:?}"))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                return Err(format!("parameter name {name:?}"));
            }
            let (text, after) = after.split_once('"').ok_or_else(|| format!("{name} is not closed"))?;
            // RFC 6750 section 3: no quotes, no backslashes, printable ASCII.
            if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\') {
                return Err(format!("{name} holds {text:?}"));
            }
            if parameters.insert(name.to_owned(), text.to_owned()).is_some() {
                return Err(format!("{name} appears twice"));
            }
            if after.is_empty() {
                return Ok(Self(parameters));
            }
            rest = after.strip_prefix(", ").ok_or_else(|| format!("{after:?} after {name}"))?;
        }
    }

    /// A parameter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
