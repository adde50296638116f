//! Pictures made smaller: of every format, of every shape, and not of bombs.

use std::io::Cursor;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use image::{
    Delay, DynamicImage, Frame, GenericImageView, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder,
};

use super::media::{download, request, upload};
use crate::api::testing::{Person, Phone};

fn photo(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, 100])).into()
}

fn drawing(width: u32, height: u32) -> DynamicImage {
    RgbaImage::from_fn(width, height, |x, _| Rgba([200, 30, 30, (x % 256) as u8])).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn moving(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for shade in [10, 200] {
        let frame = RgbaImage::from_pixel(width, height, Rgba([shade, 0, 0, 255]));
        encoder.encode_frame(Frame::from_parts(frame, 0, 0, Delay::from_numer_denom_ms(100, 1))).unwrap();
    }
    drop(encoder);
    bytes
}

async fn thumbnail(phone: &Phone, person: &Person, mxc: &str, query: &str) -> (StatusCode, HeaderMap, Bytes) {
    let uri = format!("/_matrix/client/v1/media/thumbnail/{mxc}?{query}");
    phone.fetch(request(Method::GET, &uri, Some(person), Body::empty())).await
}

async fn refused(phone: &Phone, person: &Person, mxc: &str, query: &str, status: u16, code: &str) {
    let uri = format!("/_matrix/client/v1/media/thumbnail/{mxc}?{query}");
    phone.call(Method::GET, &uri, Some(&person.token), None).await.is_error(status, code);
}

/// Fails unless the thumbnail is of this type and size.
async fn check(phone: &Phone, person: &Person, mxc: &str, query: &str, kind: &str, size: (u32, u32)) {
    let (status, headers, body) = thumbnail(phone, person, mxc, query).await;
    assert_eq!((status.as_u16(), headers["content-type"].to_str().unwrap()), (200, kind), "{query} {body:?}");
    let shown = format!("inline; filename=thumbnail.{}", kind.strip_prefix("image/").unwrap());
    assert_eq!(headers["content-disposition"].to_str().unwrap(), shown);
    assert_eq!(image::load_from_memory(&body).unwrap().dimensions(), size, "{query}");
}

#[tokio::test]
async fn every_format_is_made_smaller() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    for (format, picture, kind) in [
        (ImageFormat::Jpeg, photo(1_000, 500), "image/jpeg"),
        (ImageFormat::Png, photo(1_000, 500), "image/jpeg"),
        (ImageFormat::Png, drawing(1_000, 500), "image/png"),
        (ImageFormat::WebP, photo(1_000, 500), "image/jpeg"),
        (ImageFormat::WebP, drawing(1_000, 500), "image/png"),
        (ImageFormat::Gif, drawing(1_000, 500), "image/png"),
    ] {
        // What the uploader says of its type is no matter.
        let mxc = upload(&phone, &ana, "", "text/html", &encoded(&picture, format)).await;
        check(&phone, &ana, &mxc, "width=200&height=200&method=scale", kind, (320, 160)).await;
        check(&phone, &ana, &mxc, "width=90&height=50&method=crop", kind, (96, 96)).await;
    }
}

#[tokio::test]
async fn a_thumbnail_is_no_smaller_than_asked_and_no_larger_than_the_picture() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let original = encoded(&photo(1_000, 600), ImageFormat::Jpeg);
    let mxc = upload(&phone, &ana, "", "image/jpeg", &original).await;
    for (query, size) in [
        ("width=32&height=32&method=crop", (32, 32)),
        ("width=33&height=1&method=crop", (96, 96)),
        ("width=300&height=300&method=crop", (320, 320)),
        // As much of a square as there is.
        ("width=800&height=800&method=crop", (600, 600)),
        ("width=1&height=1", (320, 192)),
        ("width=320&height=240&method=scale", (320, 192)),
        ("width=321&height=240&method=scale", (640, 384)),
        ("width=800&height=600&method=scale", (800, 480)),
    ] {
        check(&phone, &ana, &mxc, query, "image/jpeg", size).await;
    }
    // Larger than all of them, and a picture that is small already: the original.
    let (_, _, body) = thumbnail(&phone, &ana, &mxc, "width=801&height=600").await;
    assert_eq!(body, original);
    let small = encoded(&drawing(20, 10), ImageFormat::WebP);
    let mxc = upload(&phone, &ana, "", "", &small).await;
    for query in ["width=32&height=32&method=crop", "width=100&height=100"] {
        let (status, headers, body) = thumbnail(&phone, &ana, &mxc, query).await;
        assert_eq!(
            (status.as_u16(), &headers["content-type"], &body[..]),
            (200, &"image/webp".parse().unwrap(), &small[..])
        );
    }
    for bad in
        ["width=0&height=5", "width=5&height=-1", "width=a&height=5", "width=5", "width=5&height=5&method=stretch"]
    {
        refused(&phone, &ana, &mxc, bad, 400, "M_INVALID_PARAM").await;
    }
}

