//! Finds out what a client has received: all that was sent before a ping that it has answered.

use std::borrow::Cow;
use std::time::Duration;

/// How soon after data a ping follows, for those who come back with a resume id.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

/// The pings of a connection, and which of them have been answered.
///
/// Where it matters each ping has a number as its payload. Clients need not send it back (PROTOCOL.md of graphql-ws,
/// `Pong`): from one that never does, as many pongs are expected as there were pings. A client may also send pongs that
/// nobody asked for; from one that sends numbers back they say nothing.
#[derive(Debug, Default)]
pub(super) struct Confirm {
    /// Whether pings have numbers.
    begun: bool,
    /// The number of the last ping.
    last: u64,
    /// How many pings have not been answered.
    out: u64,
    echoes: bool,
}

impl Confirm {
    /// Numbers the pings from now on.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// A ping to send: this one, where its answer says nothing that matters.
    pub(super) fn ping(&mut self, plain: &'static str) -> Cow<'static, str> {
        self.out += 1;
        if !self.begun {
            return plain.into();
        }
        self.last += 1;
        format!(r#"{{"type":"ping","payload":{{"n":{}}}}}"#, self.last).into()
    }

    /// Takes a pong with the number of its ping, where it has one; whether the last ping is answered now, and was not
    /// before.
    pub(super) fn pong(&mut self, number: Option<u64>) -> bool {
        self.echoes |= number.is_some();
        let was_out = self.is_out();
        self.out = match number {
            Some(number) if number <= self.last => self.out.min(self.last - number),
            None if !self.echoes => self.out.saturating_sub(1),
            _ => self.out,
        };
        was_out && !self.is_out()
    }

    /// Whether a ping waits for its answer.
    pub(super) fn is_out(&self) -> bool {
        self.out > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_last_ping_confirms() {
        let mut confirm = Confirm::default();
        assert_eq!(confirm.ping("plain"), "plain");
        assert!(confirm.pong(None) && !confirm.is_out() && !confirm.pong(None));
        confirm.begin();
        assert_eq!(confirm.ping("plain"), r#"{"type":"ping","payload":{"n":1}}"#);
        confirm.ping("plain");
        assert!(!confirm.pong(Some(1)) && confirm.is_out());
        // Made up, and not asked for.
        assert!(!confirm.pong(Some(9)) && !confirm.pong(None));
        assert!(confirm.pong(Some(2)) && !confirm.pong(Some(2)));
    }

    #[test]
    fn without_numbers_all_pings_must_be_answered() {
        let mut confirm = Confirm::default();
        confirm.ping("plain");
        confirm.begin();
        confirm.ping("plain");
        assert!(!confirm.pong(None) && confirm.pong(None));
        confirm.ping("plain");
        assert!(confirm.pong(None));
    }
}
