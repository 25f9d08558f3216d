//! Whether the variables of an operation have the values that their types demand.
//!
//! The library looks at a value only where it is used, and by the type that is wanted there. What it lets pass so is a
//! null, or nothing, where the variable's own type forbids it (GraphQL, October 2021, section 6.1.2), and anything
//! instead of an input object.

use async_graphql::parser::types::{BaseType, OperationDefinition, Type};
use async_graphql::{Value, Variables};

use super::positions::Positions;
use crate::error::ApiError;

/// Gives the variables that were left out their default values: the library forgets them at `@skip` and `@include`.
pub(super) fn complete(operation: &OperationDefinition, variables: &mut Variables) {
    for definition in operation.variable_definitions.iter().map(|definition| &definition.node) {
        if let Some(default) = &definition.default_value {
            let name = &definition.name.node;
            variables.entry(name.clone()).or_insert_with(|| default.node.clone());
        }
    }
}

/// Refuses an operation that cannot be executed with these variables.
///
/// # Errors
/// `INVALID_REQUEST`, naming the variable.
pub(super) fn check(
    operation: &OperationDefinition,
    variables: &Variables,
    positions: &Positions,
) -> Result<(), ApiError> {
    for definition in operation.variable_definitions.iter().map(|definition| &definition.node) {
        let (name, kind) = (&definition.name.node, &definition.var_type.node);
        let fits = match variables.get(name) {
            Some(value) => fits(value, kind, positions),
            None => kind.nullable || definition.default_value.is_some(),
        };
        if !fits {
            let detail = format!("the variable ${name} must have a value of the type {kind}");
            return Err(ApiError::invalid(detail));
        }
    }
    Ok(())
}

/// Whether nulls and input objects are only where the type has them. Nesting is limited in both before this.
fn fits(value: &Value, kind: &Type, positions: &Positions) -> bool {
    match (value, &kind.base) {
        (Value::Null, _) => kind.nullable,
        (Value::List(items), BaseType::List(inner)) => items.iter().all(|item| fits(item, inner, positions)),
        // A single value stands for a list of it.
        (_, BaseType::List(inner)) => fits(value, inner, positions),
        (_, BaseType::Named(name)) => match (value, positions.input(name)) {
            (_, None) => true,
            (Value::Object(members), Some(places)) => members
                .iter()
                .filter_map(|(name, value)| Some((places.get(name)?, value)))
                .all(|(wanted, value)| fits(value, &wanted.kind, positions)),
            (_, Some(_)) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::{Value as Json, json};

    use super::*;

    fn refused(definitions: &str, variables: Json) -> Option<String> {
        let document = parse_query(format!("query({definitions}) {{ a }}")).expect("a document");
        let (_, operation) = document.operations.iter().next().expect("an operation");
        let positions = Positions::of(&crate::graphql::schema::sdl());
        check(&operation.node, &Variables::from_json(variables), &positions).err().map(|error| error.detail)
    }

    #[test]
    fn a_variable_has_a_value_where_its_type_demands_one() {
        for (definitions, variables) in [
            ("$a: Int!", json!({"a": 1})),
            ("$a: Int", json!({})),
            ("$a: Int", json!({"a": null})),
            ("$a: Int! = 1", json!({})),
            ("$a: [Int]!", json!({"a": [1, null]})),
            ("$a: [Int!]!", json!({"a": 1})),
            ("$a: [[Int!]]", json!({"a": [null, [1]]})),
            ("$a: Int", json!({"b": null})),
            ("$a: EventInput!", json!({"a": {"type": null, "data": [null]}})),
            ("$a: JSON!", json!({"a": [null]})),
        ] {
            assert_eq!(refused(definitions, variables), None, "{definitions}");
        }
        for (definitions, variables) in [
            ("$a: Int!", json!({})),
            ("$a: Int!", json!({"a": null})),
            ("$a: Int! = 1", json!({"a": null})),
            ("$b: Int, $a: Int!", json!({"b": 1})),
            ("$a: [Int!]", json!({"a": [1, null]})),
            ("$a: [[Int!]]", json!({"a": [[1], [null]]})),
            ("$a: EventInput", json!({"a": "b"})),
            ("$a: [ChannelEventInput!]!", json!({"a": [{"channel": "a", "event": 5}]})),
            ("$a: [ChannelEventInput!]!", json!({"a": {"channel": null, "event": {}}})),
        ] {
            let told = refused(definitions, variables).expect(definitions);
            assert!(told.starts_with("the variable $a must have a value of the type "), "{told}");
        }
        assert!(refused("$a: [Int!]!", json!({})).expect("none").ends_with("[Int!]!"));
    }

    #[test]
    fn a_default_stands_for_what_was_left_out() {
        let document =
            parse_query("query($a: Int = 1, $b: Int = 2, $c: Int = 3, $d: Int) { x }").expect("one");
        let (_, operation) = document.operations.iter().next().expect("an operation");
        let mut variables = Variables::from_json(json!({"b": 5, "c": null}));
        complete(&operation.node, &mut variables);
        assert_eq!(variables, Variables::from_json(json!({"a": 1, "b": 5, "c": null})));
    }
}
