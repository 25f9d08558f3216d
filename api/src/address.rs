//! Where a request comes from: the peer, or whoever trusted proxies say it is.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use crate::app::App;

/// Each proxy adds to the right of it whom it was connected by.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Who asks where no connection is known, as in a router that is called without a server.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// The address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address as it was found out when the request came.
    pub fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(NOWHERE, |address| address.0)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Self::of(&parts.extensions)))
    }
}

/// Notes the client's address with each request.
pub(crate) async fn layer(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(NOWHERE, |peer| peer.0.ip());
    let address = find(peer.to_canonical(), request.headers(), &app.settings.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(address));
    next.run(request).await
}

/// The peer; or, where that is a trusted proxy, the right-most hop of `X-Forwarded-For` that is none. What stands to the
/// left of that was written by whoever asked, and may be anything. A hop that is no address ends the search: whoever is
/// before it is not known.
fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let mut hops = hops.into_iter().rev().map_while(read);
    while is_trusted(&address) {
        match hops.next() {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address
}

/// A hop: an address, with a port perhaps.
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse().ok().map(|hop: SocketAddr| hop.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
        }
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(find(address(peer), &headers, &trusted), address(expected));
    }

    #[test]
    fn a_stranger_is_not_believed() {
        check("192.0.2.1", &["198.51.100.9"], "192.0.2.1");
        check("192.0.2.1", &[], "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_right_most_stranger_counts() {
        check("10.0.0.1", &["198.51.100.9"], "198.51.100.9");
        check("10.0.0.1", &["1.1.1.1, 198.51.100.9, 10.1.2.3"], "198.51.100.9");
        check("10.0.0.1", &["1.1.1.1", "198.51.100.9"], "198.51.100.9");
        check("fd00::1", &["2001:db8::7"], "2001:db8::7");
        check("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("10.0.0.1", &["198.51.100.9:4711"], "198.51.100.9");
        check("10.0.0.1", &["::ffff:198.51.100.9"], "198.51.100.9");
    }

    #[test]
    fn what_is_no_address_hides_what_is_before_it() {
        check("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &[""], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.3"], "10.0.0.3");
    }
}
