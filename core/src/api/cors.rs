//! Cross-origin headers for browsers, as client-server API, "Web Browser Clients" lists them.
//!
//! Client API only: no browser speaks federation. Written by hand, because it is three constant headers.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// Answers preflight requests and marks every other answer as readable from any origin.
pub(super) async fn allow_all_origins(request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        // A preflight asks about a path without touching it, and carries no token.
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => next.run(request).await,
    };
    add_headers(response.headers_mut());
    response
}

fn add_headers(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization"),
    );
}
