//! What the library leaves out of a response: a field that failed is null, or whatever it is a part of is where it may
//! not be (GraphQL, October 2021, section 6.4.4), and fields stand in the order in which they are asked for.

use std::sync::Arc;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, OperationType, Selection, SelectionSet, Type,
};
use async_graphql::{Name, PathSegment, Request, Response, Value};

use super::fanout::{self, Documents};
use super::positions::Positions;

/// Completes the response to one query or mutation.
pub(super) struct Completion {
    document: String,
    operation: Option<String>,
    documents: Arc<Documents>,
}

impl Completion {
    /// For the response to this request.
    pub(super) fn of(request: &Request, documents: &Arc<Documents>) -> Self {
        let (document, operation) = (request.query.clone(), request.operation_name.clone());
        Self { document, operation, documents: documents.clone() }
    }

    /// Puts in what is missing. Where nothing failed, nothing is.
    pub(super) fn complete(&self, response: &mut Response) {
        let failed: Vec<_> =
            response.errors.iter().map(|error| &error.path[..]).filter(|path| !path.is_empty()).collect();
        if failed.is_empty() {
            return;
        }
        // It was parsed before; the library keeps what it made of it to itself.
        let Ok(document) = parse_query(&self.document) else { return };
        let Some(operation) = fanout::operation(&document, self.operation.as_deref()) else { return };
        let root = match operation.ty {
            OperationType::Query => Name::new("Query"),
            OperationType::Mutation => Name::new("Mutation"),
            OperationType::Subscription => return,
        };
        let Value::Object(members) = std::mem::take(&mut response.data) else { return };
        let filling = Filling { document: &document, positions: &self.documents.positions, failed };
        let data = filling.object(members, &root, &[&operation.selection_set.node], &mut Vec::new());
        response.data = data.unwrap_or_default();
    }
}

struct Filling<'a> {
    document: &'a ExecutableDocument,
    positions: &'a Positions,
    failed: Vec<&'a [PathSegment]>,
}

/// The fields that are asked for under one name, and what of each.
type Asked<'a> = IndexMap<&'a Name, (&'a Field, Vec<&'a SelectionSet>)>;

impl<'a> Filling<'a> {
    /// None where the object must be null, since a part of it is that may not be.
    fn object(
        &self,
        mut members: IndexMap<Name, Value>,
        of: &Name,
        sets: &[&'a SelectionSet],
        path: &mut Vec<PathSegment>,
    ) -> Option<Value> {
        let (mut asked, mut filled) = (Asked::new(), IndexMap::new());
        sets.iter().for_each(|set| self.gather(set, &mut asked));
        for (key, (field, sets)) in asked {
            path.push(PathSegment::Field(key.to_string()));
            let gives = self.positions.gives(of, &field.name.node);
            let value = match (members.shift_remove(key), gives) {
                (Some(value), Some(gives)) => Some(self.value(value, gives, &sets, path)?),
                (None, Some(gives)) if self.failed.contains(&&path[..]) => Some(null_of(gives)?),
                // What tells of the schema itself is whole, and what is missing was not wanted.
                (value, _) => value,
            };
            path.pop();
            filled.extend(value.map(|value| (key.clone(), value)));
        }
        Some(Value::Object(filled))
    }

    fn value(
        &self,
        value: Value,
        kind: &Type,
        sets: &[&'a SelectionSet],
        path: &mut Vec<PathSegment>,
    ) -> Option<Value> {
        let filled = match (value, &kind.base) {
            (Value::List(items), BaseType::List(inner)) => {
                let item = |(index, item)| {
                    path.push(PathSegment::Index(index));
                    let item = self.value(item, inner, sets, path);
                    path.pop();
                    item
                };
                items.into_iter().enumerate().map(item).collect::<Option<_>>().map(Value::List)
            }
            (Value::Object(members), BaseType::Named(name)) => {
                let depth = path.len();
                let object = self.object(members, name, sets, path);
                path.truncate(depth);
                object
            }
            (value, _) => Some(value),
        };
        filled.or_else(|| null_of(kind))
    }

    /// The document is valid, so that no fragment spreads itself, and a name asks for the same wherever it stands.
    fn gather(&self, set: &'a SelectionSet, asked: &mut Asked<'a>) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let (_, sets) = asked.entry(&field.response_key().node).or_insert((field, Vec::new()));
                    sets.push(&field.selection_set.node);
                }
                Selection::InlineFragment(fragment) => self.gather(&fragment.node.selection_set.node, asked),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        self.gather(&fragment.node.selection_set.node, asked);
                    }
                }
            }
        }
    }
}

fn null_of(kind: &Type) -> Option<Value> {
    kind.nullable.then_some(Value::Null)
}

#[cfg(test)]
mod tests {
    use async_graphql::{Pos, ServerError};

    use super::*;

    /// What is made of this data where the field at this path has failed.
    fn completed(document: &str, data: serde_json::Value, path: &[&str]) -> serde_json::Value {
        let mut error = ServerError::new("failed", Some(Pos { line: 1, column: 1 }));
        let segment = |name: &&str| match name.parse() {
            Ok(index) => PathSegment::Index(index),
            Err(_) => PathSegment::Field((*name).to_owned()),
        };
        error.path = path.iter().map(segment).collect();
        let mut response = Response::new(Value::from_json(data).expect("data"));
        response.errors.push(error);
        Completion::of(&Request::new(document), &Arc::default()).complete(&mut response);
        response.data.into_json().expect("data")
    }

    #[test]
    fn what_failed_is_null_as_far_up_as_it_must_be() {
        use serde_json::json;
        let channels = "{ a: channel(name: \"a\") { name } cursor b: channel(name: \"b\") { ...F } }
            fragment F on Channel { name sequence }";
        let b = json!({"name": "b", "sequence": 1});
        for (document, data, path, expected) in [
            (channels, json!({"b": b, "cursor": "x"}), &["a"][..], json!({"a": null, "cursor": "x", "b": b})),
            (
                channels,
                json!({"a": {"name": "a"}, "cursor": "x", "b": {"name": "b"}}),
                &["b", "sequence"],
                json!({"a": {"name": "a"}, "cursor": "x", "b": null}),
            ),
            (channels, json!({"a": null, "b": null}), &["cursor"], json!(null)),
            (
                "mutation { one: publishBatch(events: []) { id cursor } }",
                json!({"one": [{"id": "1", "cursor": "x"}, {"id": "2"}]}),
                &["one", "1", "cursor"],
                json!(null),
            ),
            (
                "{ channel(name: \"a\") { name @skip(if: true) firstEventAt lastEventAt } __typename }",
                json!({"channel": {"lastEventAt": "t"}, "__typename": "Query"}),
                &["channel", "firstEventAt"],
                json!({"channel": {"firstEventAt": null, "lastEventAt": "t"}, "__typename": "Query"}),
            ),
        ] {
            let completed = completed(document, data, path);
            assert_eq!(completed.to_string(), expected.to_string(), "{document}");
        }
    }
}
