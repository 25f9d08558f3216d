//! The event's number in its data, in a form that is found without parsing what is around it.

use memchr::memmem::Finder;

const FENCE: &[u8] = b"@@";
const DIGITS: usize = 8;

/// The bytes that a marker takes.
pub(super) const BYTES: usize = FENCE.len() * 2 + DIGITS;

/// `data` of an event: a JSON object of this many bytes that holds the number.
pub(super) fn data(number: u32, bytes: usize) -> String {
    let head = format!(r#"{{"n":"@@{number:08}@@","pad":""#);
    let pad = "x".repeat(bytes.saturating_sub(head.len() + 2));
    format!("{head}{pad}\"}}")
}

/// Finds numbers; made once, as a finder prepares its needle.
pub(super) struct Markers(Finder<'static>);

impl Default for Markers {
    fn default() -> Self {
        Self(Finder::new(FENCE))
    }
}

impl Markers {
    /// Calls `found` with each number; says where the last whole marker ends.
    pub(super) fn each(&self, text: &[u8], mut found: impl FnMut(u32)) -> usize {
        let mut end = 0;
        while let Some(at) = self.0.find(&text[end..]) {
            let begin = end + at;
            let Some(marker) = text.get(begin..begin + BYTES) else { break };
            end = match number(&marker[FENCE.len()..FENCE.len() + DIGITS]) {
                Some(number) => {
                    found(number);
                    begin + BYTES
                }
                None => begin + FENCE.len(),
            };
        }
        end
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_found_and_nothing_else() {
        let text = format!("a@@b {} , {} @@0000", data(1, 120), data(23_456_789, 120));
        let mut numbers = Vec::new();
        let end = Markers::default().each(text.as_bytes(), |number| numbers.push(number));
        assert_eq!(numbers, [1, 23_456_789]);
        assert!(end > text.len() - 120 && end < text.len() - 6, "what is cut off is left for later");
    }

    #[test]
    fn data_has_the_size_asked_for_and_is_json() {
        assert_eq!(data(5, 120).len(), 120);
        assert!(serde_json::from_str::<serde_json::Value>(&data(5, 120)).is_ok());
    }
}
