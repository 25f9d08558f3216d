//! Query strings.

use form_urlencoded::Parse;

/// The names and values of a query, decoded, in their order.
pub(crate) fn pairs(query: &str) -> Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}
