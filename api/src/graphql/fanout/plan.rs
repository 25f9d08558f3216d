//! How a subscriber's operation is to be executed: with others, or by itself.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{ID, Response, ScalarType, Value, Variables};
use futures_util::{FutureExt, StreamExt};
use nuncio_model::{Identity, Pattern, ResumeKey};

use super::super::asker::Asker;
use super::super::error;
use super::super::http::Endpoint;
use super::super::request::{self, Incoming};
use super::super::schema::{Asked, AskedSlot, GapSlot, NO_RESUME, OnGap, Placement, Request};
use super::execution::Execution;
use super::root::dissolved;
use super::shape::Shape;
use crate::error::ApiError;
use crate::hub::{Content, GroupKey, Render};

/// How an operation is to be executed.
pub(in crate::graphql) enum Plan {
    /// Once for all who ask for the same.
    Shared(Shared),
    /// For this subscriber alone.
    Alone(Box<Solo>),
}

/// An operation that nobody shares.
pub(in crate::graphql) struct Solo {
    pub(in crate::graphql) request: async_graphql::Request,
    /// A gap that the next response tells.
    pub(in crate::graphql) gap: GapSlot,
    /// Whoever is asking.
    pub(in crate::graphql) asker: Arc<Asker>,
    /// Whether it goes on until it is stopped.
    pub(in crate::graphql) is_subscription: bool,
}

/// A subscription that is executed with others.
pub(in crate::graphql) struct Shared {
    /// What this subscriber asked for.
    pub(in crate::graphql) asked: Asked,
    shape: Arc<Shape>,
}

/// Whether a way of sending lets it be known what a client has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::graphql) enum Receipt {
    /// The client answers pings.
    Known,
    /// The client says nothing: it cannot be resumed for.
    Unknown,
}

/// Reads an operation, and refuses what may not be executed.
///
/// # Errors
/// The response that says why.
pub(in crate::graphql) fn plan(
    endpoint: &Endpoint,
    identity: &Arc<Identity>,
    incoming: Incoming,
    receipt: Receipt,
) -> Result<Plan, Box<Response>> {
    let plan = plan_any(endpoint, identity, incoming)?;
    match &plan {
        Plan::Shared(shared) if shared.asked.resume.is_some() && receipt == Receipt::Unknown => {
            Err(Box::new(error::response(ApiError::invalid(NO_RESUME))))
        }
        _ => Ok(plan),
    }
}

fn plan_any(
    endpoint: &Endpoint,
    identity: &Arc<Identity>,
    incoming: Incoming,
) -> Result<Plan, Box<Response>> {
    let refuse = |error| Box::new(error::response(error));
    let name = incoming.operation_name.as_deref().filter(|name| !name.is_empty());
    let request = Request::new(endpoint.app.clone(), identity.clone(), endpoint.visitor.clone());
    if let Some(shape) = endpoint.documents.get(&incoming.query, name) {
        let none = Variables::default();
        // What does not fit its type is told by the library, in its own words.
        if let Ok(given) = Given::of(&shape, incoming.variables.as_ref().unwrap_or(&none)) {
            let asked = given.asked(&request).map_err(refuse)?;
            return Ok(Plan::Shared(Shared { asked, shape }));
        }
    }
    let (document, name) = (incoming.query.clone(), name.map(str::to_owned));
    let (gap, asker, slot) = (request.gap.clone(), request.asker.clone(), AskedSlot::default());
    let mut prepared = incoming.prepare(&endpoint.app).map_err(refuse)?;
    let dissolved = prepared.parsed_query().map_or(Ok(None), dissolved).map_err(refuse)?;
    if let Some(document) = dissolved {
        prepared.set_parsed_query(document);
    }
    let kind = request::kind(&mut prepared, &endpoint.documents.positions).map_err(refuse)?;
    let shape = prepared.parsed_query().ok().and_then(|document| Shape::of(document, name.as_deref()));
    let Some(shape) = shape else {
        let (request, is_subscription) = (prepared.data(request), kind == Some(OperationType::Subscription));
        return Ok(Plan::Alone(Box::new(Solo { request, gap, asker, is_subscription })));
    };
    // The library validates the document and the values; the field itself only notes what it was asked.
    let prepared = prepared.data(request).data(slot.clone());
    if let Some(Some(refused)) = endpoint.schema.execute_stream(prepared).next().now_or_never() {
        return Err(Box::new(refused));
    }
    let Some(asked) = slot.lock().take() else {
        return Err(refuse(ApiError::invalid("the subscription selects nothing")));
    };
    let shape = Arc::new(shape);
    endpoint.documents.remember(&document, name.as_deref(), shape.clone());
    Ok(Plan::Shared(Shared { asked, shape }))
}

