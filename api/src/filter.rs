//! Filters: CEL expressions over an event, compiled once and evaluated for many.
//!
//! Whoever writes one may be hostile, and so may be whoever publishes. What is compiled is bounded before the parser
//! (`guard`) and after it (`check`); what an evaluation may cost is bounded by a budget (`meter`). `docs/filters.md`
//! says what users may rely on.

mod check;
mod guard;
mod known;
mod meter;
mod read;
mod value;
mod vars;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::parser::{Expression, ParseErrors, Parser};
use cel::{Context, Env, Value};
use nuncio_model::{Code, Event};

use crate::error::ApiError;
use check::Plan;
use meter::Meter;
use vars::Vars;

pub use known::Filters;

/// The most bytes of a parser's message that go out: they repeat what the client sent.
const MAX_MESSAGE_BYTES: usize = 240;

/// The functions of CEL's standard library; a table that never changes and that all filters share.
static STANDARD: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A compiled filter. Cheap to clone.
#[derive(Clone)]
pub struct Filter(Arc<Compiled>);

struct Compiled {
    text: String,
    expression: Expression,
    plan: Plan,
}

impl Filter {
    /// Compiles an expression. This takes some milliseconds where one is made to take long: keep the result.
    ///
    /// # Errors
    /// `INVALID_FILTER`, with the line and column (from 1) of what is wrong.
    pub fn compile(text: &str) -> Result<Self, ApiError> {
        Self::parse(text).map_err(Self::refused)
    }

    fn refused(message: String) -> ApiError {
        ApiError::new(Code::InvalidFilter, format!("the filter is not good: {message}"))
            .field("filter", message)
    }

    /// The same, for whoever gathers all that is wrong with a request.
    ///
    /// # Errors
    /// With the line, the column and what is wrong there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let compiled = compile(text)
            .map_err(|Wrong { line, column, message }| format!("line {line}, column {column}: {message}"))?;
        Ok(Self(Arc::new(compiled)))
    }

    /// The text, without the space around it: equal texts are equal filters.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the event is wanted. One on which the expression fails, or is no boolean, is not; it is counted.
    pub fn matches(&self, event: &Event) -> bool {
        // A defect in the library may not end the task that serves everybody of the project.
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.evaluate(event)));
        evaluated.unwrap_or(Err(Failed)).unwrap_or_else(|Failed| {
            metrics::counter!("nuncio_filter_errors_total").increment(1);
            false
        })
    }

    fn evaluate(&self, event: &Event) -> Result<bool, Failed> {
        let Compiled { expression, plan, .. } = &*self.0;
        let meter = Meter::new(plan.turn);
        let vars = Vars::new(event, plan, &meter);
        let mut context = Context::with_env(STANDARD.clone());
        context.set_variable_resolver(&vars);
        let value = Value::resolve_val(expression, &context).map_err(|_| Failed)?;
        let wanted = value.downcast_ref::<CelBool>().map(|value| *value.inner()).ok_or(Failed)?;
        // Whatever came out after the budget was used up came out of lists that were cut short.
        if meter.is_spent() { Err(Failed) } else { Ok(wanted) }
    }
}

/// The expression has no boolean for an event.
struct Failed;

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.text()).finish()
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Filter {}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    line: usize,
    column: usize,
    message: String,
}

impl Wrong {
    /// At so many bytes from the start of the text.
    fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self { line, column, message: message.into() }
    }
}

fn compile(text: &str) -> Result<Compiled, Wrong> {
    guard::check(text)?;
    let parsed = Parser::default().parse_with_source_info(text);
    let (mut expression, places) = parsed.map_err(|errors| not_cel(text, errors))?;
    let plan = Plan::of(&mut expression).map_err(|(id, message)| {
        let offset = places.offset_for(id).map_or(0, |(start, _)| start as usize);
        Wrong::at(text, offset, message)
    })?;
    Ok(Compiled { text: text.trim().to_owned(), expression, plan })
}

/// The parser's first complaint, in one line.
fn not_cel(text: &str, errors: ParseErrors) -> Wrong {
    let Some(error) = errors.errors.into_iter().next() else {
        return Wrong::at(text, 0, "it is not CEL");
    };
    let (line, column) = (error.pos.0.max(1) as usize, error.pos.1.max(1) as usize);
    let mut message = error.msg.lines().next().unwrap_or_default().to_owned();
    if message.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Wrong { line, column, message }
}

#[cfg(test)]
mod tests;
