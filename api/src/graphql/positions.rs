//! Whether each variable of an operation is used only where its type is wanted (GraphQL, October 2021, section 5.8.5),
//! and whether `@skip` and `@include` say what they decide by.
//!
//! The library has rules for both, but its visitor never calls the first, and the second passes over `__typename`.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, InputValueDefinition, OperationDefinition, OperationType,
    Selection, SelectionSet, Type, TypeKind, TypeSystemDefinition, VariableDefinition,
};
use async_graphql::{Name, Positioned};
use async_graphql_value::Value as Literal;

use crate::error::ApiError;

/// What a value must be at one place.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) kind: Type,
    has_default: bool,
}

/// The places by their names.
pub(super) type Places = HashMap<Name, Wanted>;

/// What the schema wants at each argument, and at each field of an input object.
#[derive(Debug)]
pub(super) struct Positions {
    /// Of the fields of each type: what they give, and their arguments.
    fields: HashMap<Name, HashMap<Name, (Type, Places)>>,
    inputs: HashMap<Name, Places>,
    /// `Boolean!`
    condition: Wanted,
}

impl Positions {
    /// Reads a schema in GraphQL's own language.
    pub(super) fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the library reads what it writes");
        let condition = Type::new("Boolean!").expect("a type");
        let condition = Wanted { kind: condition, has_default: false };
        let mut positions = Self { fields: HashMap::new(), inputs: HashMap::new(), condition };
        for definition in document.definitions {
            let TypeSystemDefinition::Type(Positioned { node: definition, .. }) = definition else {
                continue;
            };
            let name = definition.name.node;
            match definition.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.into_iter().map(|field| field.node);
                    let fields =
                        fields.map(|field| (field.name.node, (field.ty.node, places(field.arguments))));
                    positions.fields.insert(name, fields.collect());
                }
                TypeKind::InputObject(input) => {
                    positions.inputs.insert(name, places(input.fields));
                }
                _ => {}
            }
        }
        positions
    }

    /// The fields of an input object; none where the name is of another kind.
    pub(super) fn input(&self, name: &Name) -> Option<&Places> {
        self.inputs.get(name)
    }

    /// What a field of a type gives; none where the schema has no such field.
    pub(super) fn gives(&self, of: &Name, field: &Name) -> Option<&Type> {
        self.fields.get(of)?.get(field).map(|(gives, _)| gives)
    }

    /// Refuses an operation with a variable in a place that wants another type.
    ///
    /// The document may be wrong otherwise: what is not in the schema is passed over, and told by the library.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, naming the variable and both types.
    pub(super) fn check(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
    ) -> Result<(), ApiError> {
        let root = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let variables = operation.variable_definitions.iter().map(|definition| &definition.node);
        let variables = variables.map(|definition| (&definition.name.node, definition)).collect();
        let mut walk = Walk { positions: self, variables, spread: Vec::new() };
        walk.directives(&operation.directives)?;
        walk.selection(&Name::new(root), &operation.selection_set.node)?;
        let mut seen = HashSet::new();
        while let Some(name) = walk.spread.pop() {
            let Some(fragment) = document.fragments.get(name).filter(|_| seen.insert(name)) else { continue };
            walk.directives(&fragment.node.directives)?;
            walk.selection(&fragment.node.type_condition.node.on.node, &fragment.node.selection_set.node)?;
        }
        Ok(())
    }
}

fn places(definitions: Vec<Positioned<InputValueDefinition>>) -> Places {
    let definitions = definitions.into_iter().map(|definition| definition.node);
    let place = |definition: InputValueDefinition| {
        let wanted = Wanted { kind: definition.ty.node, has_default: definition.default_value.is_some() };
        (definition.name.node, wanted)
    };
    definitions.map(place).collect()
}

/// The type at the heart of lists.
fn named(kind: &Type) -> &Name {
    match &kind.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}

/// A walk through the selections of one operation. Recursion is bounded: the guard limits nesting, and fragments are
/// taken one after the other.
struct Walk<'a> {
    positions: &'a Positions,
    variables: HashMap<&'a Name, &'a VariableDefinition>,
    /// Fragments that are still to be looked at.
    spread: Vec<&'a Name>,
}

impl<'a> Walk<'a> {
    fn selection(&mut self, of: &Name, set: &'a SelectionSet) -> Result<(), ApiError> {
        for item in &set.items {
            self.directives(item.node.directives())?;
            match &item.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let known = self.positions.fields.get(of).and_then(|all| all.get(&field.name.node));
                    let Some((gives, arguments)) = known else { continue };
                    for (name, value) in &field.arguments {
                        if let Some(wanted) = arguments.get(&name.node) {
                            self.value(&wanted.kind, wanted.has_default, &value.node)?;
                        }
                    }
                    self.selection(named(gives), &field.selection_set.node)?;
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let of = condition.map_or(of, |condition| &condition.node.on.node);
                    self.selection(of, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => self.spread.push(&spread.node.fragment_name.node),
            }
        }
        Ok(())
    }

    fn directives(&self, directives: &[Positioned<Directive>]) -> Result<(), ApiError> {
        for Positioned { node: directive, .. } in directives {
            let name = &directive.name.node;
            if !matches!(name.as_str(), "skip" | "include") {
                continue;
            }
            match directive.get_argument("if").map(|value| &value.node) {
                Some(Literal::Boolean(_)) => {}
                Some(value @ Literal::Variable(_)) => {
                    self.value(&self.positions.condition.kind, self.positions.condition.has_default, value)?;
                }
                _ => return Err(ApiError::invalid(format!("@{name} needs the argument if: true or false"))),
            }
        }
        Ok(())
    }

