//! Cursors: opaque names of places in a project's total order.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Code, ProjectId};

/// A place in a project's total order: 1, 2, 3 … in commit order, without holes; 0 is before the first event.
pub type Position = i64;

/// Counts how often the log was replaced by an older copy of itself; places of different epochs do not compare.
pub type Epoch = i32;

const VERSION: u8 = 1;

/// The place right after an event (or at 0), with the project and epoch it belongs to.
///
/// As text it is opaque: base64url of a version, the three numbers, and a check that tells typing errors and made-up
/// cursors from true ones. It is no secret and grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The project whose log this is.
    pub project: ProjectId,
    /// The epoch the position was assigned in.
    pub epoch: Epoch,
    /// The position of the last event before this place.
    pub position: Position,
}

/// The text is no cursor that Nuncio wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that Nuncio gave out for this project")]
pub struct CursorError;

impl CursorError {
    /// The stable code of this error.
    pub fn code(&self) -> Code {
        Code::CursorInvalid
    }
}

impl Cursor {
    /// Reads a cursor of this project.
    ///
    /// # Errors
    /// Where the text was made up or belongs to another project. Whether the place still exists is for the log to say.
    pub fn parse(text: &str, project: ProjectId) -> Result<Self, CursorError> {
        // The longest true cursor has 38 characters; refusing more keeps a hostile one from costing anything.
        if text.len() > 40 {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (body, check) = bytes.split_last_chunk::<3>().ok_or(CursorError)?;
        if check_of(body) != *check {
            return Err(CursorError);
        }
        let mut rest = body.strip_prefix(&[VERSION]).ok_or(CursorError)?;
        let mut next = || read_varint(&mut rest).ok_or(CursorError);
        let (owner, epoch, position) = (next()?, next()?, next()?);
        let cursor = Self {
            project: ProjectId(i32::try_from(owner).map_err(|_| CursorError)?),
            epoch: Epoch::try_from(epoch).map_err(|_| CursorError)?,
            position: Position::try_from(position).map_err(|_| CursorError)?,
        };
        (rest.is_empty() && cursor.project == project).then_some(cursor).ok_or(CursorError)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(16);
        bytes.push(VERSION);
        write_varint(&mut bytes, u64::from(self.project.0.unsigned_abs()));
        write_varint(&mut bytes, u64::from(self.epoch.unsigned_abs()));
        write_varint(&mut bytes, self.position.unsigned_abs());
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        let mut text = [0; 44];
        let length = URL_SAFE_NO_PAD.encode_slice(&bytes, &mut text).map_err(|_| std::fmt::Error)?;
        f.write_str(std::str::from_utf8(&text[..length]).map_err(|_| std::fmt::Error)?)
    }
}

/// Three bytes of FNV-1a: enough to tell accidents; a cursor protects nothing.
fn check_of(body: &[u8]) -> [u8; 3] {
    let hash =
        body.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_le_bytes();
    [a ^ d, b, c]
}

/// LEB128, as in Protocol Buffers.
fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_by_its_project_alone(p in 1..i32::MAX, epoch in 0..i32::MAX, position in 0..i64::MAX) {
            let cursor = Cursor { project: ProjectId(p), epoch, position };
            let text = cursor.to_string();
            prop_assert!(text.len() <= 40);
            prop_assert_eq!(Cursor::parse(&text, ProjectId(p)), Ok(cursor));
            prop_assert_eq!(Cursor::parse(&text, ProjectId(p - 1)), Err(CursorError));
        }

        #[test]
        fn hostile_text_is_refused_without_harm(text in ".{0,80}") {
            prop_assert_eq!(Cursor::parse(&text, ProjectId(1)), Err(CursorError));
        }
    }

    #[test]
    fn one_changed_letter_is_noticed() {
        let text = Cursor { project: ProjectId(1), epoch: 1, position: 123_456 }.to_string();
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII stays ASCII");
            assert_eq!(Cursor::parse(&changed, ProjectId(1)), Err(CursorError), "{changed}");
        }
    }
}
