//! Whether the variables of an operation have the values that their types demand.
//!
//! The library looks at a value only where it is used, and by the type that is wanted there. What it lets pass so is a
//! null, or nothing, where the variable's own type forbids it (GraphQL, October 2021, section 6.1.2).

use async_graphql::parser::types::{BaseType, OperationDefinition, Type};
use async_graphql::{Value, Variables};

use crate::error::ApiError;

/// Refuses an operation that cannot be executed with these variables.
///
/// # Errors
/// `INVALID_REQUEST`, naming the variable.
pub(super) fn check(operation: &OperationDefinition, variables: &Variables) -> Result<(), ApiError> {
    for definition in operation.variable_definitions.iter().map(|definition| &definition.node) {
        let (name, kind) = (&definition.name.node, &definition.var_type.node);
        let fits = match variables.get(name) {
            Some(value) => fits(value, kind),
            None => kind.nullable || definition.default_value.is_some(),
        };
        if !fits {
            let detail = format!("the variable ${name} must have a value of the type {kind}");
            return Err(ApiError::invalid(detail));
        }
    }
    Ok(())
}

/// Whether there is a null only where the type has room for it. Nesting is limited in both before this.
fn fits(value: &Value, kind: &Type) -> bool {
    match (value, &kind.base) {
        (Value::Null, _) => kind.nullable,
        (Value::List(items), BaseType::List(inner)) => items.iter().all(|item| fits(item, inner)),
        // A single value stands for a list of it.
        (_, BaseType::List(inner)) => fits(value, inner),
        (_, BaseType::Named(_)) => true,
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
        check(&operation.node, &Variables::from_json(variables)).err().map(|error| error.detail)
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
        ] {
            let told = refused(definitions, variables).expect(definitions);
            assert!(told.starts_with("the variable $a must have a value of the type "), "{told}");
        }
        assert!(refused("$a: [Int!]!", json!({})).expect("none").ends_with("[Int!]!"));
    }
}
