//! `POST /_matrix/media/v3/upload`, `POST /_matrix/media/v1/create`, `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`,
//! `GET /_matrix/client/v1/media/config` and `.../preview_url`. Client-server API, "Content repository".
//!
//! An upload is refused before a byte of it is read, as far as that can be known: by its length, its address, and what the
//! user uploaded before. Then it goes to the disk as it comes.
//!
//! Previews of URLs are always empty, which the specification allows: a phone in a mesh must not tell the internet what its
//! user is about to read. An error instead would say that this homeserver lacks the endpoint, and clients ask again.

use std::{io, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::header;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::{
        authenticated_media::{get_media_config::v1 as get_media_config, get_media_preview::v1 as get_media_preview},
        media::{
            create_content::v3 as create_content, create_content_async::v3 as create_content_async,
            create_mxc_uri::v1 as create_mxc_uri,
        },
    },
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, Upload, route, route_at, route_streamed},
    },
    home::Home,
    media::{self, Address, MediaError, NewMedia},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route(router, upload);
    let router = route(router, create);
    let router = route_streamed(router, fill);
    let router = route(router, config);
    let mut router = route(router, preview);
    // Deprecated, and the same.
    for version in ["r0", "v3"] {
        router = route_at(router, &format!("/_matrix/media/{version}/config"), config);
        router = route_at(router, &format!("/_matrix/media/{version}/preview_url"), preview);
    }
    router
}

async fn upload(
    State(home): State<Arc<Home>>,
    call: Upload<create_content::Request>,
) -> Result<create_content::Response, ApiError> {
    media::upload_allowed(&home, call.user_key, None, call.announced)?;
    let create_content::Request { filename, content_type, .. } = call.request;
    let source = counted(call.body, call.announced);
    let uri = media::store_file(&home, &call.user, source, NewMedia { content_type, filename }, |_| {}).await?;
    Ok(create_content::Response::new(uri))
}

async fn create(
    State(home): State<Arc<Home>>,
    call: Authed<create_mxc_uri::Request>,
) -> Result<create_mxc_uri::Response, ApiError> {
    let (uri, expires) = media::create(&home, call.user_key).await?;
    let mut response = create_mxc_uri::Response::new(uri);
    response.unused_expires_at = UInt::new(expires.0).map(MilliSecondsSinceUnixEpoch);
    Ok(response)
}

async fn fill(
    State(home): State<Arc<Home>>,
    call: Upload<create_content_async::Request>,
) -> Result<Response, ApiError> {
    let create_content_async::Request { server_name, media_id, filename, content_type, .. } = call.request;
    if !home.is_local(&server_name) {
        return Err(MediaError::NotFound.into());
    }
    let address = Address::new(&server_name, &media_id)?;
    media::upload_allowed(&home, call.user_key, Some(&address), call.announced)?;
    let source = counted(call.body, call.announced);
    media::fill(&home, call.user_key, &address, source, NewMedia { content_type, filename }).await?;
    // ruma's response cannot be made outside of ruma.
    Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response())
}

async fn config(
    State(home): State<Arc<Home>>,
    _: Authed<get_media_config::Request>,
) -> Result<get_media_config::Response, ApiError> {
    Ok(get_media_config::Response::new(UInt::new_saturating(media::bytes_max(&home))))
}

async fn preview(
    _: State<Arc<Home>>,
    _: Authed<get_media_preview::Request>,
) -> Result<get_media_preview::Response, ApiError> {
    Ok(get_media_preview::Response::from_raw_value(empty_object()?))
}

fn empty_object() -> Result<Box<serde_json::value::RawValue>, ApiError> {
    serde_json::value::RawValue::from_string("{}".to_owned()).map_err(|error| ApiError::internal(error.to_string()))
}

/// A body as a stream, which fails when it is shorter than was announced: half a picture is none.
fn counted(body: Body, announced: Option<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let pieces = Box::pin(body.into_data_stream().map_err(io::Error::other));
    futures::stream::try_unfold((pieces, 0), move |(mut pieces, read)| async move {
        match pieces.try_next().await? {
            Some(piece) => {
                let read = read + piece.len() as u64;
                Ok(Some((piece, (pieces, read))))
            }
            None if announced.is_some_and(|announced| announced != read) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than its Content-Length"))
            }
            None => Ok(None),
        }
    })
}
