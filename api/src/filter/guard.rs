//! What is looked at before the parser, which recurses: nothing gets there that could exhaust its stack.

use super::Wrong;

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 1_024;
/// The most opening brackets and question marks, which is how deep an expression can nest.
pub(super) const MAX_BRACKETS: usize = 32;

/// Refuses what is empty, too long or may nest too deep.
///
/// Brackets inside of strings count too: where a string ends is for the parser alone to say, and a guard that saw
/// it differently could be led past what it is to stop.
pub(super) fn check(text: &str) -> Result<(), Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong::at(text, 0, "it is empty; an expression is expected"));
    }
    if text.len() > MAX_BYTES {
        let message = format!("it has {} bytes; at most {MAX_BYTES} are allowed", text.len());
        return Err(Wrong::at(text, 0, message));
    }
    let mut openings = text.bytes().enumerate().filter(|(_, byte)| b"([{?".contains(byte));
    match openings.nth(MAX_BRACKETS) {
        Some((offset, _)) => {
            let message = format!("at most {MAX_BRACKETS} of ( [ {{ and ? are allowed, also in strings");
            Err(Wrong::at(text, offset, message))
        }
        None => Ok(()),
    }
}
