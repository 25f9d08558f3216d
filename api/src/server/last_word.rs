//! What a client is told of a connection that HTTP itself cannot answer on, and a close that lets it be heard.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use nuncio_model::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::ApiError;
use crate::problem;

/// How long a peer has to close its side, having been told something.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes are read at a time, to be thrown away.
const THROWN_AWAY: usize = 8 << 10;

/// How the library's own refusals begin, before a date and the end of the head. No body of ours is such a text: the
/// line breaks in it are written in no other way.
const REFUSALS: [(&[u8], StatusCode); 3] = [
    (
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        StatusCode::BAD_REQUEST,
    ),
    (
        b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        StatusCode::URI_TOO_LONG,
    ),
    (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: ",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    ),
];
/// The length of a date in a header, with the end of the head.
const DATE: usize = "Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n".len();

/// The same refusal as a problem, where the library writes one by itself: it answers a head that it cannot read with a
/// status alone, before anything of ours is asked.
pub(super) fn in_our_form(written: &[u8]) -> Option<Bytes> {
    let is_one = |(beginning, _): &&(&[u8], _)| {
        written.len() == beginning.len() + DATE && written.starts_with(beginning)
    };
    let (_, status) = REFUSALS.iter().find(is_one)?;
    let error = match *status {
        StatusCode::BAD_REQUEST => ApiError::invalid(
            "the head of the request is no good HTTP/1.1: look at its first line, the names and characters of its header \
             fields, and its Content-Length and Transfer-Encoding",
        ),
        StatusCode::URI_TOO_LONG => ApiError::new(Code::TooLarge, "the request's URL is too long"),
        _ => ApiError::new(
            Code::TooLarge,
            "the head of the request has more than 64 KiB, or more than 100 header fields",
        ),
    };
    Some(problem::alone(error.with_status(*status)))
}

/// What an HTTP/2 client is told that did not ask before: settings, as its protocol wants them first, and then GOAWAY
/// with HTTP_1_1_REQUIRED (RFC 9113, sections 6.5, 6.8 and 7).
const ONLY_HTTP_1: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x1e\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d\
    Nuncio speaks HTTP/1.1";

/// Ends a connection after HTTP. `unread` is what had come of the next request.
pub(super) async fn say(mut socket: TcpStream, error: Option<hyper::Error>, unread: &[u8]) {
    let word = error.as_ref().and_then(|error| word(error, unread));
    if let Some(error) = error {
        // A connection that breaks is ordinary; whoever was served by it has noticed.
        tracing::debug!(%error, "a connection broke");
    }
    let told = async {
        if let Some(word) = word {
            socket.write_all(&word).await?;
        }
        socket.shutdown().await?;
        // What comes in is thrown away. A socket that is closed with something unread in it resets the connection, and
        // the peer may never see what it was told last: why its large body is not wanted, for one.
        let mut room = [0; THROWN_AWAY];
        while socket.read(&mut room).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _gone_or_still_sending = tokio::time::timeout(LINGER, told).await;
}

fn word(error: &hyper::Error, unread: &[u8]) -> Option<Bytes> {
    if error.is_parse_version_h2() {
        return Some(Bytes::from_static(ONLY_HTTP_1));
    }
    // Who has said nothing is told nothing: it waits for no answer.
    let late = !unread.is_empty() && is_time_out(error);
    let error = || {
        ApiError::invalid("the head of the request did not come in time")
            .with_status(StatusCode::REQUEST_TIMEOUT)
    };
    late.then(|| problem::alone(error()))
}

fn is_time_out(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut)
}
