//! Conditions on claims, and what equals what. A condition holds only where type and value are the configured ones: the
//! text `1` is not the number 1, `true` not the text `true`; null, nested lists and objects equal nothing.

use serde_json::{Number, Value};

use super::forward::ClaimPath;
use crate::jose::json::Object;

/// Fifteen digits: up to there no reader of JSON takes one whole number for another (RFC 8259 section 6).
pub const MOST_WHOLE: u64 = 999_999_999_999_999;

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Where it is.
    pub claim: ClaimPath,
    /// What it must hold.
    pub condition: Condition,
}

/// What a claim must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything, but not nothing.
    Present,
    /// All or any of some values.
    Values {
        /// How many of them.
        needs: Needs,
        /// The values. Never empty.
        values: Vec<Scalar>,
        /// What separates the values of a claim that is one text; none: the text is one value.
        separator: Option<String>,
    },
}

/// How many of several must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needs {
    /// Every one.
    All,
    /// At least one.
    #[default]
    Any,
}

/// A value that a claim is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A text, compared to the byte.
    Text(String),
    /// A whole number of at most [`MOST_WHOLE`] either way, compared by value: `1`, `1.0` and `1e0` are one.
    Whole(i64),
}

/// Why a condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unmet<'a> {
    /// There is no such claim, or it is null or empty.
    Missing,
    /// It holds something else.
    Other(&'a Value),
}

impl RequiredClaim {
    /// Holds claims to the condition.
    ///
    /// # Errors
    /// Tells an absent claim from one with other values.
    pub fn check<'a>(&self, claims: &'a Object) -> Result<(), Unmet<'a>> {
        let value = self.claim.find(claims).filter(|value| !is_nothing(value)).ok_or(Unmet::Missing)?;
        let holds = match &self.condition {
            Condition::Present => true,
            Condition::Values { needs, values, separator } => {
                let mut found = values.iter().map(|wanted| holds(value, wanted, separator.as_deref()));
                match needs {
                    Needs::All => found.all(|found| found),
                    Needs::Any => found.any(|found| found),
                }
            }
        };
        if holds { Ok(()) } else { Err(Unmet::Other(value)) }
    }
}

impl Scalar {
    /// A scalar of the configuration; none for what no claim can equal.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Flag(*flag)),
            Value::Number(number) => whole(number).map(Self::Whole),
            Value::String(text) if !text.is_empty() => Some(Self::Text(text.clone())),
            Value::Array(_) | Value::Null | Value::Object(_) | Value::String(_) => None,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Flag(wanted), Value::Bool(flag)) => wanted == flag,
            (Self::Text(wanted), Value::String(text)) => wanted == text,
            (Self::Whole(wanted), Value::Number(number)) => whole(number) == Some(*wanted),
            (Self::Flag(_) | Self::Text(_) | Self::Whole(_), _) => false,
        }
    }
}

/// As JSON writes it, so that `"1"` and `1` can be told apart.
impl std::fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Text(text) => write!(formatter, "{}", Value::from(text.as_str())),
            Self::Whole(number) => write!(formatter, "{number}"),
        }
    }
}

