//! What goes around the bytes of a stream on their way through HTTP.

use axum::http::Version;
use bytes::Bytes;

/// How the receiver knows where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each piece says how long it is, and the last that it is the last (RFC 9112, section 7.1).
    Chunked,
    /// It ends with the connection: HTTP/1.0 knows no chunks, and many proxies ask in it.
    Bare,
}

impl Framing {
    /// That of an answer to a request of this version, as the HTTP library chooses it.
    pub(crate) fn of(version: Version) -> Self {
        if version >= Version::HTTP_11 { Self::Chunked } else { Self::Bare }
    }

    /// The piece as it is written to the socket.
    pub(crate) fn wrap(self, piece: Vec<u8>) -> Bytes {
        if self == Self::Bare {
            return piece.into();
        }
        let mut out = format!("{:x}\r\n", piece.len()).into_bytes();
        out.reserve_exact(piece.len() + 2);
        out.extend_from_slice(&piece);
        out.extend_from_slice(b"\r\n");
        out.into()
    }

    /// What comes after the last piece.
    pub(crate) fn end(self) -> Bytes {
        match self {
            Self::Chunked => Bytes::from_static(b"0\r\n\r\n"),
            Self::Bare => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_say_how_long_they_are() {
        assert_eq!(
            Framing::of(Version::HTTP_11).wrap(vec![b'x'; 18]),
            [b"12\r\n", &[b'x'; 18][..], b"\r\n"].concat()
        );
        assert_eq!(Framing::of(Version::HTTP_10).wrap(vec![b'x'; 18]), vec![b'x'; 18]);
    }
}
