//! A serialized `google.protobuf.Struct`: how Envoy hands over YAML that stands in its own file.

use prost::Message as _;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

/// Reads a Struct as the JSON that it stands for. Whole numbers come out whole.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let structure = prost_types::Struct::decode(bytes).ok()?;
    object(structure)
}

fn object(structure: prost_types::Struct) -> Option<Value> {
    let members: Option<Map<String, Value>> =
        structure.fields.into_iter().map(|(name, value)| Some((name, json(value)?))).collect();
    members.map(Value::Object)
}

fn json(value: prost_types::Value) -> Option<Value> {
    Some(match value.kind? {
        Kind::NullValue(_) => Value::Null,
        Kind::NumberValue(number) => {
            Value::Number(whole(number).map_or_else(|| Number::from_f64(number), |whole| Some(whole.into()))?)
        }
        Kind::StringValue(text) => Value::String(text),
        Kind::BoolValue(flag) => Value::Bool(flag),
        Kind::StructValue(structure) => object(structure)?,
        Kind::ListValue(list) => Value::Array(list.values.into_iter().map(json).collect::<Option<_>>()?),
    })
}

/// A double that stands for a whole number: every number of a Struct is a double.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0).then(|| format!("{number:.0}").parse().ok())?
}