    fn value(&self, wanted: &Type, has_default: bool, value: &Literal) -> Result<(), ApiError> {
        match (value, &wanted.base) {
            (Literal::Variable(name), _) => self.variable(wanted, has_default, name),
            (Literal::List(items), BaseType::List(inner)) => {
                items.iter().try_for_each(|item| self.value(inner, false, item))
            }
            (_, BaseType::List(inner)) => self.value(inner, false, value),
            (_, BaseType::Named(input)) => self.positions.input(input).map_or(Ok(()), |places| {
                self.members(value, places)
                    .unwrap_or_else(|| Err(ApiError::invalid(format!("a value of {input} is an object"))))
            }),
        }
    }

    /// Nothing where it is no object.
    fn members(&self, value: &Literal, places: &Places) -> Option<Result<(), ApiError>> {
        let members = match value {
            Literal::Object(members) => members,
            Literal::Null => return Some(Ok(())),
            _ => return None,
        };
        let mut known = members.iter().filter_map(|(name, value)| Some((places.get(name)?, value)));
        Some(known.try_for_each(|(wanted, value)| self.value(&wanted.kind, wanted.has_default, value)))
    }

    fn variable(&self, wanted: &Type, has_default: bool, name: &Name) -> Result<(), ApiError> {
        let Some(definition) = self.variables.get(name) else { return Ok(()) };
        if is_allowed(definition, wanted, has_default) {
            return Ok(());
        }
        let kind = &definition.var_type.node;
        Err(ApiError::invalid(format!(
            "the variable ${name} of the type {kind} is used where {wanted} is wanted"
        )))
    }
}

/// `IsVariableUsageAllowed` of the specification. A null that comes where it is not wanted is found at execution.
fn is_allowed(definition: &VariableDefinition, wanted: &Type, has_default: bool) -> bool {
    let kind = &definition.var_type.node;
    let may_be_left_out = definition.default_value.is_some() || has_default;
    if !wanted.nullable && kind.nullable {
        return may_be_left_out && fits(kind, &Type { base: wanted.base.clone(), nullable: true });
    }
    fits(kind, wanted)
}

/// `AreTypesCompatible` of the specification.
fn fits(kind: &Type, wanted: &Type) -> bool {
    if kind.nullable && !wanted.nullable {
        return false;
    }
    match (&kind.base, &wanted.base) {
        (BaseType::Named(kind), BaseType::Named(wanted)) => kind == wanted,
        (BaseType::List(kind), BaseType::List(wanted)) => fits(kind, wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;
    use crate::graphql::schema;

    fn refused(document: &str) -> Option<String> {
        let positions = Positions::of(&schema::sdl());
        let document = parse_query(document).expect("a document");
        let (_, operation) = document.operations.iter().next().expect("an operation");
        positions.check(&document, &operation.node).err().map(|error| error.detail)
    }

    #[test]
    fn a_variable_goes_where_its_type_is_wanted() {
        for good in [
            "query($n: String!) { channel(name: $n) { name } }",
            "query($n: String = \"a\") { channel(name: $n) { name } }",
            "query($n: Int!, $s: DateTime) { history(channel: \"a\", first: $n, since: $s) { cursor } }",
            "mutation($e: [ChannelEventInput!]!) { publishBatch(events: $e) { id } }",
            "mutation($e: ChannelEventInput!, $d: JSON) { publishBatch(events: [$e, {channel: \"a\", event: {data: {a: [$d]}}}]) { id } }",
            "mutation($e: EventInput!) { publishBatch(events: {channel: \"a\", event: $e}) { id } }",
            "subscription($g: OnGap) { events(channel: \"a\", onGap: $g) { id } }",
            "query($b: Boolean!) { __typename @skip(if: $b) ...F @include(if: $b) } fragment F on Query { cursor @skip(if: true) }",
            "query($b: Boolean = true) { cursor @skip(if: $b) }",
            "query($x: Nope) { nothing(a: $x) { b } channel(name: \"a\", other: $x) { name } }",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        ] {
            assert_eq!(refused(good), None, "{good}");
        }
        for (bad, told) in [
            (
                "query($n: String) { channel(name: $n) { name } }",
                "$n of the type String is used where String! ",
            ),
            ("query($n: Int!) { channel(name: $n) { name } }", "$n of the type Int! is used where String! "),
            (
                "query($n: ID!) { ...F } fragment F on Query { channel(name: $n) { name } }",
                "$n of the type ID! ",
            ),
            (
                "query($n: Int!) { ... on Query { ... { channel(name: $n) { name } } } }",
                "$n of the type Int! ",
            ),
            (
                "mutation($e: [ChannelEventInput]!) { publishBatch(events: $e) { id } }",
                "[ChannelEventInput!]! ",
            ),
            (
                "mutation($e: EventInput) { publishBatch(events: [{channel: \"a\", event: $e}]) { id } }",
                "$e ",
            ),
            (
                "mutation($t: Int) { publish(channel: \"a\", event: {type: $t}) { id } }",
                "$t of the type Int ",
            ),
            (
                "query($b: Boolean) { __typename @include(if: $b) }",
                "$b of the type Boolean is used where Boolean! ",
            ),
            ("query($b: Int!) { ...F @skip(if: $b) } fragment F on Query { cursor }", "$b of the type Int! "),
            ("query($b: Int!) { cursor ... @skip(if: $b) { cursor } }", "$b of the type Int! "),
            ("mutation { publish(channel: \"a\", event: 5) { id } }", "a value of EventInput is an object"),
            ("query @skip { cursor }", "@skip needs the argument if"),
            ("{ __typename @include }", "@include needs the argument if"),
            ("{ __typename @include(if: 7) }", "@include needs the argument if"),
        ] {
            let message = refused(bad).expect(bad);
            assert!(message.contains(told), "{bad}: {message}");
        }
    }
}
