//! JSON objects in which every member name appears once, at every level.
//!
//! Parsers disagree on which of two equal members counts, so a token with two `alg` or two `aud` could mean one thing
//! here and another upstream. RFC 8725 section 2.4, RFC 7519 section 4.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object whose member names are unique.
pub type Object = Map<String, Value>;

/// Why some bytes are not such an object. Carries nothing of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// A member name appears twice in one object.
    DuplicateMember,
    /// Valid JSON, but not an object.
    NotAnObject,
    /// Not JSON: syntax, encoding, numbers out of range, or nesting beyond serde_json's 128 levels.
    Syntax,
}

/// Reads one JSON object, refusing duplicates at any depth.
///
/// # Errors
/// Says which of the three rules the bytes break.
pub fn object(bytes: &[u8]) -> Result<Object, JsonFault> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(_) => Err(JsonFault::NotAnObject),
        // Only `visit_map` below reports a data error: everything else is accepted as some value.
        Err(error) if error.is_data() => Err(JsonFault::DuplicateMember),
        Err(_) => Err(JsonFault::Syntax),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON with unique member names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_refused_at_every_level_and_through_escapes() {
        for text in [
            r#"{"alg":1,"alg":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            "{\"\\u0061lg\":1,\"alg\":2}",
        ] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::DuplicateMember), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_object_or_not_json_is_told_apart() {
        for text in ["[]", "1", "null", r#""x""#] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::NotAnObject), "{text}");
        }
        let deep = "[".repeat(100_000);
        for text in ["", "{", r#"{"a":1}x"#, r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, &deep] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::Syntax), "{}", text.len());
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(JsonFault::Syntax));
    }

    #[test]
    fn every_kind_of_value_survives() {
        let read = object(br#"{"a":null,"b":true,"c":-1,"d":1.5,"e":"x","f":[1,{"g":2}]}"#);
        let expected = serde_json::json!({"a":null,"b":true,"c":-1,"d":1.5,"e":"x","f":[1,{"g":2}]});
        assert_eq!(read.map(Value::Object), Ok(expected));
    }
}
