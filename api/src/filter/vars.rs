//! The variables of an expression: the attributes of one event.

use std::sync::OnceLock;

use cel::common::types::{CelInt, CelNull, CelString, CelTimestamp};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use nuncio_model::{Data, Event};
use serde_json::Value;

use super::check::Plan;
use super::meter::Meter;
use super::read::{self, Reading};
use super::value::{Map, Node};

/// The names that an expression may use.
pub(super) const NAMES: [&str; 10] =
    ["id", "channel", "type", "source", "subject", "time", "contentType", "sequence", "data", "extensions"];

/// One event, whose data is read when it is first asked for.
pub(super) struct Vars<'e> {
    event: &'e Event,
    plan: &'e Plan,
    meter: &'e Meter,
    data: OnceLock<Option<Node<'e>>>,
    extensions: OnceLock<Node<'e>>,
}

impl<'e> Vars<'e> {
    pub(super) fn new(event: &'e Event, plan: &'e Plan, meter: &'e Meter) -> Self {
        Self { event, plan, meter, data: OnceLock::new(), extensions: OnceLock::new() }
    }

    /// The JSON value; null where there is none, nothing where it cannot be read.
    fn data(&self) -> Option<&Node<'e>> {
        let read = || {
            let Data::Json(json) = &self.event.draft.data else { return Some(Node::Null(CelNull)) };
            let Reading { node, longest } = read::read(json, &self.plan.wanted, self.meter)?;
            self.meter.weigh_turn(longest, self.plan.looks);
            self.meter.charge_text(longest, self.plan.looks).then_some(node)
        };
        self.data.get_or_init(read).as_ref()
    }

    fn extensions(&self) -> &Node<'e> {
        let meter = self.meter;
        self.extensions.get_or_init(|| {
            let extensions = &self.event.draft.extensions;
            let longest = extensions.values().filter_map(Value::as_str).map(str::len).max();
            meter.weigh_turn(longest.unwrap_or(0), self.plan.looks);
            let members = extensions.iter().map(|(name, value)| (name.as_str().into(), scalar(value)));
            Node::Map(Map::new(members.collect(), meter))
        })
    }
}

/// The value of an extension attribute, which is no list or object.
fn scalar(value: &Value) -> Node<'_> {
    match value {
        Value::Bool(value) => Node::Bool((*value).into()),
        Value::String(text) => Node::Text(text.as_str().into()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Node::Int(number.into()),
            None => Node::Double(number.as_f64().unwrap_or(f64::NAN).into()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Node::Null(CelNull),
    }
}

impl VariableResolver for Vars<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let (event, draft) = (self.event, &self.event.draft);
        match name {
            "id" => text(&draft.id),
            "channel" => text(draft.channel.as_str()),
            "type" => text(&draft.r#type),
            "source" => text(&draft.source),
            "subject" => draft.subject.as_deref().map_or(Some(CowVal::Borrowed(&CelNull)), text),
            "time" => Some(CowVal::owned(CelTimestamp::from(event.time().fixed_offset()))),
            "contentType" => text(draft.media_type()),
            "sequence" => Some(CowVal::owned(CelInt::from(event.sequence))),
            "data" => self.data().map(|data| CowVal::Borrowed(data.as_val())),
            "extensions" => Some(CowVal::Borrowed(self.extensions().as_val())),
            _ => None,
        }
    }
}

fn text(text: &str) -> Option<CowVal<'_, '_>> {
    Some(CowVal::owned(CelString::from(text)))
}
