//! What a subscription has in common with others.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet, TypeCondition,
};
use async_graphql::{Name, Positioned, Value, Variables};
use async_graphql_value::Value as Literal;

use super::super::schema::{EVENT_TYPE, SAME_FOR_ALL};

/// The one field whose executions are shared.
const FIELD: &str = "events";
/// How deep fragments may nest in a selection that is shared; the fields of an event have none below them.
const MAX_NESTING: usize = 8;

/// A subscription that can be shared: what is executed for all, and what each subscriber says for itself.
///
/// Sharing is denied by default: a subscription has a shape only if all in it is known not to depend on who is asking.
#[derive(Debug)]
pub(in crate::graphql) struct Shape {
    /// The document that is executed for all. Two subscriptions that select the same have the same, however they are
    /// written: names, variables, white space and fragments apart. The arguments are not in it.
    document: Arc<str>,
    arguments: Vec<(Name, Literal)>,
    /// The variables' default values.
    defaults: Vec<(Name, Value)>,
    /// The variables that must have a value.
    required: Vec<Name>,
}

impl Shape {
    /// The shape of the operation of this name, if it has one. The document need not be valid.
    pub(in crate::graphql) fn of(document: &ExecutableDocument, name: Option<&str>) -> Option<Self> {
        let operation = operation(document, name)?;
        if operation.ty != OperationType::Subscription || !operation.directives.is_empty() {
            return None;
        }
        let [root] = &operation.selection_set.node.items[..] else { return None };
        let Selection::Field(Positioned { node: root, .. }) = &root.node else { return None };
        if root.name.node != FIELD || !root.directives.is_empty() {
            return None;
        }
        let mut fields = Fields { document, text: String::new(), keys: HashSet::new() };
        fields.add(&root.selection_set.node, MAX_NESTING)?;
        // What it listens to is the group's; the execution is handed its events.
        let document = format!("subscription{{{}(channel:\"#\"){{{}}}}}", named(root), fields.text).into();
        let argument =
            |(name, value): &(Positioned<Name>, Positioned<Literal>)| (name.node.clone(), value.node.clone());
        let arguments = root.arguments.iter().map(argument).collect();
        let default = |variable: &Positioned<async_graphql::parser::types::VariableDefinition>| {
            let default = variable.node.default_value.as_ref()?;
            Some((variable.node.name.node.clone(), default.node.clone()))
        };
        let defaults = operation.variable_definitions.iter().filter_map(default).collect();
        let required = operation.variable_definitions.iter().map(|variable| &variable.node);
        let required = required.filter(|variable| !variable.var_type.node.nullable);
        let required = required.map(|variable| variable.name.node.clone()).collect();
        Some(Self { document, arguments, defaults, required })
    }

    /// Whether every variable that must have a value has one.
    pub(super) fn has_all(&self, variables: &Variables) -> bool {
        let default = |name: &Name| self.defaults.iter().any(|(other, _)| other == name);
        let is_given = |name: &Name| variables.get(name).map_or(default(name), |value| *value != Value::Null);
        self.required.iter().all(is_given)
    }

    /// The document that is executed for all.
    pub(super) fn document(&self) -> &Arc<str> {
        &self.document
    }

    /// The value of an argument, where one is given: null where it is null.
    pub(super) fn argument(&self, name: &str, variables: &Variables) -> Option<Value> {
        let (_, literal) = self.arguments.iter().find(|(other, _)| other == name)?;
        let Literal::Variable(variable) = literal else { return literal.clone().into_const() };
        let given = variables.get(variable).cloned();
        given.or_else(|| {
            self.defaults.iter().find(|(other, _)| other == variable).map(|(_, value)| value.clone())
        })
    }
}

/// The operation that is meant.
pub(in crate::graphql) fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a OperationDefinition> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(other, _)| other.is_some_and(|other| other == name)),
        None if operations.len() == 1 => operations.next(),
        None => None,
    };
    found.map(|(_, operation)| &operation.node)
}

/// Gathers the fields of a selection, fragments dissolved.
struct Fields<'a> {
    document: &'a ExecutableDocument,
    text: String,
    keys: HashSet<&'a str>,
}

