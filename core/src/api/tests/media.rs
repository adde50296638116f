//! The content repository of one phone, as its clients see it.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::json;

use crate::{
    api::testing::{Person, Phone},
    home::Registration,
    media::MediaConfig,
    store::{MediaRecord, Record, StoreConfig, StoreError, UserKey},
    types::limits::{MEDIA_FILENAME_BYTES_MAX, MEDIA_PENDING_MAX, MEDIA_USER_BYTES_MAX},
};

const UPLOAD: &str = "/_matrix/media/v3/upload";

pub(super) fn request(method: Method, uri: &str, person: Option<&Person>, body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(person) = person {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", person.token));
    }
    request.body(body).unwrap()
}

/// Uploads and answers `server/id`.
pub(super) async fn upload(phone: &Phone, person: &Person, query: &str, kind: &str, content: &[u8]) -> String {
    let body = Body::from(content.to_vec());
    let mut request = request(Method::POST, &format!("{UPLOAD}{query}"), Some(person), body);
    if !kind.is_empty() {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    }
    let answer = phone.send(request).await.ok();
    answer["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap().to_owned()
}

pub(super) async fn download(phone: &Phone, person: &Person, what: &str) -> (StatusCode, HeaderMap, Bytes) {
    let uri = format!("/_matrix/client/v1/media/download/{what}");
    phone.fetch(request(Method::GET, &uri, Some(person), Body::empty())).await
}

async fn refused(phone: &Phone, person: &Person, what: &str, status: u16, code: &str) {
    let uri = format!("/_matrix/client/v1/media/download/{what}");
    phone.call(Method::GET, &uri, Some(&person.token), None).await.is_error(status, code);
}

#[tokio::test]
async fn what_is_uploaded_is_downloaded_and_shown_safely() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let mxc = upload(&phone, &ana, "?filename=cat.png", "image/png", b"meow").await;
    assert!(mxc.starts_with(&format!("{}/", phone.home.server_name())));
    let (status, headers, body) = download(&phone, &ana, &mxc).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"meow"[..]));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "4"),
        ("content-disposition", "inline; filename=cat.png"),
        (
            "content-security-policy",
            "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; \
             object-src 'self';",
        ),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    // The path's name stands in for the uploader's.
    let (_, headers, _) = download(&phone, &ana, &format!("{mxc}/k%C3%A4se.png")).await;
    assert_eq!(headers["content-disposition"], "inline; filename*=utf-8''k%C3%A4se.png");
    // An empty file is one too.
    let empty = upload(&phone, &ana, "", "", b"").await;
    let (status, headers, body) = download(&phone, &ana, &empty).await;
    assert_eq!((status, body.len(), &headers["content-length"]), (StatusCode::OK, 0, &"0".parse().unwrap()));
}

#[tokio::test]
async fn only_harmless_types_are_shown_in_place() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    for (kind, said, disposition) in [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "inline"),
        ("Image/PNG", "Image/PNG", "inline"),
        ("text/html", "text/html", "attachment"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("text/plainish", "text/plainish", "attachment"),
        ("", "application/octet-stream", "attachment"),
    ] {
        let mxc = upload(&phone, &ana, "", kind, b"<script>").await;
        let (_, headers, _) = download(&phone, &ana, &mxc).await;
        assert_eq!(
            (&headers["content-type"], &headers["content-disposition"]),
            (&said.parse().unwrap(), &disposition.parse().unwrap())
        );
    }
    let long = format!("{UPLOAD}?filename={}", "x".repeat(MEDIA_FILENAME_BYTES_MAX + 1));
    phone.send(request(Method::POST, &long, Some(&ana), Body::from("x"))).await.is_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let mxc = upload(&phone, &ana, "", "", &content).await;
    let (_, whole, _) = download(&phone, &ana, &mxc).await;
    let get = async |range: &str, if_range: &str| {
        let mut request =
            request(Method::GET, &format!("/_matrix/client/v1/media/download/{mxc}"), Some(&ana), Body::empty());
        request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        request.headers_mut().insert(header::IF_RANGE, if_range.parse().unwrap());
        phone.fetch(request).await
    };
    let etag = whole["etag"].to_str().unwrap();
    let (status, headers, body) = get("bytes=150000-", etag).await;
    assert_eq!((status.as_u16(), &body[..]), (206, &content[150_000..]));
    assert_eq!(headers["content-range"], "bytes 150000-199999/200000");
    assert_eq!((&headers["content-length"], &headers["etag"]), (&"50000".parse().unwrap(), &whole["etag"]));
    let (status, _, body) = get("bytes=5-9", etag).await;
    assert_eq!((status.as_u16(), &body[..]), (206, &content[5..10]));
    // Of another version there is only the whole.
    let (status, _, body) = get("bytes=5-9", "\"other\"").await;
    assert_eq!((status.as_u16(), body.len()), (200, content.len()));
    let (status, headers, body) = get("bytes=200000-", etag).await;
    assert_eq!((status.as_u16(), &headers["content-range"]), (416, &"bytes */200000".parse().unwrap()));
    assert!(body.starts_with(b"{\"errcode\""));
    let head = request(Method::HEAD, &format!("/_matrix/client/v1/media/download/{mxc}"), Some(&ana), Body::empty());
    let (status, headers, body) = phone.fetch(head).await;
    assert_eq!((status.as_u16(), &headers["content-length"], body.len()), (200, &"200000".parse().unwrap(), 0));
}

