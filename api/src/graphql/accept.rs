//! The forms of a response of GraphQL over HTTP, and which of them a client is willing to take.

use crate::accept::Accept;

/// The media type of GraphQL over HTTP; its answers to bad requests have the status 400.
const GRAPHQL_JSON: &str = "application/graphql-response+json";
/// The older one, whose answers have the status 200 wherever the request could be read.
const JSON: &str = "application/json";
/// A page for a browser.
const HTML: &str = "text/html";

/// The two media types of a response that is given at once and whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// `application/graphql-response+json`
    Graphql,
    /// `application/json`
    Plain,
}

impl Json {
    /// As `Content-Type` has it.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Graphql => "application/graphql-response+json; charset=utf-8",
            Self::Plain => "application/json; charset=utf-8",
        }
    }
}

impl Accept {
    /// The form of a response that is given at once; none where the client takes neither.
    ///
    /// Where it names both alike, it gets the newer; where it only says that it takes anything, the older, since that
    /// is what clients which know of no other read.
    pub(super) fn json(&self) -> Option<Json> {
        match (self.wants(GRAPHQL_JSON), self.wants(JSON)) {
            (Some(new), Some(old)) if new == old && !new.is_named() => Some(Json::Plain),
            (Some(new), Some(old)) => Some(if new >= old { Json::Graphql } else { Json::Plain }),
            (Some(_), None) => Some(Json::Graphql),
            (None, Some(_)) => Some(Json::Plain),
            (None, None) => None,
        }
    }

    /// Whether a browser asks for a page: it names that, and wants it more than what a program would read.
    pub(super) fn prefers_page(&self) -> bool {
        self.names(HTML) && self.wants(HTML) > self.wants(GRAPHQL_JSON).max(self.wants(JSON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::tests::accept;

    #[test]
    fn the_form_of_a_response_follows_weights_then_closeness() {
        use Json::{Graphql, Plain};
        for (values, form) in [
            (&[] as &[&str], Some(Plain)),
            (&[""], Some(Plain)),
            (&["*/*"], Some(Plain)),
            (&["application/*"], Some(Plain)),
            (&["application/json"], Some(Plain)),
            (&["APPLICATION/GraphQL-Response+JSON"], Some(Graphql)),
            (&["application/json, application/graphql-response+json"], Some(Graphql)),
            (&["application/json", "application/graphql-response+json"], Some(Graphql)),
            (&["application/graphql-response+json;q=0.4,application/json;q=0.5"], Some(Plain)),
            (&["application/graphql-response+json,application/json;q=0.9"], Some(Graphql)),
            (&["application/graphql-response+json;q=0, */*"], Some(Plain)),
            (&["application/json;q=0, */*;q=0.1"], Some(Graphql)),
            (&["application/json, */*;q=0.1"], Some(Plain)),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Some(Plain)),
            (&["text/plain"], None),
            (&["*/*;q=0"], None),
            (&["application/json;q=0"], None),
            (&["nonsense, application/json;q=2"], Some(Plain)),
            (&["multipart/mixed;boundary=\"a,b/c;q=0\";x=1, application/json"], Some(Plain)),
        ] {
            assert_eq!(accept(values).json(), form, "{values:?}");
        }
    }

    #[test]
    fn a_page_is_for_those_who_prefer_it() {
        for (value, page) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("text/html, */*", true),
            ("*/*", false),
            ("text/*", false),
            ("text/html;q=0.5, application/json", false),
            ("application/json, text/html", false),
            ("text/html;q=0", false),
        ] {
            assert_eq!(accept(&[value]).prefers_page(), page, "{value}");
        }
    }
}