impl<'a> Fields<'a> {
    /// Nothing where a field is not known to be the same for all, or is given directives.
    fn add(&mut self, set: &'a SelectionSet, nesting: usize) -> Option<()> {
        let nesting = nesting.checked_sub(1)?;
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(&field.node)?,
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    let condition = fragment.type_condition.as_ref();
                    if !fragment.directives.is_empty() || !condition.is_none_or(|on| is_event(&on.node)) {
                        return None;
                    }
                    self.add(&fragment.selection_set.node, nesting)?;
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = &self.document.fragments.get(&spread.node.fragment_name.node)?.node;
                    let plain = spread.node.directives.is_empty() && fragment.directives.is_empty();
                    if !plain || !is_event(&fragment.type_condition.node) {
                        return None;
                    }
                    self.add(&fragment.selection_set.node, nesting)?;
                }
            }
        }
        Some(())
    }

    fn field(&mut self, field: &'a Field) -> Option<()> {
        let plain = field.directives.is_empty() && field.arguments.is_empty();
        let leaf = field.selection_set.node.items.is_empty();
        if !plain || !leaf || !SAME_FOR_ALL.contains(&field.name.node.as_str()) {
            return None;
        }
        if self.keys.insert(field.response_key().node.as_str()) {
            write!(self.text, "{} ", named(field)).ok()?;
        }
        Some(())
    }
}

fn is_event(condition: &TypeCondition) -> bool {
    condition.on.node == EVENT_TYPE
}

/// `name`, or `alias:name`.
fn named(field: &Field) -> String {
    let (key, name) = (&field.response_key().node, &field.name.node);
    if key == name { name.to_string() } else { format!("{key}:{name}") }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn shape(document: &str) -> Option<Shape> {
        Shape::of(&parse_query(document).expect("it can be parsed"), None)
    }

    #[test]
    fn what_differs_only_in_writing_and_placement_is_the_same() {
        let plain = shape("subscription { events(channel: \"a\") { id data } }").expect("can be shared");
        assert_eq!(&**plain.document(), "subscription{events(channel:\"#\"){id data }}");
        for same in [
            "subscription A($c: String!, $x: Cursor) { events(channel: $c, after: $x, onGap: SKIP) { id, data } }",
            "subscription { events(channel: \"b\", last: 3) { ...F } } fragment F on Event { id ... on Event { data } id }",
            "subscription { events(channel: \"b\") { ... { id } data } }",
        ] {
            assert_eq!(shape(same).expect(same).document(), plain.document(), "{same}");
        }
        for other in [
            "subscription { events(channel: \"a\") { data id } }",
            "subscription { e: events(channel: \"a\") { id data } }",
            "subscription { events(channel: \"a\") { x: id data } }",
        ] {
            assert_ne!(shape(other).expect(other).document(), plain.document(), "{other}");
        }
    }

    #[test]
    fn sharing_is_denied_to_whatever_is_not_known() {
        for alone in [
            "query { cursor }",
            "{ events(channel: \"a\") { id } }",
            "subscription { other(channel: \"a\") { id } }",
            "subscription { events(channel: \"a\") { viewer } }",
            "subscription { events(channel: \"a\") { id(as: 1) } }",
            "subscription { events(channel: \"a\") { id @skip(if: false) } }",
            "subscription @x { events(channel: \"a\") { id } }",
            "subscription { events(channel: \"a\") @x { id } }",
            "subscription { ...R } fragment R on Subscription { events(channel: \"a\") { id } }",
            "subscription { events(channel: \"a\") { ... on Other { id } } }",
            "subscription { events(channel: \"a\") { ...Missing } }",
            "subscription { events(channel: \"a\") { ...Round } } fragment Round on Event { ...Round }",
            "subscription { a: events(channel: \"a\") { id } b: events(channel: \"b\") { id } }",
            "subscription A { events(channel: \"a\") { id } } subscription B { events(channel: \"a\") { id } }",
        ] {
            assert!(shape(alone).is_none(), "{alone}");
        }
    }

    #[test]
    fn arguments_are_literals_variables_or_their_defaults() {
        let text = "subscription($c: String!, $n: Int = 5, $x: Cursor) {
            events(channel: $c, last: $n, after: $x, filter: \"true\") { id } }";
        let shape = shape(text).expect("can be shared");
        let variables = Variables::from_json(serde_json::json!({"c": "a.b"}));
        let argument = |name| shape.argument(name, &variables);
        assert_eq!((argument("channel"), argument("last")), (Some("a.b".into()), Some(5.into())));
        assert_eq!((argument("after"), argument("since")), (None, None));
        assert_eq!(argument("filter"), Some("true".into()));
        let variables = Variables::from_json(serde_json::json!({"n": null}));
        assert_eq!(shape.argument("last", &variables), Some(Value::Null));
    }

    #[test]
    fn a_variable_that_must_have_a_value_is_missed() {
        let shape =
            shape("subscription($c: String! = \"a\", $x: Cursor!) { events(channel: $c, after: $x) { id } }");
        let has_all = |json| shape.as_ref().expect("can be shared").has_all(&Variables::from_json(json));
        assert!(has_all(serde_json::json!({"x": "1"})));
        for missing in
            [serde_json::json!({}), serde_json::json!({"x": null}), serde_json::json!({"c": null, "x": "1"})]
        {
            assert!(!has_all(missing));
        }
    }
}
