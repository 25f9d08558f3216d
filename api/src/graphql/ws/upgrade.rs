//! From an HTTP request to a WebSocket (RFC 6455, section 4.2).

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::dialect::Dialect;
use crate::error::ApiError;
use crate::server::{Below, Seat};

/// How many bytes a client chooses for a handshake's key (RFC 6455, section 4.1).
const KEY_BYTES: usize = 16;

/// Whether the request asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, UPGRADE, "websocket")
}

/// An accepted handshake.
pub(super) struct Handshake {
    /// The answer to send; the connection is a WebSocket once it is sent.
    pub(super) response: Response<Body>,
    /// The connection, once the answer was sent.
    pub(super) connection: OnUpgrade,
    /// What is spoken with the client. If it speaks nothing of ours, it is told so by a close code.
    pub(super) dialect: Option<Dialect>,
}

/// Accepts the handshake; `legacy` says whether the legacy subprotocol may be spoken.
///
/// # Errors
/// `INVALID_REQUEST` where it is not one of RFC 6455.
pub(super) fn accept(request: &mut Request, legacy: bool) -> Result<Handshake, ApiError> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(ApiError::invalid("a WebSocket handshake is a GET"));
    }
    if !has_token(headers, CONNECTION, "upgrade") {
        return Err(ApiError::invalid("a WebSocket handshake needs `Connection: Upgrade`"));
    }
    if !has_token(headers, SEC_WEBSOCKET_VERSION, "13") {
        let other = ApiError::invalid("the WebSocket protocol is spoken in version 13 alone");
        return Err(other.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or_else(|| ApiError::invalid("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    let accept = derive_accept_key(key.as_bytes());
    let dialect = Dialect::choose(items(headers, SEC_WEBSOCKET_PROTOCOL), legacy);
    let connection = request.extensions_mut().remove::<OnUpgrade>();
    let connection =
        connection.ok_or_else(|| ApiError::invalid("this connection cannot become a WebSocket"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept).expect("base64 is a good header"));
    if let Some(dialect) = dialect {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(dialect.subprotocol()));
    }
    Ok(Handshake { response, connection, dialect })
}

/// A connection that has become a WebSocket.
pub(super) struct Upgraded {
    pub(super) socket: TcpStream,
    /// Its place among all connections, to be kept for as long as the socket.
    pub(super) seat: Seat,
    /// What the client has sent right behind its request.
    pub(super) early: Vec<u8>,
}

/// Waits until the answer is sent, and takes the socket out of what HTTP has wrapped it in: each layer would be asked
/// at every write. None where the connection broke before.
pub(super) async fn take_over(connection: OnUpgrade) -> Option<Upgraded> {
    let upgraded = connection.await.ok()?;
    let Ok(parts) = upgraded.downcast::<Below>() else {
        tracing::error!("a WebSocket came in by another way than this server");
        return None;
    };
    let (socket, seat) = parts.io.into_inner().into_parts();
    // Even if it is empty, that buffer would keep all the memory that the request was read into.
    let early = parts.read_buf.to_vec();
    Some(Upgraded { socket, seat, early })
}

/// Whether this can be a key: no cache and no form in a page makes one by chance.
fn is_key(text: &[u8]) -> bool {
    STANDARD.decode(text).is_ok_and(|key| key.len() == KEY_BYTES)
}

/// Whether a header that is a list holds the token.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// The items of a header that is a list.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lists_of_any_case() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("soap"));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
        assert!(has_token(&headers, CONNECTION, "upgrade"));
        let offered: Vec<_> = items(&headers, SEC_WEBSOCKET_PROTOCOL).collect();
        assert_eq!(offered, ["soap", "graphql-transport-ws"]);
        assert!(!is_upgrade(&headers));
    }
}
