//! What is looked at after the parser: names, functions, sizes, and what an evaluation will need.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators as op};
use cel::parser::Expression;

use super::read::Wanted;
use super::vars::NAMES;

/// The most nodes of the syntax tree, macros spread out.
const MAX_NODES: u32 = 256;
/// How deep the syntax tree may nest, macros spread out.
const MAX_DEPTH: usize = 32;
/// How much longer than looking at a node a call of a function takes.
const CALL: u32 = 4;

/// Names that stand for types, as in `type(data.n) == int`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

const FUNCTIONS: [&str; 9] =
    ["size", "type", "string", "int", "uint", "double", "bool", "timestamp", "duration"];

const METHODS: [&str; 14] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Operators that look at no text.
const LOGIC: [&str; 5] =
    [op::CONDITIONAL, op::LOGICAL_AND, op::LOGICAL_OR, op::LOGICAL_NOT, op::NOT_STRICTLY_FALSE];

const OPERATORS: [&str; 14] = [
    op::ADD,
    op::SUBSTRACT,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::NEGATE,
    op::EQUALS,
    op::NOT_EQUALS,
    op::LESS,
    op::LESS_EQUALS,
    op::GREATER,
    op::GREATER_EQUALS,
    op::IN,
    op::INDEX,
];

/// What an evaluation needs to know of its expression.
#[derive(Debug)]
pub(super) struct Plan {
    /// The parts of the data that are looked at.
    pub(super) wanted: Wanted,
    /// What a turn of the heaviest loop costs, texts apart.
    pub(super) turn: u32,
    /// How often a text may be looked at, all of it, between two turns of a loop.
    pub(super) looks: u32,
}

/// The node that is wrong, and what is wrong with it.
type Wrong = (u64, String);

impl Plan {
    /// Checks an expression and makes it ready to be evaluated.
    pub(super) fn of(expression: &mut Expression) -> Result<Self, Wrong> {
        let mut walk =
            Walk { wanted: Wanted::nothing(), turn: 0, looks: 0, joins: 0, nodes: 0, names: Vec::new() };
        walk.visit(expression, 0)?;
        // A join makes a text that is as long as its parts together.
        Ok(Self { wanted: walk.wanted, turn: walk.turn, looks: walk.looks * (walk.joins + 1) })
    }
}

struct Walk {
    wanted: Wanted,
    turn: u32,
    looks: u32,
    joins: u32,
    nodes: u32,
    /// The variables of the loops around.
    names: Vec<String>,
}

impl Walk {
    /// Checks a node and all below; gives what they cost, texts apart.
    fn visit(&mut self, expression: &mut Expression, depth: usize) -> Result<u32, Wrong> {
        let Expression { id, expr } = expression;
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err((*id, "the expression is too big; use fewer operators and functions".to_owned()));
        }
        if let Some(path) = self.data_path(expr) {
            self.wanted.add(&path);
            return Ok(1 + path.len() as u32);
        }
        let depth = depth + 1;
        match expr {
            Expr::Unspecified => Err((*id, "an expression is expected".to_owned())),
            Expr::Struct(_) => Err((*id, "there are no messages to make".to_owned())),
            Expr::Literal(_) => Ok(1),
            Expr::Ident(name) => self.name(*id, name),
            Expr::Select(select) => Ok(1 + self.visit(&mut select.operand, depth)?),
            Expr::List(list) => self.list(&mut list.elements, depth),
            Expr::Map(map) => {
                let mut cost = 1;
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else { continue };
                    cost += self.visit(&mut entry.key, depth)? + self.element(&mut entry.value, depth)?;
                }
                Ok(cost)
            }
            Expr::Call(_) => self.call(*id, expr, depth),
            Expr::Comprehension(comprehension) => self.comprehension(*id, comprehension, depth),
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<u32, Wrong> {
        let known = name.starts_with('@')
            || NAMES.contains(&name)
            || TYPES.contains(&name)
            || self.names.iter().any(|known| known == name);
        if known {
            return Ok(1);
        }
        Err((id, format!("there is no variable {name}; there are {}", NAMES.join(", "))))
    }

