//! One execution of a subscription, on behalf of all who share it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_graphql::{Request, Response, Result};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use metrics::Counter;
use nuncio_model::{Code, Event};
use parking_lot::Mutex;

use super::super::schema::{self, Schema};
use super::super::{error, response};
use crate::error::ApiError;

/// A running subscription that is handed its events one by one.
///
/// Nobody's identity is in its request: a resolver that asks who is asking gets an error, and never another's data.
pub(super) struct Execution {
    source: Source,
    responses: Mutex<BoxStream<'static, Response>>,
    executions: Counter,
}

/// Where a shared subscription takes its events from.
#[derive(Clone, Default)]
pub(in crate::graphql) struct Source(Arc<Mutex<Handed>>);

#[derive(Default)]
struct Handed {
    event: Option<Arc<Event>>,
    waker: Option<Waker>,
}

impl Execution {
    /// Begins to execute the document.
    pub(super) fn new(schema: &Schema, document: &str) -> Self {
        let source = Source::default();
        let responses = schema.execute_stream(Request::new(document).data(source.clone()));
        let executions = metrics::counter!("nuncio_graphql_executions_total", "for" => "group");
        Self { source, responses: Mutex::new(responses), executions }
    }

    /// The payload of the message `next` for an event.
    pub(super) fn payload(&self, event: &Arc<Event>) -> Bytes {
        self.executions.increment(1);
        let mut responses = self.responses.lock();
        self.source.hand(event);
        // All that an event's fields need is there, so that nothing is waited for.
        let mut answer = responses.next().now_or_never().flatten().unwrap_or_else(|| {
            error::response(ApiError::new(Code::Internal, "the event could not be made ready"))
        });
        drop(responses);
        error::finish(&mut answer);
        response::write(&answer, None)
    }
}

impl Source {
    fn hand(&self, event: &Arc<Event>) {
        let mut handed = self.0.lock();
        handed.event = Some(event.clone());
        if let Some(waker) = handed.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Source {
    type Item = Result<schema::Event>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut handed = self.0.lock();
        match handed.event.take() {
            Some(event) => Poll::Ready(Some(Ok(schema::Event(event)))),
            None => {
                handed.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::event;

    fn payload(document: &str) -> String {
        let execution = Execution::new(&schema::build(), document);
        let bytes = execution.payload(&event(1, 7));
        String::from_utf8(bytes.to_vec()).expect("responses are text")
    }

    /// The worst bug that sharing can have is to give one viewer what is another's.
    #[test]
    fn nobody_is_asking_in_what_is_executed_for_all() {
        for asks_who in
            ["{ cursor }", "{ history(channel: \"a\") { cursor } }", "{ channel(name: \"a\") { name } }"]
        {
            let answer = payload(asks_who);
            assert!(answer.contains("\"code\":\"INTERNAL\"") && !answer.contains("Request"), "{answer}");
        }
        let events = payload("subscription{events(channel:\"#\"){id }}");
        assert_eq!(events, r#"{"data":{"events":{"id":"7"}}}"#);
    }

    #[test]
    fn a_shared_execution_goes_on_for_as_long_as_it_is_handed_events() {
        let execution =
            Execution::new(&schema::build(), "subscription{events(channel:\"#\"){x:sequence cursor }}");
        let cursors: Vec<String> = (1..=100).map(|n| event(1, n).cursor().to_string()).collect();
        for (n, cursor) in (1..).zip(cursors) {
            let bytes = execution.payload(&event(1, n));
            let expected = format!("{{\"data\":{{\"events\":{{\"x\":{n},\"cursor\":\"{cursor}\"}}}}}}");
            assert_eq!(bytes, expected.as_bytes());
        }
    }
}

#[cfg(test)]
mod hot {
    use super::*;
    use crate::hot::repeat;
    use crate::hub::tests::event;

    #[test]
    fn execution() {
        let document = "subscription{events(channel:\"#\"){id type channel cursor data }}";
        let (execution, event) = (Execution::new(&schema::build(), document), event(1, 7));
        assert!(execution.payload(&event).starts_with(b"{\"data\":{"));
        repeat(|_| execution.payload(&event));
    }
}
