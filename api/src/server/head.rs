//! What is watched of a request's head while it comes in, beside what the HTTP library makes of it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many bytes of a line are kept: enough to tell the two names that matter.
const KEPT: usize = 20;

/// A request that says in two ways how long its body is: a proxy before us may have believed the other one (RFC 9112,
/// section 6.3). The library takes the one and forgets the other, so that nobody behind it could tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ambiguous;

/// Shared by the socket, which sees the bytes, and the service, which sees the requests.
///
/// Heads that were sent before the answer to the request before them are not looked at. The library ends a connection
/// after an ambiguous one in any case; what is lost is only the telling.
#[derive(Clone)]
pub(super) struct HeadWatch(Arc<Mutex<State>>);

enum State {
    /// Nothing of the next head has come since then.
    Idle(Instant),
    /// It is coming in.
    Reading(Reading),
    /// It is there.
    Whole { ambiguous: bool, answered: bool },
}

/// What the socket waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The next request.
    Request(Instant),
    /// The rest of a head.
    Head(Instant),
    /// Nothing that has to do with heads.
    Nothing,
}

impl HeadWatch {
    /// Of a new connection, whose first head is due.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Reading(Reading::begin()))))
    }

    /// Told of what has come in.
    pub(super) fn saw(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        if let (State::Idle(_), false) = (&*state, bytes.is_empty()) {
            *state = State::Reading(Reading::begin());
        }
        if let State::Reading(reading) = &mut *state
            && bytes.iter().any(|byte| reading.is_ended_by(*byte))
        {
            let ambiguous = reading.length && reading.coding;
            *state = State::Whole { ambiguous, answered: false };
        }
    }

    /// Told that a request is being served; says what is wrong with its head.
    pub(super) fn taken(&self) -> Option<Ambiguous> {
        let mut state = self.0.lock();
        let ambiguous = matches!(*state, State::Whole { ambiguous: true, .. });
        *state = State::Whole { ambiguous: false, answered: false };
        ambiguous.then_some(Ambiguous)
    }

    /// Told that nothing is left to be made of the answer. Most of it may wait to be taken.
    pub(super) fn answered(&self) {
        if let State::Whole { answered, .. } = &mut *self.0.lock() {
            *answered = true;
        }
    }

    /// Told that all that was written is out; after an answer, the next request may come.
    pub(super) fn flushed(&self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Whole { answered: true, .. }) {
            *state = State::Idle(Instant::now());
        }
    }

    pub(super) fn awaited(&self) -> Awaited {
        match &*self.0.lock() {
            State::Idle(since) => Awaited::Request(*since),
            State::Reading(reading) => Awaited::Head(reading.since),
            State::Whole { .. } => Awaited::Nothing,
        }
    }
}

/// A head that is coming in.
struct Reading {
    since: Instant,
    /// The beginning of the line that is coming in.
    line: Vec<u8>,
    /// Whether any line has been there.
    begun: bool,
    length: bool,
    coding: bool,
}

impl Reading {
    fn begin() -> Self {
        Self { since: Instant::now(), line: Vec::new(), begun: false, length: false, coding: false }
    }

    /// Takes one byte more. Lines end as the library lets them end, with or without a carriage return.
    fn is_ended_by(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' if self.line.is_empty() => return self.begun,
            b'\n' => {
                let name = self.line.split(|byte| *byte == b':').next().unwrap_or_default();
                self.length |= name.eq_ignore_ascii_case(b"content-length");
                self.coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
                self.begun = true;
                self.line.clear();
            }
            b'\r' => {}
            _ if self.line.len() < KEPT => self.line.push(byte),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(head: &str) -> (bool, Awaited) {
        let watch = HeadWatch::new();
        // However it is cut into pieces.
        head.as_bytes().chunks(3).for_each(|piece| watch.saw(piece));
        (watch.taken().is_some(), watch.awaited())
    }

    #[tokio::test]
    async fn two_lengths_are_found_in_any_order_and_case() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\r\nPOST / HTTP/1.1\ntransfer-encoding:chunked\nHost: x\nCONTENT-LENGTH:3\n\n",
        ] {
            assert!(verdict(head).0, "{head:?}");
        }
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nx: content-length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(!verdict(head).0, "{head:?}");
        }
    }

    #[tokio::test]
    async fn a_head_is_awaited_from_its_first_byte_to_its_end() {
        let watch = HeadWatch::new();
        assert!(matches!(watch.awaited(), Awaited::Head(_)));
        watch.saw(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(watch.awaited(), Awaited::Nothing);
        assert!(watch.taken().is_none());
        watch.saw(b"a body: transfer-encoding: x\r\n");
        assert_eq!(watch.awaited(), Awaited::Nothing);
        watch.flushed();
        watch.answered();
        assert_eq!(watch.awaited(), Awaited::Nothing);
        watch.flushed();
        assert!(matches!(watch.awaited(), Awaited::Request(_)));
        watch.saw(b"");
        assert!(matches!(watch.awaited(), Awaited::Request(_)));
        watch.saw(b"G");
        assert!(matches!(watch.awaited(), Awaited::Head(_)));
    }
}
