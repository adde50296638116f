//! `GET /_matrix/federation/v1/media/download/{mediaId}` and `.../thumbnail/{mediaId}`. Server-server API, "Content
//! repository".
//!
//! Only files of this server: others ask their own servers. The answer is the same bytes each time, tells the content's hash,
//! and its parts may be asked for, so that a transfer over a bad link goes on where it broke off.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};
use http::header;
use ruma::{
    api::federation::authenticated_media::{
        get_content::v1 as get_content, get_content_thumbnail::v1 as get_content_thumbnail,
    },
    http_headers::ContentDisposition,
};

use crate::{
    api::{
        ApiError,
        client::{disposition, etag, size, thumbnail_disposition},
        frame::{Signed, route_streamed},
        ranges::{self, AskedRange, Ranged},
    },
    home::Home,
    media::{self, Address, Frame, Opened},
};

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route_streamed(router, download);
    route_streamed(router, thumbnail)
}

async fn download(
    State(home): State<Arc<Home>>,
    Ranged { call, asked }: Ranged<Signed<get_content::Request>>,
) -> Result<Response, ApiError> {
    let get_content::Request { media_id, timeout_ms, .. } = call.request;
    let opened = media::open_at(&home, &Address::new(home.server_name(), &media_id)?, timeout_ms).await?;
    let disposition = disposition(&opened.meta, opened.meta.filename.clone());
    send(opened, &disposition, &asked)
}

async fn thumbnail(
    State(home): State<Arc<Home>>,
    Ranged { call, asked }: Ranged<Signed<get_content_thumbnail::Request>>,
) -> Result<Response, ApiError> {
    let get_content_thumbnail::Request { media_id, method, width, height, timeout_ms, animated, .. } = call.request;
    let size = size(width, height, method.as_ref(), animated)?;
    let address = Address::new(home.server_name(), &media_id)?;
    let opened = media::thumbnail_at(&home, &address, &size, timeout_ms).await?;
    let disposition = thumbnail_disposition(&opened.meta);
    send(opened, &disposition, &asked)
}

fn send(opened: Opened, disposition: &ContentDisposition, asked: &AskedRange) -> Result<Response, ApiError> {
    let frame = Frame::new(&opened.meta.hash, &opened.meta.content_type, disposition);
    // The frame holds what the file is called, so two files with one content have two answers.
    let etag = etag(&frame.hash());
    let builder = Response::builder().header(header::CONTENT_TYPE, &frame.content_type);
    ranges::answer(builder, asked, &etag, (frame.head, opened.blob, frame.tail))
}
