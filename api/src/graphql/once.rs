//! A field that a mutation asks for twice is one field (GraphQL, October 2021, section 5.3.2): the library would execute
//! it twice, and publish two events.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned};

use crate::error::ApiError;

/// The name of the root type.
const ROOT: &str = "Mutation";

/// The fields at the root of a mutation, each once; nothing where that is so already. Fragments at the root are
/// dissolved.
///
/// # Errors
/// `INVALID_REQUEST` where fields of one name are not the same, or not sure to be executed both or none.
pub(super) fn merged(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
) -> Result<Option<Vec<Positioned<Selection>>>, ApiError> {
    if operation.ty != OperationType::Mutation {
        return Ok(None);
    }
    let mut found = Vec::new();
    gather(document, &operation.selection_set.node, true, &mut found);
    let mut keys = HashSet::new();
    if found.iter().all(|(_, field)| keys.insert(key(&field.node))) {
        return Ok(None);
    }
    let (mut fields, mut places) = (Vec::<Positioned<Field>>::new(), HashMap::new());
    for (is_plain, field) in found {
        let place = *places.entry(key(&field.node)).or_insert(fields.len());
        let Some(before) = fields.get_mut(place) else {
            fields.push(field.clone());
            continue;
        };
        if !is_plain || !is_same(&before.node, &field.node) {
            let key = key(&field.node);
            return Err(ApiError::invalid(format!(
                "the mutation has {key} twice; give each an alias of its own"
            )));
        }
        let more = field.node.selection_set.node.items.iter().cloned();
        before.node.selection_set.node.items.extend(more);
    }
    let selection =
        |Positioned { pos, node }| Positioned::new(Selection::Field(Positioned::new(node, pos)), pos);
    Ok(Some(fields.into_iter().map(selection).collect()))
}

fn is_same(one: &Field, other: &Field) -> bool {
    one.name.node == other.name.node
        && one.arguments == other.arguments
        && one.directives.is_empty()
        && other.directives.is_empty()
}

/// Puts other fields at the root of an operation.
pub(super) fn replace(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    items: Vec<Positioned<Selection>>,
) {
    use async_graphql::parser::types::DocumentOperations as Operations;
    let operation = match &mut document.operations {
        Operations::Single(operation) => Some(operation),
        Operations::Multiple(operations) => match name {
            Some(name) => operations.get_mut(name),
            None => operations.values_mut().next(),
        },
    };
    if let Some(operation) = operation {
        operation.node.selection_set.node.items = items;
    }
    // Nothing spreads them any more.
    document.fragments.retain(|_, fragment| fragment.node.type_condition.node.on.node != ROOT);
}

/// The fields at the root, and whether each is sure to be executed. The guard has made sure that there are no circles.
fn gather<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    is_plain: bool,
    found: &mut Vec<(bool, &'a Positioned<Field>)>,
) {
    for item in &set.items {
        let is_plain = is_plain && item.node.directives().is_empty();
        match &item.node {
            Selection::Field(field) => found.push((is_plain, field)),
            Selection::InlineFragment(fragment) => {
                gather(document, &fragment.node.selection_set.node, is_plain, found);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    let is_plain = is_plain && fragment.node.directives.is_empty();
                    gather(document, &fragment.node.selection_set.node, is_plain, found);
                }
            }
        }
    }
}

/// The name under which a field is answered.
fn key(field: &Field) -> &Name {
    field.alias.as_ref().map_or(&field.name.node, |alias| &alias.node)
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn merged_keys(document: &str) -> Result<Option<Vec<String>>, String> {
        let document = parse_query(document).expect("a document");
        let (_, operation) = document.operations.iter().next().expect("an operation");
        let merged = merged(&document, &operation.node).map_err(|error| error.detail)?;
        let told = |item: Positioned<Selection>| match item.node {
            Selection::Field(field) => {
                format!("{} {}", key(&field.node), field.node.selection_set.node.items.len())
            }
            other => panic!("no field: {other:?}"),
        };
        Ok(merged.map(|items| items.into_iter().map(told).collect()))
    }

    #[test]
    fn the_same_field_is_merged_and_others_are_told_apart() {
        for plain in [
            "{ a a a }",
            "mutation { a { x } b: a { x } ... on Mutation { c: a { x } } }",
            "mutation { ...M @include(if: true) } fragment M on Mutation { a { x } }",
        ] {
            assert_eq!(merged_keys(plain), Ok(None), "{plain}");
        }
        let twice =
            "mutation { a(v: 1) { x } b ...M ...M } fragment M on Mutation { ... { a(v: 1) { y z } } }";
        assert_eq!(merged_keys(twice), Ok(Some(vec!["a 5".to_owned(), "b 0".to_owned()])));
        for refused in [
            "mutation { a(v: 1) a(v: 2) }",
            "mutation { a a: b }",
            "mutation { a a @skip(if: true) }",
            "mutation { a @skip(if: true) a }",
            "mutation { a ... @include(if: false) { a } }",
            "mutation { a ...M } fragment M on Mutation @x { a }",
        ] {
            let told = "the mutation has a twice; give each an alias of its own";
            assert_eq!(merged_keys(refused), Err(told.to_owned()), "{refused}");
        }
    }
}
