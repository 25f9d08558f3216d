//! How deep the headers of a message are nested, found without recursion.
//!
//! AMQP lets tables and arrays stand in each other without end: six bytes are enough for one more of them, so that a
//! frame of 128 KiB holds twenty thousand. Whatever reads such a message by recursion, as the AMQP library does, runs
//! out of stack, and the whole process ends with it, for every message again that RabbitMQ hands out.

/// The deepest nesting of headers that is read.
pub const MAX_HEADER_NESTING: usize = 128;

/// The fewest bytes that one more level takes: the type and the length of an array in an array.
pub(crate) const BYTES_PER_LEVEL: usize = 5;

/// The properties that stand before the headers: `content_type` and `content_encoding`.
const BEFORE_HEADERS: [u16; 2] = [1 << 15, 1 << 14];
/// The flag of the headers.
pub(crate) const HEADERS: u16 = 1 << 13;

/// Whether the headers among these properties, flags included, are nested too deep. What is not well formed is as deep
/// as it is up to there: so far the library would read it too.
pub(crate) fn is_too_deep(properties: &[u8]) -> bool {
    let mut bytes = Bytes(properties);
    headers_of(&mut bytes).is_some_and(|headers| depth_of(headers) > MAX_HEADER_NESTING)
}

/// The bytes of the table of headers.
fn headers_of<'a>(bytes: &mut Bytes<'a>) -> Option<&'a [u8]> {
    let flags = u16::from_be_bytes(bytes.take(2)?.try_into().ok()?);
    for flag in BEFORE_HEADERS {
        if flags & flag != 0 {
            bytes.skip_short_string()?;
        }
    }
    (flags & HEADERS != 0).then(|| bytes.take_long()).flatten()
}

/// What one level is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Array,
}

/// The depth of a table, 1 where nothing in it is nested.
fn depth_of(table: &[u8]) -> usize {
    // Each level with what is left of it, the innermost last.
    let mut open = vec![(Kind::Table, Bytes(table))];
    let mut deepest = 1;
    while let Some((kind, bytes)) = open.last_mut() {
        if bytes.0.is_empty() {
            open.pop();
            continue;
        }
        match bytes.step(*kind) {
            Some(Some(inner)) => open.push(inner),
            Some(None) => {}
            // Nobody reads on from here.
            None => return deepest,
        }
        deepest = deepest.max(open.len());
        if deepest > MAX_HEADER_NESTING {
            return deepest;
        }
    }
    deepest
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Reads one entry: a level that begins with it, or nothing where it is a plain value.
    fn step(&mut self, kind: Kind) -> Option<Option<(Kind, Self)>> {
        if kind == Kind::Table {
            self.skip_short_string()?;
        }
        // The types are RabbitMQ's, which is also how the library reads them.
        match self.take(1)?[0] {
            b'F' => return Some(Some((Kind::Table, Self(self.take_long()?)))),
            b'A' => return Some(Some((Kind::Array, Self(self.take_long()?)))),
            b'S' | b'x' => self.take_long(),
            b't' | b'b' | b'B' => self.take(1),
            b's' | b'U' | b'u' => self.take(2),
            b'I' | b'i' | b'f' => self.take(4),
            b'D' => self.take(5),
            b'L' | b'l' | b'd' | b'T' => self.take(8),
            b'V' => self.take(0),
            _ => None,
        }?;
        Some(None)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip_short_string(&mut self) -> Option<()> {
        let length = self.take(1)?[0];
        self.take(length.into()).map(drop)
    }

    /// What stands behind its length in four bytes.
    fn take_long(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(length.try_into().ok()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Properties with headers alone, so many tables or arrays in each other.
    pub(crate) fn nested(depth: usize, kind: u8) -> Vec<u8> {
        let level = if kind == b'F' { 6 } else { BYTES_PER_LEVEL };
        let mut bytes = HEADERS.to_be_bytes().to_vec();
        // The table of headers is the first level; an array stands in it under an empty name.
        let extra = usize::from(kind == b'A' && depth > 1);
        for left in (0..depth).rev() {
            let outermost = left + 1 == depth;
            let size = left * level + if outermost { extra } else { 0 };
            bytes.extend(u32::try_from(size).expect("a small table").to_be_bytes());
            if left > 0 {
                bytes.extend((kind == b'F' || outermost).then_some(0));
                bytes.push(kind);
            }
        }
        bytes
    }

    #[test]
    fn depth_is_found_for_tables_and_arrays() {
        for kind in *b"FA" {
            for (depth, too_deep) in [(1, false), (2, false), (128, false), (129, true), (20_000, true)] {
                assert_eq!(is_too_deep(&nested(depth, kind)), too_deep, "{depth} {}", char::from(kind));
            }
        }
    }

    #[test]
    fn values_of_all_types_stand_beside_each_other() {
        let mut table = Vec::new();
        for (kind, size) in b"tbBsUuIifDLldTV".iter().zip([1, 1, 1, 2, 2, 2, 4, 4, 4, 5, 8, 8, 8, 8, 0]) {
            table.extend([1, b'n', *kind]);
            table.extend(vec![b'F'; size]);
        }
        table.extend(b"\x01nS\0\0\0\x03FFF\x01nx\0\0\0\x01A\x01nA\0\0\0\x06t\x01A\0\0\0");
        assert_eq!(depth_of(&table), 2, "the inner array is cut short");
        let mut properties = (HEADERS | BEFORE_HEADERS[0] | BEFORE_HEADERS[1]).to_be_bytes().to_vec();
        properties.extend(b"\x0atext/plain\x00");
        properties.extend(nested(200, b'F').split_off(2));
        assert!(is_too_deep(&properties));
    }

    #[test]
    fn what_is_no_table_is_as_deep_as_it_can_be_read() {
        for bytes in
            [&b""[..], b"\x20", b"\x20\0", b"\x20\0\0\0\0\x09", b"\x20\0\0\0\0\x02\0?", b"\x80\0\x05"]
        {
            assert!(!is_too_deep(bytes), "{bytes:?}");
        }
        let mut broken = nested(200, b'F');
        broken.pop();
        assert!(!is_too_deep(&broken), "the outermost length is more than there is, so that nothing is read");
    }
}
