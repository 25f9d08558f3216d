//! What the library lets pass in a subscription although it must not: fragments at the root.

use async_graphql::Positioned;
use async_graphql::parser::types::{
    ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet, TypeCondition,
};

use crate::error::ApiError;

/// The name of the root type.
const ROOT: &str = "Subscription";
/// How deep fragments may nest at the root.
const MAX_NESTING: usize = 8;

/// The document with the fragments at the root of its subscriptions dissolved; none where there are none.
///
/// The library passes over them in silence, and the subscription would end without a word.
///
/// # Errors
/// `INVALID_REQUEST` where a fragment at the root has directives, or nests too deep.
pub(super) fn dissolved(document: &ExecutableDocument) -> Result<Option<ExecutableDocument>, ApiError> {
    let is_plain = |operation: &OperationDefinition| {
        let mut items = operation.selection_set.node.items.iter();
        operation.ty != OperationType::Subscription
            || items.all(|item| matches!(item.node, Selection::Field(_)))
    };
    if document.operations.iter().all(|(_, operation)| is_plain(&operation.node)) {
        return Ok(None);
    }
    let mut changed = document.clone();
    for operation in operations_of(&mut changed) {
        if operation.ty == OperationType::Subscription {
            let mut items = Vec::new();
            gather(document, &operation.selection_set.node, &mut items, MAX_NESTING)?;
            operation.selection_set.node.items = items;
        }
    }
    // Nothing spreads them any more.
    changed.fragments.retain(|_, fragment| !is_root(&fragment.node.type_condition.node));
    Ok(Some(changed))
}

fn operations_of(document: &mut ExecutableDocument) -> Vec<&mut OperationDefinition> {
    use async_graphql::parser::types::DocumentOperations as Operations;
    match &mut document.operations {
        Operations::Single(operation) => vec![&mut operation.node],
        Operations::Multiple(operations) => {
            operations.values_mut().map(|operation| &mut operation.node).collect()
        }
    }
}

fn gather(
    document: &ExecutableDocument,
    set: &SelectionSet,
    items: &mut Vec<Positioned<Selection>>,
    nesting: usize,
) -> Result<(), ApiError> {
    let refused = || ApiError::invalid("fragments at the root of a subscription are plain, and few");
    let nesting = nesting.checked_sub(1).ok_or_else(refused)?;
    for item in &set.items {
        let (inner, directives, is_root) = match &item.node {
            Selection::Field(_) => {
                items.push(item.clone());
                continue;
            }
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                let is_root = condition.is_none_or(|condition| is_root(&condition.node));
                (&fragment.node.selection_set.node, fragment.node.directives.len(), is_root)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node).ok_or_else(refused)?;
                let directives = spread.node.directives.len() + fragment.node.directives.len();
                let is_root = is_root(&fragment.node.type_condition.node);
                (&fragment.node.selection_set.node, directives, is_root)
            }
        };
        if directives > 0 || !is_root {
            return Err(refused());
        }
        gather(document, inner, items, nesting)?;
    }
    Ok(())
}

fn is_root(condition: &TypeCondition) -> bool {
    condition.on.node == ROOT
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;
    use crate::graphql::fanout::Shape;

    #[test]
    fn what_is_in_fragments_at_the_root_is_what_is_asked_for() {
        let plain = parse_query("subscription { events(channel: \"a\") { id } }").expect("a document");
        assert!(dissolved(&plain).expect("plain").is_none());
        let plain = Shape::of(&plain, None).expect("it can be shared");
        for same in [
            "subscription { ...R } fragment R on Subscription { ...S } fragment S on Subscription { events(channel: \"a\") { id } }",
            "subscription { ... on Subscription { ... { events(channel: \"a\") { ...E } } } } fragment E on Event { id }",
        ] {
            let document =
                dissolved(&parse_query(same).expect("a document")).expect("plain").expect("changed");
            assert_eq!(Shape::of(&document, None).expect(same).document(), plain.document());
        }
        for bad in [
            "subscription { ...R @include(if: true) } fragment R on Subscription { events(channel: \"a\") { id } }",
            "subscription { ... on Query { cursor } }",
            "subscription { ...R }",
            "subscription { ...R } fragment R on Subscription { ...R }",
        ] {
            assert!(dissolved(&parse_query(bad).expect("a document")).is_err(), "{bad}");
        }
    }
}
