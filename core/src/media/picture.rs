//! Decoding, scaling, encoding: all that touches pixels. It takes memory and time, so it runs as heavy work.
//!
//! A picture is a program for a decoder, written by a stranger. Its size is read before its pixels, what decoders may allocate
//! is bounded, and one that breaks its decoder makes no thumbnail. The decoder of JPEG keeps no such bound; what it takes, at
//! most nine bytes for a pixel and the file, follows from the size.

use std::io::{BufRead, Cursor, Seek, SeekFrom};

use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::{gif::GifDecoder, jpeg::JpegEncoder, png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};

use super::thumbnail::Variant;
use crate::types::limits::{THUMBNAIL_ALLOC_BYTES_MAX, THUMBNAIL_SOURCE_PIXELS_MAX};

/// Of 100. Thumbnails are looked at small.
const JPEG_QUALITY: u8 = 80;

/// What became of a picture.
#[derive(Debug)]
pub(super) enum Made {
    /// It serves as it is.
    Original { content_type: &'static str },
    /// A smaller one.
    Smaller { content_type: &'static str, bytes: Vec<u8> },
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub(super) enum PictureError {
    #[error("it is no GIF, JPEG, PNG or WebP")]
    Unknown,
    #[error("it has too many pixels")]
    TooLarge,
    #[error("it does not decode: {0}")]
    Broken(ImageError),
}

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            other => Self::Broken(other),
        }
    }
}

impl From<std::io::Error> for PictureError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// Makes a picture smaller.
pub(super) fn make(mut input: impl BufRead + Seek, variant: &Variant) -> Result<Made, PictureError> {
    let (format, content_type) = format(&mut input)?;
    let mut decoder = decoder(&mut input, format)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > THUMBNAIL_SOURCE_PIXELS_MAX {
        return Err(PictureError::TooLarge);
    }
    let orientation = decoder.orientation()?;
    drop(decoder);
    // Sizes are those of the picture as it is looked at; a camera that was held upright writes it lying.
    let (width, height) = if is_turned(orientation) { (height, width) } else { (width, height) };
    let target = variant.target(width, height);
    let moves = is_animated(&mut input, format)?;
    if target.is_none() && (variant.animated || !moves) {
        return Ok(Made::Original { content_type });
    }
    let mut picture = DynamicImage::from_decoder(self::decoder(&mut input, format)?)?;
    if let Some(target) = target {
        let (w, h) = target.scale;
        let (w, h) = if is_turned(orientation) { (h, w) } else { (w, h) };
        picture = picture.thumbnail_exact(w, h);
        picture.apply_orientation(orientation);
        let (w, h) = target.cut;
        picture = picture.crop_imm((picture.width() - w) / 2, (picture.height() - h) / 2, w, h);
    } else {
        picture.apply_orientation(orientation);
    }
    encode(picture)
}

/// What a picture measures as it is looked at, and a smaller one of it unless it is small.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) content_type: &'static str,
    pub(crate) thumbnail: Option<Thumbnail>,
}

/// A picture that was made smaller.
#[derive(Debug)]
pub(crate) struct Thumbnail {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Looks at a picture. `None` when it is none that can be read here; without thumbnail when it is too large to be decoded.
pub(crate) fn look(mut input: impl BufRead + Seek) -> Option<Look> {
    let (format, content_type) = format(&mut input).ok()?;
    let mut decoder = decoder(&mut input, format).ok()?;
    let (width, height) = decoder.dimensions();
    let is_turned = decoder.orientation().is_ok_and(is_turned);
    drop(decoder);
    input.rewind().ok()?;
    let (width, height) = if is_turned { (height, width) } else { (width, height) };
    let thumbnail = match make(input, &Variant::LARGEST) {
        Ok(Made::Smaller { content_type, bytes }) => Variant::LARGEST.target(width, height).map(|target| {
            let (width, height) = target.cut;
            Thumbnail { width, height, content_type, bytes }
        }),
        _ => None,
    };
    Some(Look { width, height, content_type, thumbnail })
}

fn format(input: &mut (impl BufRead + Seek)) -> Result<(ImageFormat, &'static str), PictureError> {
    let format = ImageReader::new(&mut *input).with_guessed_format()?.format();
    let format = format
        .filter(|format| matches!(format, ImageFormat::Gif | ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP));
    let format = format.ok_or(PictureError::Unknown)?;
    Ok((format, format.to_mime_type()))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(THUMBNAIL_ALLOC_BYTES_MAX);
    limits
}

/// A decoder of the picture, from its start.
fn decoder(input: &mut (impl BufRead + Seek), format: ImageFormat) -> Result<impl ImageDecoder, PictureError> {
    input.seek(SeekFrom::Start(0))?;
    let mut reader = ImageReader::with_format(input, format);
    reader.limits(limits());
    Ok(reader.into_decoder()?)
}

/// Whether a picture moves. Its size was checked.
fn is_animated(input: &mut (impl BufRead + Seek), format: ImageFormat) -> Result<bool, PictureError> {
    input.seek(SeekFrom::Start(0))?;
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(input)?;
            decoder.set_limits(limits())?;
            let mut frames = decoder.into_frames();
            frames.next().transpose()?;
            frames.next().is_some()
        }
        ImageFormat::Png => PngDecoder::with_limits(input, limits())?.is_apng()?,
        ImageFormat::WebP => WebPDecoder::new(input)?.has_animation(),
        _ => false,
    })
}

/// Whether a picture is looked at on its side.
fn is_turned(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

fn encode(picture: DynamicImage) -> Result<Made, PictureError> {
    let mut bytes = Vec::new();
    // JPEG knows no alpha.
    let content_type = if picture.color().has_alpha() {
        DynamicImage::from(picture.into_rgba8()).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        "image/png"
    } else {
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&picture.into_rgb8())?;
        "image/jpeg"
    };
    Ok(Made::Smaller { content_type, bytes })
}
