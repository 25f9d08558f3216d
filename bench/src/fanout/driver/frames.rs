//! As much of RFC 6455 as a client needs that shares its processors with the server: frames are looked at where they
//! were read, and only what is cut off by the end of a read is copied.

use std::ops::ControlFlow;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close(&'a [u8]),
    /// Nothing that a subscriber has to act on.
    Other,
}

/// Calls `each` with every whole frame, until it breaks off; says how many bytes they took.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(Frame<'a>) -> ControlFlow<()>,
) -> Result<usize, String> {
    let mut used = 0;
    while let Some((first, head, length)) = head(&bytes[used..])? {
        let Some(payload) = bytes.get(used + head..used + head + length) else { break };
        used += head + length;
        let frame = match first & 0x0f {
            TEXT => Frame::Text(payload),
            PING => Frame::Ping(payload),
            CLOSE => Frame::Close(payload),
            _ => Frame::Other,
        };
        if each(frame).is_break() {
            break;
        }
    }
    Ok(used)
}

/// The first byte of a frame, the bytes of its head, and those of its payload.
fn head(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & FINAL == 0 || second & MASKED != 0 {
        return Err(format!("a frame that is fragmented or masked: {first:#x} {second:#x}"));
    }
    Ok(match (second, rest) {
        (126, [a, b, ..]) => Some((*first, 4, usize::from(u16::from_be_bytes([*a, *b])))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            Some((*first, 10, usize::try_from(length).map_err(|_| "a frame is too long".to_owned())?))
        }
        (126 | 127, _) => None,
        (length, _) => Some((*first, 2, usize::from(*length))),
    })
}

/// A text for the server.
pub(super) fn text(payload: &[u8], out: &mut Vec<u8>) {
    masked(TEXT, payload, out);
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    masked(PONG, payload, out);
}

/// The mask is zero, which RFC 6455 lets a client choose and which leaves the payload as it is.
fn masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => out.push(MASKED | short),
        _ => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_long_and_wherever_cut() {
        let long = vec![b'l'; 300];
        let mut wire = vec![0x81, 2, b'h', b'i', 0x89, 1, b'p', 0x81, 126, 1, 44];
        wire.extend_from_slice(&long);
        for cut in 0..=wire.len() {
            let mut frames = Vec::new();
            let used = parse(&wire[..cut], |frame| {
                frames.push(frame);
                ControlFlow::Continue(())
            });
            let whole = [4, 7, wire.len()].iter().filter(|end| **end <= cut).count();
            assert_eq!(used, Ok([0, 4, 7, wire.len()][whole]));
            assert_eq!(frames, [Frame::Text(b"hi"), Frame::Ping(b"p"), Frame::Text(&long)][..whole]);
        }
    }
}
