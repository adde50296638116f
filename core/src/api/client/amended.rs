//! Requests of which ruma's parser wants more than the specification does: completed before they are parsed.

use ruma::{
    api::{IncomingRequest, Metadata, error::FromHttpRequestError},
    exports::http,
};
use serde_json::{Map, Value};

/// A request that may need completing.
pub(super) trait Amend: IncomingRequest {
    /// Completes the query.
    fn amend_query(query: &str) -> String {
        query.to_owned()
    }

    /// Completes the body, if it is an object.
    fn amend_body(_body: &mut Map<String, Value>) {}
}

/// A request, completed.
#[derive(Debug)]
pub(super) struct Amended<T>(pub(super) T);

impl<T: Amend> Metadata for Amended<T> {
    const METHOD: http::Method = T::METHOD;
    const RATE_LIMITED: bool = T::RATE_LIMITED;
    type Authentication = T::Authentication;
    type PathBuilder = T::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = T::PATH_BUILDER;
}

impl<T: Amend> IncomingRequest for Amended<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request<B, S>(request: http::Request<B>, path_args: &[S]) -> Result<Self, FromHttpRequestError>
    where
        B: AsRef<[u8]>,
        S: AsRef<str>,
    {
        let (mut parts, body) = request.into_parts();
        let query = T::amend_query(parts.uri.query().unwrap_or_default());
        if let Ok(uri) = format!("{}?{query}", parts.uri.path()).parse() {
            parts.uri = uri;
        }
        let mut body = body.as_ref().to_vec();
        if let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(&body) {
            T::amend_body(&mut fields);
            body = serde_json::to_vec(&fields).unwrap_or(body);
        }
        T::try_from_http_request(http::Request::from_parts(parts, body), path_args).map(Self)
    }
}
