//! The answer that carries a file, cut into pieces in every way, and by hands other than ours.

use ruma::{
    api::{
        IncomingResponse, OutgoingResponse,
        federation::authenticated_media::{Content, ContentMetadata, FileOrLocation, get_content::v1::Response},
    },
    http_headers::ContentDispositionType,
};

use super::*;

const KIND: &str = "multipart/mixed; boundary=abc";

fn read(kind: &str, answer: &[u8], piece_bytes: usize) -> Result<(Option<Head>, Vec<u8>, bool), Malformed> {
    let mut reader = Reader::new(kind)?;
    let mut content = Vec::new();
    for piece in answer.chunks(piece_bytes) {
        content.extend_from_slice(&reader.push(piece)?);
    }
    Ok((reader.head().cloned(), content, reader.is_ended()))
}

fn named(name: &str) -> ContentDisposition {
    ContentDisposition::new(ContentDispositionType::Inline).with_filename(Some(name.to_owned()))
}

#[test]
fn what_we_write_is_read_however_it_is_cut() {
    // Content full of what nearly ends it.
    let content = b"\r\n--\r\n--abc\r\r\n\r\n--ab\r\n--0123\n".repeat(20);
    let hash: BlobHash = Sha256::digest(&content).into();
    let frame = Frame::new(&hash, "image/png", &named("käse \"1\".png"));
    let answer = [&frame.head[..], &content, &frame.tail].concat();
    for piece_bytes in (1..100).chain([answer.len()]) {
        let (head, read, ended) = read(&frame.content_type, &answer, piece_bytes).unwrap();
        let head = head.unwrap();
        assert!(ended);
        assert_eq!((head.len, read.as_slice()), (frame.head.len() as u64, content.as_slice()));
        assert_eq!((head.hash, head.content_type.as_str()), (Some(hash), "image/png"));
        assert_eq!(head.filename.as_deref(), Some("käse \"1\".png"));
    }
    let reader = Reader::new(&frame.content_type).unwrap();
    assert_eq!(reader.tail_len(), frame.tail.len() as u64);
    // The same file makes the same answer, another name another one.
    assert_eq!(Frame::new(&hash, "image/png", &named("käse \"1\".png")).hash(), frame.hash());
    assert_ne!(Frame::new(&hash, "image/png", &named("other.png")).hash(), frame.hash());
}

#[test]
fn ruma_reads_ours_and_we_read_rumas() {
    let content = "some plain text\r\n".as_bytes();
    let hash: BlobHash = Sha256::digest(content).into();
    let frame = Frame::new(&hash, "text/plain", &named("a.txt"));
    let answer = [&frame.head[..], content, &frame.tail].concat();
    let response = http::Response::builder().header("content-type", &frame.content_type).body(answer).unwrap();
    let FileOrLocation::File(file) = Response::try_from_http_response(response).unwrap().content else {
        panic!("a file")
    };
    assert_eq!((file.file.as_slice(), file.content_type.as_deref()), (content, Some("text/plain")));
    assert_eq!(file.content_disposition.unwrap().filename.as_deref(), Some("a.txt"));

    let file = Content::new(content.to_vec(), "text/plain".into(), named("b.txt"));
    let theirs = Response::new(ContentMetadata::new(), FileOrLocation::File(file));
    let theirs: http::Response<Vec<u8>> = theirs.try_into_http_response().unwrap();
    let kind = theirs.headers()["content-type"].to_str().unwrap();
    for piece_bytes in 1..60 {
        let (head, read, ended) = read(kind, theirs.body(), piece_bytes).unwrap();
        let head = head.unwrap();
        assert!(ended);
        assert_eq!((read.as_slice(), head.hash, head.filename.as_deref()), (content, None, Some("b.txt")));
    }
    let elsewhere = Response::new(ContentMetadata::new(), FileOrLocation::Location("https://x.y/z".into()));
    let elsewhere: http::Response<Vec<u8>> = elsewhere.try_into_http_response().unwrap();
    let kind = elsewhere.headers()["content-type"].to_str().unwrap();
    assert_eq!(read(kind, elsewhere.body(), 1000).unwrap_err(), Malformed::Elsewhere);
}

#[test]
fn parts_may_lack_headers_and_have_odd_ones() {
    let bare = b"preamble\r\n--abc\r\n\r\n{}\r\n--abc\r\n\r\nhello\r\n--abc--\r\nepilogue";
    let (head, content, ended) = read("Multipart/Mixed; charset=x; Boundary=\"abc\"", bare, 3).unwrap();
    assert_eq!((content.as_slice(), ended), (&b"hello"[..], true));
    let head = head.unwrap();
    assert_eq!((head.content_type.as_str(), head.filename, head.hash), ("application/octet-stream", None, None));
    let odd = format!(
        "--abc\r\n\r\n{{}}\r\n--abc\r\nX: y\r\nCONTENT-TYPE:  a/b \r\nContent-Disposition: attachment; filename={}\r\n\
         Content-Digest: md5=:AA==:, sha-256=:short:\r\n\r\n\r\n--abc--",
        "n".repeat(MEDIA_FILENAME_BYTES_MAX + 1)
    );
    let (head, content, ended) = read(KIND, odd.as_bytes(), 7).unwrap();
    let head = head.unwrap();
    assert_eq!((content.as_slice(), ended), (&b""[..], true));
    assert_eq!((head.content_type.as_str(), head.filename, head.hash), ("a/b", None, None));
}

#[test]
fn nonsense_is_refused_and_what_stops_is_not_ended() {
    for kind in
        ["", "multipart/mixed", "text/plain; boundary=abc", "multipart/mixed; boundary=", "multipart/mixed; x=y"]
    {
        assert_eq!(read(kind, b"", 1).unwrap_err(), Malformed::NoMultipart, "{kind}");
    }
    let long = vec![b'x'; MEDIA_HEAD_BYTES_MAX + 1];
    assert_eq!(read(KIND, &long, 100).unwrap_err(), Malformed::LongHead);
    let header = b"--abc\r\n\r\n{}\r\n--abc\r\nno header\r\n\r\n";
    assert_eq!(read(KIND, header, 100).unwrap_err(), Malformed::Header);
    let (_, content, ended) = read(KIND, b"--abc\r\n\r\n{}\r\n--abc\r\n\r\nhello, wor", 5).unwrap();
    assert!(!ended && b"hello, wor".starts_with(&content));
    let one_part = read(KIND, b"--abc\r\n\r\n{}\r\n--abc--", 5).unwrap();
    assert_eq!(one_part, (None, Vec::new(), false));
}