#[tokio::test]
async fn nothing_is_read_or_given_without_a_token() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let mxc = upload(&phone, &ana, "", "", b"secret").await;
    let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let id = mxc.rsplit('/').next().unwrap();
    let fill = format!("{UPLOAD}/{mxc}");
    for (method, uri) in [
        (Method::POST, UPLOAD),
        (Method::PUT, &*fill),
        (Method::POST, "/_matrix/media/v1/create"),
        (Method::GET, &*format!("/_matrix/client/v1/media/download/{mxc}")),
        (Method::GET, &*format!("/_matrix/client/v1/media/thumbnail/{mxc}?width=1&height=1")),
        (Method::GET, "/_matrix/client/v1/media/config"),
        (Method::GET, "/_matrix/media/v3/config"),
        (Method::GET, "/_matrix/client/v1/media/preview_url?url=https://matrix.org"),
    ] {
        phone.send(request(method, uri, None, never())).await.is_error(401, "M_MISSING_TOKEN");
    }
    // The old endpoints know no token, so they know no file.
    for path in
        [format!("download/{mxc}"), format!("download/{mxc}/x.png"), format!("thumbnail/{mxc}?width=1&height=1")]
    {
        for version in ["r0", "v3"] {
            let uri = format!("/_matrix/media/{version}/{path}");
            phone.call(Method::GET, &uri, Some(&ana.token), None).await.is_error(404, "M_NOT_FOUND");
        }
    }
    assert_eq!(download(&phone, &ana, &format!("{}/{id}", phone.home.server_name())).await.2, "secret");
}

#[tokio::test]
async fn uploads_that_are_too_large_leave_nothing() {
    let media = MediaConfig { bytes_max: 100_000, ..MediaConfig::memory() };
    let phone = Phone::open(1, Registration::Open, &StoreConfig::memory(), &media);
    let ana = phone.person("ana").await;
    // Announced: refused before a byte is read.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut announced = request(Method::POST, UPLOAD, Some(&ana), never);
    announced.headers_mut().insert(header::CONTENT_LENGTH, 100_001.into());
    phone.send(announced).await.is_error(413, "M_TOO_LARGE");
    // Not announced: read as far as it is allowed.
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 30_000])));
    phone
        .send(request(Method::POST, UPLOAD, Some(&ana), Body::from_stream(endless)))
        .await
        .is_error(413, "M_TOO_LARGE");
    // Shorter than announced: half a file is none.
    let mut short = request(Method::POST, UPLOAD, Some(&ana), Body::from("half"));
    short.headers_mut().insert(header::CONTENT_LENGTH, 8.into());
    phone.send(short).await.is_error(400, "M_UNKNOWN");
    assert_eq!(phone.home.repository.blobs.count(), (0, 0));
    // The limit itself is allowed, and told.
    upload(&phone, &ana, "", "", &vec![b'x'; 100_000]).await;
    for path in ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"] {
        let config = phone.call(Method::GET, path, Some(&ana.token), None).await.ok();
        assert_eq!(config, json!({ "m.upload.size": 100_000 }));
    }
}

#[tokio::test]
async fn one_user_uploads_only_so_much() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    upload(&phone, &ana, "", "", b"first").await;
    let user = ana.user.clone();
    let nearly_full = move |tx: &mut crate::store::WriteTx<'_>| {
        let user = UserKey::find(tx, &user)?.unwrap();
        assert_eq!(tx.write().media_sum.insert(user.0, MEDIA_USER_BYTES_MAX - 5_000)?.unwrap().value(), 4_096);
        Ok::<_, StoreError>(())
    };
    phone.home.store.write(nearly_full).await.unwrap();
    upload(&phone, &ana, "", "", b"a small file counts a block").await;
    phone.send(request(Method::POST, UPLOAD, Some(&ana), Body::from("x"))).await.is_error(403, "M_FORBIDDEN");
    upload(&phone, &ben, "", "", b"others may").await;
}

