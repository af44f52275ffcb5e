//! `required_claims` of a provider and `claims` of a rule: the same members, the same meaning.

use super::node::Node;
use crate::policy::claim::{Condition, MOST_WHOLE, Needs, RequiredClaim, Scalar};
use crate::policy::forward::ClaimPath;

pub(super) const MEMBERS: [&str; 4] = ["match", "name", "separator", "values"];

pub(super) fn compile(node: &Node<'_>) -> Option<Vec<RequiredClaim>> {
    node.list(required_claim)
}

/// `all` or `any`.
pub(super) fn needs(node: &Node<'_>) -> Option<Needs> {
    node.choice(&[("all", Needs::All), ("any", Needs::Any)])
}

fn required_claim(node: &Node<'_>) -> Option<RequiredClaim> {
    let members = node.object(&MEMBERS)?;
    let claim = members.required("name").and_then(|node| match ClaimPath::parse(node.text()?) {
        Some(claim) => Some(claim),
        None => node.mistake("a claim's name, or a dotted path to one"),
    });
    let needs = members.get("match").map_or(Some(Needs::All), |node| needs(&node));
    let separator = members.optional("separator", Node::text);
    let Some(values) = members.get("values") else {
        for name in ["match", "separator"] {
            members.forbidden(name, "without `values` the claim only has to be there");
        }
        return Some(RequiredClaim { claim: claim?, condition: Condition::Present });
    };
    let separator = separator?;
    let values = values.list(|node| {
        let Some(value) = Scalar::of(node.json()) else {
            return node.mistake(&format!("a text, true, false, or a whole number up to {MOST_WHOLE}"));
        };
        match (&value, separator) {
            (Scalar::Text(text), Some(separator)) if text.contains(separator) => {
                node.mistake("a value without the separator: an element for each value")
            }
            _ => Some(value),
        }
    });
    let separator = separator.map(str::to_owned);
    Some(RequiredClaim { claim: claim?, condition: Condition::Values { needs: needs?, values: values?, separator } })
}
