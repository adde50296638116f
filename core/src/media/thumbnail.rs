//! Pictures made smaller, once for each of a few sizes. Client-server API, "Thumbnails".
//!
//! A request is answered with the smallest size of the list that is not smaller than what is asked for; the specification
//! allows more than was asked for and never less. So one picture has at most a few thumbnails, whoever asks how often for
//! what. They are made one at a time and kept among what can be had again. Of a file of another server that is not here, its
//! server is asked for the thumbnail, because it may be a thousandth of the file.

use std::{fmt, time::Duration};

use ruma::MxcUri;

use super::{
    Address, MediaError, Opened, fetch, held, keep, open_at,
    picture::{self, Made, PictureError},
    rows,
};
use crate::{
    home::Home,
    types::limits::{MEDIA_WAIT_MAX, THUMBNAIL_SOURCE_BYTES_MAX},
};

/// Sides of squares that are cut out. The specification lists 32 and 96; avatars on large screens ask for more.
const CROPS: [u32; 5] = [32, 96, 320, 640, 800];
/// Boxes that pictures are made to fit into: the specification's own.
const SCALES: [(u32, u32); 3] = [(320, 240), (640, 480), (800, 600)];

/// What a thumbnail may be.
const PICTURES: [&str; 5] = ["image/jpeg", "image/png", "image/apng", "image/gif", "image/webp"];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThumbnailSize {
    /// At least this wide.
    pub width: u32,
    /// At least this high.
    pub height: u32,
    /// Cut to the shape that is asked for, instead of made to fit into it.
    pub crop: bool,
    /// It may move.
    pub animated: bool,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    shape: Shape,
    /// It may move.
    pub(super) animated: bool,
}

/// How a thumbnail is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A square out of the middle.
    Square(u32),
    /// Within a box.
    Within(u32, u32),
    /// As large as it is.
    Full,
}

impl Variant {
    /// What a picture is sent with: the largest thumbnail, if the picture is larger than that.
    pub(super) const LARGEST: Self = Self { shape: Shape::Within(800, 600), animated: false };

    fn of(size: &ThumbnailSize) -> Self {
        let larger = size.width.max(size.height);
        let square = CROPS.into_iter().find(|side| size.crop && *side >= larger).map(Shape::Square);
        let fits = |(width, height): &(u32, u32)| *width >= size.width && *height >= size.height;
        let within = SCALES.into_iter().find(|boxed| !size.crop && fits(boxed));
        let shape = square.or(within.map(|(width, height)| Shape::Within(width, height))).unwrap_or(Shape::Full);
        Self { shape, animated: size.animated }
    }

    /// What to ask another server for. `None` where only the picture itself will do.
    fn asked(&self) -> Option<ThumbnailSize> {
        let (width, height, crop) = match self.shape {
            Shape::Square(side) => (side, side, true),
            Shape::Within(width, height) => (width, height, false),
            Shape::Full => return None,
        };
        Some(ThumbnailSize { width, height, crop, animated: self.animated })
    }

    /// What a picture becomes. `None` when it stays as it is: it is never made larger.
    pub(super) fn target(&self, width: u32, height: u32) -> Option<Target> {
        let scaled = |factor: f64| {
            let side = |pixels: u32| ((f64::from(pixels) * factor).round() as u32).max(1);
            (side(width), side(height))
        };
        match self.shape {
            Shape::Full => None,
            Shape::Within(w, h) => {
                let factor = f64::min(f64::from(w) / f64::from(width), f64::from(h) / f64::from(height));
                let scale = scaled(factor);
                (factor < 1.0).then_some(Target { scale, cut: scale })
            }
            Shape::Square(side) if width <= side && height <= side => None,
            Shape::Square(side) => {
                let short = width.min(height);
                let side = side.min(short);
                let (w, h) = scaled(f64::from(side) / f64::from(short));
                Some(Target { scale: (w.max(side), h.max(side)), cut: (side, side) })
            }
        }
    }
}