#[tokio::test]
async fn what_has_no_name_is_not_found() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let us = phone.home.server_name().to_owned();
    let long = "x".repeat(300);
    for id in ["unknown", "..%2F..%2Fkey", "a%00b", "a.b", &long] {
        refused(&phone, &ana, &format!("{us}/{id}"), 404, "M_NOT_FOUND").await;
    }
    refused(&phone, &ana, "no%20server/id", 400, "M_INVALID_PARAM").await;
    // Two files with one content are one blob and two names.
    let (one, two) = (upload(&phone, &ana, "", "a/b", b"twin").await, upload(&phone, &ana, "", "c/d", b"twin").await);
    assert_ne!(one, two);
    assert_eq!(phone.home.repository.blobs.count(), (1, 0));
    assert_eq!(download(&phone, &ana, &two).await.1["content-type"], "c/d");
}

async fn created(phone: &Phone, person: &Person) -> String {
    let answer = phone.call(Method::POST, "/_matrix/media/v1/create", Some(&person.token), Some(json!({}))).await.ok();
    assert_eq!(answer["unused_expires_at"], phone.home.now().0 + 24 * 3_600_000);
    answer["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap().to_owned()
}

#[tokio::test]
async fn a_name_may_come_before_its_file() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let mxc = created(&phone, &ana).await;
    let put = async |mxc: &str, person: &Person, body: &'static str| {
        let mut request =
            request(Method::PUT, &format!("{UPLOAD}/{mxc}?filename=a.txt"), Some(person), Body::from(body));
        request.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        phone.send(request).await
    };
    refused(&phone, &ben, &format!("{mxc}?timeout_ms=0"), 504, "M_NOT_YET_UPLOADED").await;
    put(&mxc, &ben, "mine now").await.is_error(403, "M_FORBIDDEN");
    put(&format!("{}/unknown", phone.home.server_name()), &ana, "x").await.is_error(404, "M_NOT_FOUND");
    put("example.org/abc", &ana, "x").await.is_error(404, "M_NOT_FOUND");
    // Whoever waits for it gets it when it comes.
    let wait = async { download(&phone, &ben, &mxc).await };
    let fill = async {
        tokio::task::yield_now().await;
        put(&mxc, &ana, "here it is").await.ok()
    };
    let ((status, headers, body), filled) = futures::join!(wait, fill);
    assert_eq!((status, &body[..], filled), (StatusCode::OK, &b"here it is"[..], json!({})));
    assert_eq!(headers["content-disposition"], "inline; filename=a.txt");
    put(&mxc, &ana, "something else").await.is_error(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(download(&phone, &ana, &mxc).await.2, "here it is");
}

#[tokio::test]
async fn names_without_files_are_few_and_expire() {
    let phone = Phone::new(1);
    let (ana, ben) = (phone.person("ana").await, phone.person("ben").await);
    let mut names = Vec::new();
    for _ in 0..MEDIA_PENDING_MAX {
        names.push(created(&phone, &ana).await);
    }
    let one_more = phone.call(Method::POST, "/_matrix/media/v1/create", Some(&ana.token), Some(json!({}))).await;
    one_more.is_error(429, "M_LIMIT_EXCEEDED");
    created(&phone, &ben).await;
    // A day later.
    let expire = |tx: &mut crate::store::WriteTx<'_>| {
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let rows: Vec<_> = crate::store::View::media(tx)?
            .between(all.0, all.1)?
            .map(|row| row.map(|(key, row)| (*key.value(), MediaRecord::decode(row.value()).unwrap())))
            .collect::<Result<_, _>>()?;
        let tables = tx.write();
        for (key, mut record) in rows {
            record.expires = Some(1);
            tables.media.insert(&key, record.encode()?.as_slice())?;
            tables.media_due.insert((record.uploader.unwrap().0, &key), 1)?;
        }
        Ok::<_, StoreError>(())
    };
    phone.home.store.write(expire).await.unwrap();
    refused(&phone, &ana, &names[0], 404, "M_NOT_FOUND").await;
    let late = request(Method::PUT, &format!("{UPLOAD}/{}", names[0]), Some(&ana), Body::from("late"));
    phone.send(late).await.is_error(404, "M_NOT_FOUND");
    let fresh = created(&phone, &ana).await;
    refused(&phone, &ana, &format!("{fresh}?timeout_ms=0"), 504, "M_NOT_YET_UPLOADED").await;
}

#[tokio::test]
async fn previews_are_empty_and_need_a_url() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    for path in ["/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url"] {
        let uri = format!("{path}?url=https%3A%2F%2Fmatrix.org");
        assert_eq!(phone.call(Method::GET, &uri, Some(&ana.token), None).await.ok(), json!({}));
        phone.call(Method::GET, path, Some(&ana.token), None).await.is_error(400, "M_INVALID_PARAM");
    }
}
