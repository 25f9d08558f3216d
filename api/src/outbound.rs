//! Requests to addresses that administrators name: they reach the public internet alone, so that nobody can use a node
//! to look into the network that it stands in (server-side request forgery).
//!
//! The address is judged where it is used, after the name was resolved: a name that is public when it is set and
//! private when it is asked for reaches nothing. `NUNCIO_ALLOW_PRIVATE_ADDRESSES` lifts this, for development.

mod public;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

pub(crate) use public::is_public;

/// The longest address.
const MAX_URL_BYTES: usize = 2_048;

/// Why nothing was got. The texts are for administrators.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// The address is none that may be asked.
    #[error("the address {0}")]
    Refused(&'static str),
    /// There are no certificates of authorities to check a server by.
    #[error("the node has no certificates of authorities to check the server by: install ca-certificates")]
    NoAuthorities,
    /// The answer is no 200; redirects are not followed.
    #[error("the server answered with the status {0}, and 200 is needed; redirects are not followed")]
    Status(u16),
    /// The body is over the limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The server took too long.
    #[error("there was no whole answer in {} seconds", .0.as_secs())]
    Late(Duration),
    /// The server is not there, or it breaks its protocol.
    #[error(
        "the server could not be reached, or did not speak HTTP; was the name resolved to a public address?"
    )]
    Unreachable(#[source] reqwest::Error),
}

/// A client for addresses that administrators name.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    client: Option<Client>,
    allow_private: bool,
    within: Duration,
}

impl Outbound {
    /// A client whose requests take this long at most, their answers included.
    pub(crate) fn new(allow_private: bool, within: Duration) -> Self {
        let mut builder = Client::builder()
            .timeout(within)
            .redirect(Policy::none())
            // A proxy would resolve names itself, out of our sight.
            .no_proxy()
            .https_only(!allow_private)
            .user_agent(concat!("nuncio/", env!("CARGO_PKG_VERSION")));
        if !allow_private {
            builder = builder.dns_resolver(PublicOnly);
        }
        // Without the certificates of any authority there is no client. That is no reason for a node not to start.
        let client = builder.build().inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the keys that projects publish cannot be fetched"
            );
        });
        Self { client: client.ok(), allow_private, within }
    }

    /// Reads an address and judges what can be judged before its name is resolved.
    ///
    /// # Errors
    /// With what is wrong, as the end of a sentence that begins with the address.
    pub(crate) fn address(&self, text: &str) -> Result<Url, &'static str> {
        if text.len() > MAX_URL_BYTES {
            return Err("must have at most 2048 bytes");
        }
        // The parser is that of browsers: it writes every spelling of an IPv4 address, such as 0x7f.1, in the usual one.
        let url = Url::parse(text).map_err(|_| "must be a URL like https://host/path")?;
        if !(url.scheme() == "https" || (url.scheme() == "http" && self.allow_private)) {
            return Err("must begin with https://");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must hold no user, no password and no fragment");
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if !self.allow_private && literal.is_some_and(|address| !is_public(address)) {
            return Err("must not name a private, local or reserved address");
        }
        Ok(url)
    }

    /// Gets a body of at most so many bytes.
    ///
    /// # Errors
    /// Where the address is refused, or there is no whole answer of status 200 in time and size.
    pub(crate) async fn get(&self, url: &str, accept: &str, most: usize) -> Result<Bytes, OutboundError> {
        let url = self.address(url).map_err(OutboundError::Refused)?;
        let client = self.client.as_ref().ok_or(OutboundError::NoAuthorities)?;
        let sent = client.get(url).header(ACCEPT, accept).send().await;
        let mut answer = sent.map_err(|error| self.failed(error))?;
        if answer.status().as_u16() != 200 {
            return Err(OutboundError::Status(answer.status().as_u16()));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + chunk.len() > most {
                return Err(OutboundError::TooLarge(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn failed(&self, error: reqwest::Error) -> OutboundError {
        // The address may hold what is not for logs, such as a key in its query.
        let error = error.without_url();
        if error.is_timeout() { OutboundError::Late(self.within) } else { OutboundError::Unreachable(error) }
    }
}

/// Resolves names by the system and leaves out what is not public.
struct PublicOnly;

#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NoPublicAddress;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_inside_are_refused_in_every_spelling() {
        let outbound = Outbound::new(false, Duration::from_secs(1));
        for bad in [
            "http://example.com/keys",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://example.com/#a",
            "https://",
            "keys",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
        ] {
            assert!(outbound.address(bad).is_err(), "{bad}");
        }
        for good in ["https://example.com/keys?v=1", "https://1.1.1.1/", "https://[2606:4700::1111]:8443/"] {
            assert!(outbound.address(good).is_ok(), "{good}");
        }
        let lenient = Outbound::new(true, Duration::from_secs(1));
        assert!(lenient.address("http://127.0.0.1:9/keys").is_ok() && lenient.address("ftp://a/").is_err());
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_is_resolved_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let outbound = Outbound::new(false, Duration::from_secs(5));
        for host in ["localhost", "localhost."] {
            let got = outbound.get(&format!("https://{host}:{port}/"), "*/*", 10).await;
            assert!(matches!(got, Err(OutboundError::Unreachable(_))), "{got:?}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
        assert!(nobody.is_err(), "nothing may have been connected to");
    }
}
