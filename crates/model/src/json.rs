//! JSON texts kept as the bytes that go on the wire: checked once, white space removed, never re-printed.

use bytes::Bytes;

/// How deep arrays and objects may nest; deeper texts break the parsers of ordinary clients.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not taken as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON by RFC 8259.
    #[error("is not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nests deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A `\u` escape of half a surrogate pair, which stands for no character.
    #[error("holds an escape of half a surrogate pair")]
    LoneSurrogate,
}

/// Checks a JSON text and removes the white space between its tokens.
///
/// Numbers, escapes, repeated keys and the order of keys stay as they were written. The result holds no line break.
///
/// # Errors
/// Where the text is not JSON (RFC 8259), nests too deep, or holds half a surrogate pair.
pub fn compact(text: &Bytes) -> Result<Bytes, JsonError> {
    compact_within(text, MAX_DEPTH)
}

/// The same for a text around values that may themselves nest as deep as is allowed.
///
/// # Errors
/// As [`compact`], with this depth.
pub fn compact_within(text: &Bytes, depth: usize) -> Result<Bytes, JsonError> {
    let plain = scan(text, depth)?;
    let checked: &serde_json::value::RawValue =
        serde_json::from_slice(text).map_err(|error| JsonError::Syntax(error.to_string()))?;
    if plain {
        return Ok(text.clone());
    }
    Ok(strip_space(checked.get().as_bytes()).into())
}

/// Looks for what serde_json lets through; tells whether there is no white space to remove.
fn scan(text: &[u8], max_depth: usize) -> Result<bool, JsonError> {
    let (mut depth, mut plain, mut in_string) = (0_usize, true, false);
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => {
                i += surrogate_escape(&text[i..])?;
                continue;
            }
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > max_depth {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b' ' | b'\t' | b'\r' | b'\n' => plain = false,
            _ => {}
        }
        i += 1;
    }
    Ok(plain)
}

/// The length of the escape that `text` begins with, a surrogate pair taken as one.
fn surrogate_escape(text: &[u8]) -> Result<usize, JsonError> {
    match unit(text) {
        Some(0xd800..=0xdbff) => match text.get(6..).and_then(unit) {
            Some(0xdc00..=0xdfff) => Ok(12),
            _ => Err(JsonError::LoneSurrogate),
        },
        Some(0xdc00..=0xdfff) => Err(JsonError::LoneSurrogate),
        _ => Ok(2),
    }
}

/// The UTF-16 code unit of a `\uXXXX` at the start of `text`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn strip_space(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in text {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string always has a JSON form, and a Vec takes all");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compacted(text: &str) -> Result<String, JsonError> {
        compact(&Bytes::from(text.to_owned()))
            .map(|b| String::from_utf8(b.to_vec()).expect("UTF-8 stays UTF-8"))
    }

    #[test]
    fn space_goes_and_everything_else_stays() {
        let text = "{ \"a b\" : [ 1e400 , 1.0 ] ,\n\"a b\": \"x \\\" y\\\\\" }";
        assert_eq!(compacted(text).as_deref(), Ok(r#"{"a b":[1e400,1.0],"a b":"x \" y\\"}"#));
        let digits = "1".repeat(100);
        assert_eq!(compacted(&digits).as_deref(), Ok(digits.as_str()));
        assert_eq!(compacted(r#""\u0000\ud83d\ude00""#).as_deref(), Ok(r#""\u0000\ud83d\ude00""#));
    }

    #[test]
    fn what_breaks_clients_is_refused() {
        assert_eq!(compacted(r#""\ud800""#), Err(JsonError::LoneSurrogate));
        assert_eq!(compacted(r#""\udc00x""#), Err(JsonError::LoneSurrogate));
        assert_eq!(compacted(&"[".repeat(10_000)), Err(JsonError::TooDeep));
        assert_eq!(compacted(&"[".repeat(129)), Err(JsonError::TooDeep));
        assert!(compacted(&("[".repeat(128) + &"]".repeat(128))).is_ok());
        for bad in ["", "{", "nul", "1 2", "{\"a\":}", "\"\u{1}\"", "\u{feff}1"] {
            assert!(matches!(compacted(bad), Err(JsonError::Syntax(_))), "{bad:?}");
        }
        assert!(compact(&Bytes::from_static(b"\"\xff\"")).is_err());
    }

    proptest! {
        #[test]
        fn meaning_is_kept(words in proptest::collection::vec("[\\PC\\s]{0,6}", 0..8), n in any::<f64>()) {
            let value = serde_json::json!({"words": words, "n": n, "nested": [[{"k": null}]]});
            let pretty = serde_json::to_string_pretty(&value).expect("JSON values print");
            let short = compacted(&pretty).expect("what serde_json printed is JSON");
            prop_assert!(!short.contains('\n'));
            prop_assert_eq!(short, value.to_string());
        }
    }
}