/// Whether a claim holds a value: it equals it, or one of its elements or separated parts does.
fn holds(value: &Value, wanted: &Scalar, separator: Option<&str>) -> bool {
    match (value, wanted, separator) {
        (Value::Array(elements), _, _) => elements.iter().any(|element| wanted.equals(element)),
        (Value::String(text), Scalar::Text(wanted), Some(separator)) => {
            text.split(separator).any(|part| part == wanted)
        }
        _ => wanted.equals(value),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.is_empty(),
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A whole number that is written in whatever way JSON allows, up to [`MOST_WHOLE`] either way.
fn whole(number: &Number) -> Option<i64> {
    let whole = match number.as_i64() {
        Some(whole) => whole,
        None => {
            let double = number.as_f64().filter(|double| double.fract() == 0.0)?;
            format!("{double:.0}").parse().ok()?
        }
    };
    (whole.unsigned_abs() <= MOST_WHOLE).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn condition(needs: Needs, values: &[Value], separator: Option<&str>) -> RequiredClaim {
        let values = values.iter().map(|value| Scalar::of(value).unwrap()).collect();
        let separator = separator.map(str::to_owned);
        RequiredClaim {
            claim: ClaimPath::parse("x").unwrap(),
            condition: Condition::Values { needs, values, separator },
        }
    }

    fn holds(condition: &RequiredClaim, value: &Value) -> bool {
        condition.check(&object(&json!({ "x": value }))).is_ok()
    }

    /// Values of every JSON type, as JSON text: what a token can hold.
    const EVERY_VALUE: [&str; 68] = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1",
        "1.0",
        "1e0",
        "10e-1",
        "1.5",
        "1.0000000000000001",
        "-1",
        "2",
        "999999999999998",
        "999999999999999",
        "1000000000000000",
        "999999999999999.9",
        "9007199254740991",
        "9007199254740991.0",
        "9007199254740992",
        "9007199254740993",
        "9007199254740992.0",
        "-9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "1e300",
        "-1e300",
        r#""""#,
        r#"" ""#,
        r#""0""#,
        r#""1""#,
        r#""1.0""#,
        r#""true""#,
        r#""false""#,
        r#""null""#,
        r#""a""#,
        r#""A""#,
        r#""a ""#,
        r#"" a""#,
        r#""a b""#,
        r#""b a""#,
        r#""a  b""#,
        r#""a,b""#,
        r#""ab""#,
        r#""[\"a\"]""#,
        r#""a\u0000""#,
        r#""\u0430""#,
        "[]",
        "[null]",
        r#"[""]"#,
        r#"["a"]"#,
        r#"["b","a"]"#,
        r#"["a b"]"#,
        r#"["a",1,true,null]"#,
        "[1]",
        "[1.0]",
        r#"["1"]"#,
        "[true]",
        r#"["true"]"#,
        r#"[["a"]]"#,
        "[[1]]",
        r#"[{"a":"a"}]"#,
        "{}",
        r#"{"a":"a"}"#,
        r#"{"x":"a"}"#,
        r#"{"0":"a"}"#,
    ];

    /// The values that equal each configured one, named by their text: the table of the reference, row by row.
    #[test]
    fn a_value_equals_what_has_its_type_and_value_and_nothing_else() {
        let one = ["1", "1.0", "1e0", "10e-1", "1.0000000000000001", "[1]", "[1.0]", r#"["a",1,true,null]"#];
        for (wanted, separator, equal) in [
            (json!(1), None, one.as_slice()),
            (json!(1), Some(" "), &one),
            (json!(0), None, &["0", "-0", "-0.0"]),
            (json!(-1), None, &["-1"]),
            (json!(MOST_WHOLE), None, &["999999999999999"]),
            (json!(MOST_WHOLE - 1), None, &["999999999999998"]),
            (json!(true), None, &["true", "[true]", r#"["a",1,true,null]"#]),
            (json!(false), None, &["false"]),
            (json!("true"), None, &[r#""true""#, r#"["true"]"#]),
            (json!("1"), None, &[r#""1""#, r#"["1"]"#]),
            (json!("null"), None, &[r#""null""#]),
            (json!("a"), None, &[r#""a""#, r#"["a"]"#, r#"["b","a"]"#, r#"["a",1,true,null]"#]),
            (
                json!("a"),
                Some(" "),
                &[
                    r#""a""#,
                    r#""a ""#,
                    r#"" a""#,
                    r#""a b""#,
                    r#""b a""#,
                    r#""a  b""#,
                    r#"["a"]"#,
                    r#"["b","a"]"#,
                    r#"["a",1,true,null]"#,
                ],
            ),
            (json!("a"), Some(","), &[r#""a""#, r#""a,b""#, r#"["a"]"#, r#"["b","a"]"#, r#"["a",1,true,null]"#]),
            (json!("a b"), None, &[r#""a b""#, r#"["a b"]"#]),
            (json!(r#"["a"]"#), None, &[r#""[\"a\"]""#]),
        ] {
            for needs in [Needs::All, Needs::Any] {
                let condition = condition(needs, std::slice::from_ref(&wanted), separator);
                for text in EVERY_VALUE {
                    let value: Value = serde_json::from_str(text).unwrap();
                    assert_eq!(holds(&condition, &value), equal.contains(&text), "{wanted} {separator:?}: {text}");
                }
            }
        }
    }

    /// Every pair of configured values against every value: `all` and `any` are what single values say together.
    #[test]
    fn all_needs_every_value_and_any_needs_one() {
        let wanted = [json!("a"), json!("b"), json!("1"), json!(1), json!(0), json!(true), json!("true")];
        for separator in [None, Some(" "), Some(",")] {
            for first in &wanted {
                for second in &wanted {
                    for text in EVERY_VALUE {
                        let value: Value = serde_json::from_str(text).unwrap();
                        let one = |wanted: &Value| {
                            holds(&condition(Needs::All, std::slice::from_ref(wanted), separator), &value)
                        };
                        let both = [first.clone(), second.clone()];
                        let (all, any) =
                            (condition(Needs::All, &both, separator), condition(Needs::Any, &both, separator));
                        assert_eq!(holds(&all, &value), one(first) && one(second), "{first} {second} {text}");
                        assert_eq!(holds(&any, &value), one(first) || one(second), "{first} {second} {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_null_or_empty_is_missing() {
        let present = RequiredClaim { claim: ClaimPath::parse("x").unwrap(), condition: Condition::Present };
        for text in EVERY_VALUE {
            let value: Value = serde_json::from_str(text).unwrap();
            let claims = object(&json!({ "x": value }));
            let missing = matches!(text, "null" | r#""""# | "[]" | "{}");
            assert_eq!(present.check(&claims).is_err(), missing, "{text}");
            let unmet =
                condition(Needs::Any, &[json!("z")], None).check(&claims).map_err(|unmet| unmet == Unmet::Missing);
            assert_eq!(unmet, Err(missing), "{text}");
        }
        assert_eq!(present.check(&Object::new()), Err(Unmet::Missing));
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let nested = RequiredClaim {
            claim: ClaimPath::parse("a.b").unwrap(),
            condition: Condition::Values { needs: Needs::Any, values: vec![Scalar::Text("v".into())], separator: None },
        };
        for (claims, held) in [
            (json!({"a": {"b": "v"}}), true),
            (json!({"a.b": "v"}), true),
            // The claim of that very name counts, whatever the other holds.
            (json!({"a.b": "w", "a": {"b": "v"}}), false),
            (json!({"a.b": null, "a": {"b": "v"}}), false),
            (json!({"a": [{"b": "v"}]}), false),
            (json!({"a": "{\"b\":\"v\"}"}), false),
            (json!({"a": {"B": "v"}}), false),
            (json!({"b": "v"}), false),
            (json!({}), false),
        ] {
            assert_eq!(nested.check(&object(&claims)).is_ok(), held, "{claims}");
        }
    }

    #[test]
    fn only_scalars_that_a_claim_can_equal_are_configured() {
        for (value, scalar) in [
            (json!(5), Some(Scalar::Whole(5))),
            (json!(5.0), Some(Scalar::Whole(5))),
            (json!(true), Some(Scalar::Flag(true))),
            (json!("5"), Some(Scalar::Text("5".into()))),
            (json!(1.5), None),
            (json!(MOST_WHOLE + 1), None),
            (json!(u64::MAX), None),
            (json!(1e300), None),
            (json!(""), None),
            (json!(null), None),
            (json!(["a"]), None),
            (json!({"a": 1}), None),
        ] {
            assert_eq!(Scalar::of(&value), scalar, "{value}");
        }
    }
}