impl Shared {
    /// The group of all who ask for the same.
    ///
    /// Nothing of who is asking is in it: an event's fields are the same for all who may read what is listened to, and
    /// who may not has been refused before this. The schema is the same for as long as this node runs.
    pub(in crate::graphql) fn key(&self) -> GroupKey {
        let filter = self.asked.filter.as_ref().map_or("", |filter| filter.text());
        let form = format!("graphql {} {filter}", self.shape.document()).into();
        GroupKey { patterns: self.asked.patterns.clone(), form }
    }

    /// What the subscriber's place is kept under, where it gave an id to come back with.
    pub(in crate::graphql) fn resume_key(&self, identity: &Identity) -> Option<ResumeKey> {
        let id = self.asked.resume.as_ref()?;
        let GroupKey { patterns, form } = self.key();
        let patterns: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
        Some(ResumeKey::of(identity, &format!("{} {form}", patterns.join(",")), id))
    }

    /// What the group makes of an event.
    pub(in crate::graphql) fn render(&self, endpoint: &Endpoint) -> Render {
        let (filter, execution) =
            (self.asked.filter.clone(), Execution::new(&endpoint.schema, self.shape.document()));
        Box::new(move |event| {
            let wanted = filter.as_ref().is_none_or(|filter| filter.matches(event));
            wanted.then(|| Content::Text(execution.payload(event)))
        })
    }
}

/// The arguments of a subscription, each of its type.
struct Given {
    channel: String,
    filter: Option<String>,
    placement: Placement,
}

/// A value does not fit its type.
struct Unfit;

impl Given {
    fn of(shape: &Shape, variables: &Variables) -> Result<Self, Unfit> {
        if !shape.has_all(variables) {
            return Err(Unfit);
        }
        let given = |name| shape.argument(name, variables).filter(|value| *value != Value::Null);
        let placement = Placement {
            after: given("after").map(scalar).transpose()?,
            since: given("since").map(scalar).transpose()?,
            last: given("last").map(number).transpose()?,
            on_gap: given("onGap").map(choice).transpose()?,
            resume: given("resume").map(scalar::<ID>).transpose()?.map(|id| id.0),
        };
        let channel = text(given("channel").ok_or(Unfit)?)?;
        Ok(Self { channel, filter: given("filter").map(text).transpose()?, placement })
    }

    fn asked(self, request: &Request) -> Result<Asked, ApiError> {
        Asked::parse(request, &self.channel, self.filter.as_deref(), self.placement)
    }
}

fn text(value: Value) -> Result<String, Unfit> {
    if let Value::String(text) = value { Ok(text) } else { Err(Unfit) }
}

fn scalar<T: ScalarType>(value: Value) -> Result<T, Unfit> {
    T::parse(value).map_err(|_| Unfit)
}

fn number(value: Value) -> Result<i32, Unfit> {
    let Value::Number(number) = value else { return Err(Unfit) };
    number.as_i64().and_then(|number| number.try_into().ok()).ok_or(Unfit)
}

/// An enum is a name in a document, and a text among the variables.
fn choice(value: Value) -> Result<OnGap, Unfit> {
    let name = match &value {
        Value::Enum(name) => name.as_str(),
        Value::String(text) => text,
        _ => return Err(Unfit),
    };
    OnGap::of(name).ok_or(Unfit)
}