#[tokio::test]
async fn what_moves_stands_still_unless_it_may_move() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let small = moving(50, 40);
    let mxc = upload(&phone, &ana, "", "image/gif", &small).await;
    for query in ["width=100&height=100", "width=100&height=100&animated=false", "width=9000&height=9000"] {
        check(&phone, &ana, &mxc, query, "image/png", (50, 40)).await;
    }
    let (_, headers, body) = thumbnail(&phone, &ana, &mxc, "width=100&height=100&animated=true").await;
    assert_eq!((&headers["content-type"], &body[..]), (&"image/gif".parse().unwrap(), &small[..]));
}

#[tokio::test]
async fn a_picture_that_was_taken_upright_stands_upright() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let jpeg = encoded(&photo(1_000, 500), ImageFormat::Jpeg);
    // An EXIF segment with orientation 6: to be turned by 90 degrees.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&b"\xff\xe1"[..], &(tiff.len() as u16 + 8).to_be_bytes(), b"Exif\0\0", tiff].concat();
    let turned = [&jpeg[..2], &segment, &jpeg[2..]].concat();
    let mxc = upload(&phone, &ana, "", "image/jpeg", &turned).await;
    check(&phone, &ana, &mxc, "width=300&height=200", "image/jpeg", (120, 240)).await;
    check(&phone, &ana, &mxc, "width=30&height=30&method=crop", "image/jpeg", (32, 32)).await;
}

/// A PNG that claims to be of this size and holds nothing.
fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    };
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [&kind[..], data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", b"x\x9c\x03\0\0\0\0\x01"),
        chunk(b"IEND", b""),
    ]
    .concat()
}

#[tokio::test]
async fn bombs_and_what_is_no_picture_are_refused() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let mut jpeg = encoded(&photo(16, 16), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|marker| marker == b"\xff\xc0").unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let mut gif = encoded(&drawing(16, 16), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    for bomb in [png_bomb(60_000, 60_000), png_bomb(u32::MAX / 2, 1_000), jpeg, gif] {
        let mxc = upload(&phone, &ana, "", "image/png", &bomb).await;
        refused(&phone, &ana, &mxc, "width=32&height=32&method=crop", 413, "M_TOO_LARGE").await;
        refused(&phone, &ana, &mxc, "width=9000&height=9000", 413, "M_TOO_LARGE").await;
    }
    let mut cut = encoded(&photo(500, 500), ImageFormat::Png);
    cut.truncate(cut.len() / 2);
    for nonsense in [b"hello".to_vec(), Vec::new(), cut, b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()] {
        let mxc = upload(&phone, &ana, "", "image/png", &nonsense).await;
        refused(&phone, &ana, &mxc, "width=32&height=32&method=crop", 400, "M_UNKNOWN").await;
    }
    let unknown = format!("{}/unknown", phone.home.server_name());
    refused(&phone, &ana, &unknown, "width=32&height=32", 404, "M_NOT_FOUND").await;
}

#[tokio::test]
async fn a_thumbnail_is_made_once() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let mxc = upload(&phone, &ana, "", "image/png", &encoded(&photo(500, 500), ImageFormat::Png)).await;
    let query = "width=32&height=32&method=crop";
    let (_, _, first) = thumbnail(&phone, &ana, &mxc, query).await;
    // While others hold the memory that it would take, it is still there.
    let _held = phone.home.heavy.clone().acquire_owned().await.unwrap();
    assert_eq!(thumbnail(&phone, &ana, &mxc, query).await.2, first);
    let another = thumbnail(&phone, &ana, &mxc, "width=96&height=96&method=crop");
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), another).await.is_err(), "one at a time");
}

#[tokio::test]
async fn of_a_picture_afar_only_the_thumbnail_travels() {
    let (ana, ben) = (Phone::new(1), Phone::new(2));
    ben.meets(&ana);
    let (anas, bens) = (ana.person("ana").await, ben.person("ben").await);
    let picture = encoded(&photo(1_500, 1_000), ImageFormat::Png);
    let mxc = upload(&ana, &anas, "", "image/png", &picture).await;
    check(&ben, &bens, &mxc, "width=200&height=200", "image/jpeg", (320, 213)).await;
    check(&ben, &bens, &mxc, "width=240&height=200", "image/jpeg", (320, 213)).await;
    let asked: Vec<String> = ben.streams().asked.iter().map(|(path, _)| path.clone()).collect();
    let id = mxc.rsplit('/').next().unwrap();
    assert_eq!(asked, [format!("/_matrix/federation/v1/media/thumbnail/{id}")]);
    // When the picture is here, its thumbnails are made here.
    assert_eq!(download(&ben, &bens, &mxc).await.2, picture);
    check(&ben, &bens, &mxc, "width=32&height=32&method=crop", "image/jpeg", (32, 32)).await;
    assert_eq!(ben.streams().asked.len(), 2);
    // What the other server cannot make is not to be had.
    let bomb = upload(&ana, &anas, "", "image/png", &png_bomb(60_000, 60_000)).await;
    refused(&ben, &bens, &bomb, "width=32&height=32&method=crop", 502, "M_TOO_LARGE").await;
    let text = upload(&ana, &anas, "", "text/plain", b"hello").await;
    refused(&ben, &bens, &text, "width=32&height=32&method=crop", 502, "M_UNKNOWN").await;
    download(&ben, &bens, &bomb).await;
    refused(&ben, &bens, &bomb, "width=32&height=32&method=crop", 502, "M_TOO_LARGE").await;
}
