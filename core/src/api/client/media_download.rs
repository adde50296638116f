//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`, `.../download/{serverName}/{mediaId}/{fileName}` and
//! `.../thumbnail/{serverName}/{mediaId}`. Client-server API, "Content repository".
//!
//! Files are served as they were said to be, and so that a browser does nothing with them but show them: a sandboxed policy,
//! no guessing of types, and inline only for types that run nothing.
//!
//! The endpoints without a token, `/_matrix/media/*/download` and `/thumbnail`, find nothing: the specification freezes them,
//! and no file here is older than that.

use std::sync::Arc;

use axum::{Router, body::Body, extract::State, response::Response, routing::get};
use bytes::Bytes;
use http::{StatusCode, header};
use ruma::{
    UInt,
    api::client::{
        authenticated_media::{
            get_content::v1 as get_content, get_content_as_filename::v1 as get_content_as_filename,
            get_content_thumbnail::v1 as get_content_thumbnail,
        },
        media::is_safe_inline_content_type,
    },
    api::error::ErrorKind,
    http_headers::{ContentDisposition, ContentDispositionType},
    media::Method,
};

use crate::{
    api::{
        ApiError,
        frame::{Authed, route_streamed},
        ranges::{self, AskedRange, Ranged},
    },
    home::Home,
    media::{self, Address, MediaError, Meta, Opened, ThumbnailSize},
    store::BlobHash,
    types::limits::MEDIA_FILENAME_BYTES_MAX,
};

/// What a browser may do with a file: nothing. Client-server API, "Content repository", recommends it.
const POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
                      style-src 'unsafe-inline'; object-src 'self';";

/// A file never changes, and what one user may read is no business of a shared cache.
const CACHING: &str = "private, max-age=31536000, immutable";

/// This group's endpoints.
pub(super) fn routes(router: Router<Arc<Home>>) -> Router<Arc<Home>> {
    let router = route_streamed(router, download);
    let router = route_streamed(router, download_as);
    let mut router = route_streamed(router, thumbnail);
    for version in ["r0", "v3"] {
        for path in ["download/{p1}/{p2}", "download/{p1}/{p2}/{p3}", "thumbnail/{p1}/{p2}"] {
            router = router.route(&format!("/_matrix/media/{version}/{path}"), get(frozen));
        }
    }
    router
}

async fn download(
    State(home): State<Arc<Home>>,
    Ranged { call, asked }: Ranged<Authed<get_content::Request>>,
) -> Result<Response, ApiError> {
    let get_content::Request { server_name, media_id, timeout_ms, .. } = call.request;
    let opened = media::open_at(&home, &Address::new(&server_name, &media_id)?, timeout_ms).await?;
    let disposition = disposition(&opened.meta, opened.meta.filename.clone());
    serve(opened, disposition, &asked)
}

async fn download_as(
    State(home): State<Arc<Home>>,
    Ranged { call, asked }: Ranged<Authed<get_content_as_filename::Request>>,
) -> Result<Response, ApiError> {
    let get_content_as_filename::Request { server_name, media_id, filename, timeout_ms, .. } = call.request;
    if filename.len() > MEDIA_FILENAME_BYTES_MAX {
        return Err(MediaError::LongName.into());
    }
    let opened = media::open_at(&home, &Address::new(&server_name, &media_id)?, timeout_ms).await?;
    let disposition = disposition(&opened.meta, Some(filename));
    serve(opened, disposition, &asked)
}

async fn thumbnail(
    State(home): State<Arc<Home>>,
    Ranged { call, asked }: Ranged<Authed<get_content_thumbnail::Request>>,
) -> Result<Response, ApiError> {
    let get_content_thumbnail::Request { server_name, media_id, method, width, height, timeout_ms, animated, .. } =
        call.request;
    let size = size(width, height, method.as_ref(), animated)?;
    let address = Address::new(&server_name, &media_id)?;
    let made = media::thumbnail_at(&home, &address, &size, timeout_ms).await;
    let opened = made.map_err(|error| match error {
        // The specification's code for a picture of another server.
        MediaError::ThumbnailTooLarge if !home.is_local(&server_name) => {
            ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::TooLarge, error.to_string())
        }
        error => error.into(),
    })?;
    let disposition = thumbnail_disposition(&opened.meta);
    serve(opened, disposition, &asked)
}

/// The size that a request asks for.
///
/// # Errors
/// `M_INVALID_PARAM` for a size that no picture has, and for a method that does not exist.
pub(in crate::api) fn size(
    width: UInt,
    height: UInt,
    method: Option<&Method>,
    animated: Option<bool>,
) -> Result<ThumbnailSize, ApiError> {
    let side = |side: UInt| u32::try_from(u64::from(side)).ok().filter(|side| *side > 0);
    let (Some(width), Some(height)) = (side(width), side(height)) else {
        return Err(ApiError::invalid_param("no picture has this width and height"));
    };
    let crop = match method {
        None | Some(Method::Scale) => false,
        Some(Method::Crop) => true,
        Some(other) => return Err(ApiError::invalid_param(format!("`{other}` is neither `crop` nor `scale`"))),
    };
    Ok(ThumbnailSize { width, height, crop, animated: animated.unwrap_or(false) })
}

/// How a file is shown: inline if its type runs nothing in a browser. Client-server API, "Serving inline content".
pub(in crate::api) fn disposition(meta: &Meta, filename: Option<String>) -> ContentDisposition {
    let kind = meta.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let shown = if is_safe_inline_content_type(&kind) {
        ContentDispositionType::Inline
    } else {
        ContentDispositionType::Attachment
    };
    ContentDisposition::new(shown).with_filename(filename)
}

/// How a thumbnail is shown: inline, under a name of ours.
pub(in crate::api) fn thumbnail_disposition(meta: &Meta) -> ContentDisposition {
    let kind = meta.content_type.split(';').next().unwrap_or_default().trim();
    let extension = kind.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    ContentDisposition::new(ContentDispositionType::Inline).with_filename(Some(format!("thumbnail.{extension}")))
}

/// The name of an answer's bytes, by their hash, for those who come back for the rest of them.
pub(in crate::api) fn etag(hash: &BlobHash) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn serve(opened: Opened, disposition: ContentDisposition, asked: &AskedRange) -> Result<Response<Body>, ApiError> {
    let etag = etag(&opened.meta.hash);
    let builder = Response::builder()
        .header(header::CONTENT_TYPE, opened.meta.content_type)
        .header(header::CONTENT_DISPOSITION, disposition.to_string())
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header("Cross-Origin-Resource-Policy", "cross-origin")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, CACHING);
    ranges::answer(builder, asked, &etag, (Bytes::new(), opened.blob, Bytes::new()))
}

async fn frozen() -> ApiError {
    ApiError::not_found("media are served to those who say who they are: use /_matrix/client/v1/media")
}