/// What becomes of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Scaled to this width and height,
    pub(super) scale: (u32, u32),
    /// and this much cut out of the middle.
    pub(super) cut: (u32, u32),
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Square(side) => write!(f, "square-{side}")?,
            Shape::Within(width, height) => write!(f, "within-{width}x{height}")?,
            Shape::Full => write!(f, "full")?,
        }
        if self.animated { write!(f, "-animated") } else { Ok(()) }
    }
}

/// A smaller picture of a file.
///
/// # Errors
/// [`MediaError::NoThumbnail`] for what is no picture that can be read here, [`MediaError::ThumbnailTooLarge`] for one that
/// would take too much memory, and as [`super::open`].
pub async fn thumbnail(home: &Home, uri: &MxcUri, size: &ThumbnailSize, wait: Duration) -> Result<Opened, MediaError> {
    thumbnail_at(home, &Address::of(uri)?, size, wait).await
}

/// As [`thumbnail`], for an address.
///
/// # Errors
/// As [`thumbnail`].
pub(crate) async fn thumbnail_at(
    home: &Home,
    address: &Address,
    size: &ThumbnailSize,
    wait: Duration,
) -> Result<Opened, MediaError> {
    let wait = wait.min(MEDIA_WAIT_MAX);
    let variant = Variant::of(size);
    let key = address.thumbnail_key(&variant);
    if let Some(opened) = held(home, &key).await? {
        return Ok(opened);
    }
    let is_here = rows::find(&home.store.snapshot()?, &address.key())?.is_some();
    match variant.asked().filter(|_| !is_here && !home.is_local(&address.server)) {
        Some(asked) => fetch::fetch(home, address, &fetch::Wish::Thumbnail(variant, asked), wait, &mut |_| {}).await?,
        None => make(home, address, &variant, wait).await?,
    }
    held(home, &key).await?.ok_or(MediaError::NotFound)
}

/// Makes a thumbnail of a file that is here, unless somebody just did.
async fn make(home: &Home, address: &Address, variant: &Variant, wait: Duration) -> Result<(), MediaError> {
    let key = address.thumbnail_key(variant);
    let flight = home.repository.flight(&key);
    let _turn = flight.turn.lock().await;
    if rows::find(&home.store.snapshot()?, &key)?.is_some() {
        return Ok(());
    }
    let original = open_at(home, address, wait).await?;
    if original.len > THUMBNAIL_SOURCE_BYTES_MAX {
        return Err(MediaError::ThumbnailTooLarge);
    }
    let (hash, len, variant) = (original.meta.hash, original.len, *variant);
    let work = move || picture::make(original.blob.into_reader(), &variant);
    let made = home.heavily(work).await.map_err(|error| MediaError::NoThumbnail(error.to_string()))?;
    let (finished, record) = match made? {
        // A row more for a file that is here.
        Made::Original { content_type } => (None, rows::cached(home, hash, len, content_type.to_owned(), None)),
        Made::Smaller { content_type, bytes } => {
            let mut draft = home.repository.blobs.draft().await?;
            draft.write(&bytes).await?;
            let finished = draft.finish().await?;
            let record = rows::cached(home, finished.hash, finished.len, content_type.to_owned(), None);
            (Some(finished), record)
        }
    };
    let bytes_max = home.repository.cache_bytes_max;
    keep::keep(home, finished, move |tx| Ok(rows::put_cached(tx, &key, record.clone(), bytes_max)?)).await
}

/// Whether a content type is one that a thumbnail may have.
pub(super) fn is_picture(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    PICTURES.iter().any(|picture| kind.eq_ignore_ascii_case(picture))
}

impl From<PictureError> for MediaError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::TooLarge => Self::ThumbnailTooLarge,
            other => Self::NoThumbnail(other.to_string()),
        }
    }
}