    fn list(&mut self, elements: &mut [Expression], depth: usize) -> Result<u32, Wrong> {
        elements.iter_mut().try_fold(1, |cost, element| Ok(cost + self.element(element, depth)?))
    }

    /// Lists in lists are not made: CEL's own cannot be compared with those of an event.
    fn element(&mut self, element: &mut Expression, depth: usize) -> Result<u32, Wrong> {
        if makes_container(&element.expr) {
            return Err((element.id, "a list or map must not stand inside of another".to_owned()));
        }
        self.visit(element, depth)
    }

    fn call(&mut self, id: u64, expr: &mut Expr, depth: usize) -> Result<u32, Wrong> {
        let Expr::Call(call) = expr else { return Ok(0) };
        let name = call.func_name.as_str();
        let operator = call.target.is_none() && OPERATORS.contains(&name);
        let logic = call.target.is_none() && LOGIC.contains(&name);
        let functions: &[&str] = if call.target.is_some() { &METHODS } else { &FUNCTIONS };
        if !operator && !logic && !functions.contains(&name) {
            return Err((id, format!("there is no function {name}")));
        }
        self.joins += u32::from(name == op::ADD);
        self.looks += u32::from(!logic);
        let mut cost = if operator || logic { 1 } else { CALL };
        let equality = [op::EQUALS, op::NOT_EQUALS].contains(&name);
        if let Some(target) = &mut call.target {
            cost += self.visit(target, depth)?;
        }
        for argument in &mut call.args {
            cost += self.visit(argument, depth)?;
        }
        // A list that the expression makes does not know how to compare itself with one of the event.
        if equality && call.args.first().is_some_and(|left| makes_container(&left.expr)) {
            call.args.reverse();
        }
        Ok(cost)
    }

    fn comprehension(
        &mut self,
        id: u64,
        comprehension: &mut ComprehensionExpr,
        depth: usize,
    ) -> Result<u32, Wrong> {
        // Those lists are on the meter; a list that the expression makes is not.
        if !is_place(&comprehension.iter_range.expr) {
            let message =
                "all, exists, exists_one, map and filter take a list or map of the event, like data.items";
            return Err((id, message.to_owned()));
        }
        let before = self.visit(&mut comprehension.iter_range, depth)?
            + self.visit(&mut comprehension.accu_init, depth)?;
        self.names.push(comprehension.iter_var.clone());
        let turn = 2
            + self.visit(&mut comprehension.loop_cond, depth)?
            + self.visit(&mut comprehension.loop_step, depth)?;
        let after = self.visit(&mut comprehension.result, depth)?;
        self.names.pop();
        self.turn = self.turn.max(turn);
        Ok(before + turn + after)
    }

    /// The names from `data` down to what this stands for, where it is nothing but that.
    fn data_path<'a>(&self, expr: &'a Expr) -> Option<Vec<&'a str>> {
        match expr {
            Expr::Ident(name) if name == "data" && !self.names.contains(name) => Some(Vec::new()),
            Expr::Select(select) => {
                let mut path = self.data_path(&select.operand.expr)?;
                path.push(&select.field);
                Some(path)
            }
            Expr::Call(call) if call.func_name == op::INDEX => match call.args.as_slice() {
                [operand, index] => {
                    let Expr::Literal(LiteralValue::String(name)) = &index.expr else { return None };
                    let mut path = self.data_path(&operand.expr)?;
                    path.push(name.inner());
                    Some(path)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether this is a variable, or something inside of one.
fn is_place(expr: &Expr) -> bool {
    match expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => is_place(&select.operand.expr),
        Expr::Call(call) => {
            call.func_name == op::INDEX && call.args.first().is_some_and(|operand| is_place(&operand.expr))
        }
        _ => false,
    }
}

/// Whether the value may be a list or map that the expression itself makes.
fn makes_container(expr: &Expr) -> bool {
    match expr {
        Expr::List(_) | Expr::Map(_) => true,
        Expr::Comprehension(comprehension) => matches!(comprehension.accu_init.expr, Expr::List(_)),
        Expr::Call(call) if [op::ADD, op::CONDITIONAL].contains(&call.func_name.as_str()) => {
            call.args.iter().any(|argument| makes_container(&argument.expr))
        }
        _ => false,
    }
}
