//! What a request must be before anything of it is looked at (RFC 9112, sections 3.2 and 6.3).

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::server::Ambiguous;

/// Refuses requests that others on the way may have read in another way than we do.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        // Nothing that comes behind such a request can be trusted to be one.
        Err(error) => ([(header::CONNECTION, "close")], error).into_response(),
    }
}

fn check(request: &Request) -> Result<(), ApiError> {
    if request.extensions().get::<Ambiguous>().is_some() {
        return Err(ApiError::invalid(
            "the request has both Content-Length and Transfer-Encoding: send one of them",
        ));
    }
    let codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    if codings.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        let error = ApiError::invalid("of all transfer codings only chunked is known here");
        return Err(error.with_status(StatusCode::NOT_IMPLEMENTED));
    }
    check_host(request.headers(), request.version())
}

/// HTTP/1.1 needs exactly one; before that it may be missing.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(ApiError::invalid(
            "the request needs one Host header, with the name or address it was sent to",
        )),
    }
}

/// Whether this can be a host and a port (RFC 3986, section 3.2). It may be empty.
fn is_host(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn good(hosts: &[&'static str], version: Version) -> bool {
        let headers = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        check_host(&map, version).is_ok()
    }

    #[test]
    fn there_is_one_host() {
        for host in ["example.org", "example.org:8080", "[::1]:80", "127.0.0.1", ""] {
            assert!(good(&[host], Version::HTTP_11), "{host}");
        }
        for hosts in [&[][..], &["a", "b"], &["a", "a"], &["user@host"], &["a/b"], &["a b"]] {
            assert!(!good(hosts, Version::HTTP_11), "{hosts:?}");
        }
        assert!(good(&[], Version::HTTP_10) && !good(&["a", "b"], Version::HTTP_10));
    }
}
