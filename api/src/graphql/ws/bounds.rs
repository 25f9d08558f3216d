//! Where messages begin and end in the bytes of a client.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

/// The most bytes of a frame's header (RFC 6455, section 5.2).
const MAX_HEADER: usize = 14;

/// Follows the bytes of a client, to know when it is between two messages.
///
/// It judges nothing: that is left to the WebSocket library, which reads the same bytes and does not say where it is.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    header: [u8; MAX_HEADER],
    /// How many bytes of a header there are.
    known: usize,
    /// How many bytes of a frame's body are still to come.
    left: u64,
    /// Whether the last frame was a part of a message.
    open: bool,
}

impl Bounds {
    /// Goes on over these bytes.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = &bytes[skipped as usize..];
            } else {
                self.header[self.known] = *first;
                self.known += 1;
                bytes = rest;
                self.end_header();
            }
        }
    }

    /// Whether all that came is whole messages.
    pub(super) fn is_between(&self) -> bool {
        self.known == 0 && self.left == 0 && !self.open
    }

    /// Takes in the header where it is whole.
    fn end_header(&mut self) {
        match FrameHeader::parse(&mut Cursor::new(&self.header[..self.known])) {
            Ok(None) => return,
            Ok(Some((header, length))) => {
                self.left = length;
                if matches!(header.opcode, OpCode::Data(_)) {
                    self.open = !header.is_final;
                }
            }
            // The library ends such a connection: there is no next message.
            Err(_) => self.left = u64::MAX,
        }
        self.known = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..=0xFFFF => frame.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
            _ => frame.extend([&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat()),
        }
        frame.extend([0; 4]);
        frame.extend(vec![0xFF; length]);
        frame
    }

    #[test]
    fn only_the_end_of_a_message_is_between_two() {
        // A text, an empty one, a fragmented one with a ping inside, and large ones.
        let messages = [
            frame(0x81, 5),
            frame(0x81, 0),
            [frame(0x01, 3), frame(0x89, 0), frame(0x00, 130), frame(0x80, 0)].concat(),
            frame(0x82, 126),
            frame(0x81, 70_000),
        ];
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            })
            .collect();
        let bytes = messages.concat();
        for step in [1, 2, 3, 7, 1_000, bytes.len()] {
            let mut bounds = Bounds::default();
            let mut place = 0;
            for piece in bytes.chunks(step) {
                bounds.follow(piece);
                place += piece.len();
                assert_eq!(bounds.is_between(), ends.contains(&place), "{step} {place}");
            }
        }
    }

    #[test]
    fn after_what_is_no_frame_nothing_is_between() {
        let mut bounds = Bounds::default();
        bounds.follow(&frame(0x83, 0));
        bounds.follow(&frame(0x81, 3));
        assert!(!bounds.is_between());
    }
}
