//! GraphiQL, a page to try GraphQL in. All its parts are in the binary: it needs nobody but this node.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::response::{Html, IntoResponse, Response};

use crate::app::App;
use crate::error::ApiError;

/// Where the parts are; `index.html` names them.
pub(super) const ASSETS_PATH: &str = "/graphql/assets/{file}";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing but this node's own files, and no script that is written into the page. The editor sets styles of elements,
/// and has its fonts and icons within its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// How long a browser keeps a part. A new version of Nuncio may bring others.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The parts of the page: name, media type, content.
const PARTS: [(&str, &str, &[u8]); 7] = [
    ("graphiql.min.css", STYLE, include_bytes!("../../assets/graphiql/graphiql.min.css")),
    ("graphiql.min.js", SCRIPT, include_bytes!("../../assets/graphiql/graphiql.min.js")),
    ("page.css", STYLE, include_bytes!("../../assets/graphiql/page.css")),
    ("page.js", SCRIPT, include_bytes!("../../assets/graphiql/page.js")),
    ("react.production.min.js", SCRIPT, include_bytes!("../../assets/graphiql/react.production.min.js")),
    (
        "react-dom.production.min.js",
        SCRIPT,
        include_bytes!("../../assets/graphiql/react-dom.production.min.js"),
    ),
    ("LICENSES.txt", TEXT, include_bytes!("../../assets/graphiql/LICENSES.txt")),
];

/// The page itself.
pub(super) fn page() -> Response {
    let policy = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (policy, Html(include_str!("../../assets/graphiql/index.html"))).into_response()
}

/// `GET /graphql/assets/{file}`
pub(super) async fn asset(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let part = PARTS.iter().find(|(name, ..)| app.settings.graphiql && *name == file);
    let (_, media_type, content) = part.ok_or_else(|| ApiError::not_found("file"))?;
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(media_type)), (CACHE_CONTROL, KEPT)];
    Ok((headers, *content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_parts_that_there_are_and_nothing_of_elsewhere() {
        let page = include_str!("../../assets/graphiql/index.html");
        let names: Vec<_> =
            page.split("graphql/assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(names.len(), 6);
        for name in names {
            assert!(PARTS.iter().any(|(part, ..)| *part == name), "{name}");
        }
        assert!(!page.contains("//"), "{page}");
    }
}
