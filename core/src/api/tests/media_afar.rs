//! Files of other phones: fetched once, kept, gone on with, and not believed when they lie.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, StatusCode, header};
use ruma::{OwnedServerName, ServerName, api::federation::authentication::XMatrix, serde::Base64, signatures::KeyPair};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tower::ServiceExt;

use super::media::{download, upload};
use crate::{
    api::testing::{Person, Phone},
    home::Registration,
    media::MediaConfig,
    store::StoreConfig,
    types::LocalServer,
};

const KIND: &str = "multipart/mixed; boundary=abc";

fn large() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n % 253) as u8).collect()
}

/// Ben, who is near Ana and asks for her files; and one of them.
async fn pair(media: &MediaConfig) -> (Phone, Person, Phone, Person, String) {
    let ana = Phone::new(1);
    let ben = Phone::open(2, Registration::Open, &StoreConfig::memory(), media);
    ben.meets(&ana);
    let (anas, bens) = (ana.person("ana").await, ben.person("ben").await);
    let mxc = upload(&ana, &anas, "?filename=film.mp4", "video/mp4", &large()).await;
    (ana, anas, ben, bens, mxc)
}

async fn refused(phone: &Phone, person: &Person, what: &str, status: u16, code: &str) {
    let uri = format!("/_matrix/client/v1/media/download/{what}");
    phone.call(Method::GET, &uri, Some(&person.token), None).await.is_error(status, code);
}

#[tokio::test]
async fn ten_who_ask_at_once_cause_one_fetch_and_later_ones_none() {
    let (ana, _, ben, bens, mxc) = pair(&MediaConfig::memory()).await;
    let all = (0..10).map(|_| download(&ben, &bens, &mxc));
    for (status, headers, body) in futures::future::join_all(all).await {
        assert_eq!((status, body.len()), (StatusCode::OK, 1_000_000));
        assert_eq!((&headers["content-type"], body), (&"video/mp4".parse().unwrap(), Bytes::from(large())));
        assert_eq!(headers["content-disposition"], "inline; filename=film.mp4");
    }
    assert_eq!(ben.streams().asked.len(), 1);
    // Also when its server is gone.
    ben.leaves(&ana);
    assert_eq!(download(&ben, &bens, &mxc).await.2, large());
    assert_eq!(ben.streams().asked.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_had_says_why() {
    let (ana, anas, ben, bens, mxc) = pair(&MediaConfig::memory()).await;
    refused(&ben, &bens, &format!("{}/unknown", ana.home.server_name()), 404, "M_NOT_FOUND").await;
    let created =
        ana.call(Method::POST, "/_matrix/media/v1/create", Some(&anas.token), Some(serde_json::json!({}))).await;
    let created = created.ok()["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap().to_owned();
    refused(&ben, &bens, &format!("{created}?timeout_ms=0"), 504, "M_NOT_YET_UPLOADED").await;
    ben.leaves(&ana);
    refused(&ben, &bens, &mxc, 504, "M_NOT_YET_UPLOADED").await;
    // Nothing of it is held against the server when it is back.
    ben.meets(&ana);
    assert_eq!(download(&ben, &bens, &mxc).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_broke_off() {
    let (_ana, _, ben, bens, mxc) = pair(&MediaConfig::memory()).await;
    ben.streams().break_after = Some(700_000);
    refused(&ben, &bens, &mxc, 504, "M_NOT_YET_UPLOADED").await;
    assert_eq!(ben.home.repository.blobs.count(), (0, 1));
    // It breaks off once more, further on.
    ben.streams().break_after = Some(100_000);
    refused(&ben, &bens, &mxc, 504, "M_NOT_YET_UPLOADED").await;
    ben.streams().break_after = None;
    assert_eq!(download(&ben, &bens, &mxc).await.2, large());
    assert_eq!(ben.home.repository.blobs.count(), (1, 0));
    let starts: Vec<Option<u64>> = ben
        .streams()
        .asked
        .iter()
        .map(|(_, range)| {
            range
                .as_ref()
                .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
        })
        .collect();
    assert!(
        matches!(starts[..], [None, Some(first), Some(second)] if first > 699_000 && second == first + 100_000),
        "{starts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_work_to_the_next() {
    let (_ana, _, ben, bens, mxc) = pair(&MediaConfig::memory()).await;
    ben.streams().stall_after = Some(600_000);
    let first = download(&ben, &bens, &mxc);
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        download(&ben, &bens, &mxc).await
    };
    let first = timeout(Duration::from_secs(10), first);
    let mend = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        ben.streams().stall_after = None;
    };
    let (first, (_, _, body), ()) = futures::join!(first, second, mend);
    assert!(first.is_err(), "it waited for what does not come");
    assert_eq!(body, large());
    let asked = ben.streams().asked.clone();
    assert!(matches!(&asked[..], [(_, None), (_, Some(range))] if range.len() > "bytes=500000".len()), "{asked:?}");
}

#[tokio::test]
async fn the_least_recently_used_goes_and_own_files_stay() {
    let media = MediaConfig { cache_bytes_max: 50_000, ..MediaConfig::memory() };
    let (ana, anas, ben, bens, large) = pair(&media).await;
    // What is larger than all that is kept is not even begun.
    refused(&ben, &bens, &large, 502, "M_TOO_LARGE").await;
    let own = upload(&ben, &bens, "", "", &[b'o'; 40_000]).await;
    let mut files = Vec::new();
    for n in 0..5_u8 {
        files.push(upload(&ana, &anas, "", "", &[n; 10_000]).await);
    }
    for file in &files {
        assert_eq!(download(&ben, &bens, file).await.0, StatusCode::OK);
    }
    assert_eq!(ben.home.repository.blobs.count(), (6, 0));
    let more = upload(&ana, &anas, "", "", &[9; 10_000]).await;
    assert_eq!(download(&ben, &bens, &more).await.0, StatusCode::OK);
    assert_eq!(ben.home.repository.blobs.count(), (6, 0), "the file of what went is gone");
    let before = ben.streams().asked.len();
    for file in files.iter().skip(1).chain([&more, &own]) {
        assert_eq!(download(&ben, &bens, file).await.0, StatusCode::OK);
    }
    assert_eq!(ben.streams().asked.len(), before, "all others are here");
    download(&ben, &bens, &files[0]).await;
    assert_eq!(ben.streams().asked.len(), before + 1, "the first had gone");
}

#[tokio::test]
async fn what_is_used_stays() {
    let media = MediaConfig { cache_bytes_max: 200 * 4_096, ..MediaConfig::memory() };
    let (ana, anas, ben, bens, _) = pair(&media).await;
    let favourite = upload(&ana, &anas, "", "", b"favourite").await;
    download(&ben, &bens, &favourite).await;
    for n in 0..400_u32 {
        let file = upload(&ana, &anas, "", "", &n.to_le_bytes()).await;
        assert_eq!(download(&ben, &bens, &file).await.0, StatusCode::OK);
        if n % 50 == 0 {
            download(&ben, &bens, &favourite).await;
        }
    }
    assert_eq!(ben.home.repository.blobs.count().0, 200);
    let asked = ben.streams().asked.len();
    assert_eq!(download(&ben, &bens, &favourite).await.2, "favourite");
    assert_eq!(ben.streams().asked.len(), asked);
}

/// A server that answers every download with what `answer` makes.
fn stranger<F>(answer: F) -> (OwnedServerName, Router)
where
    F: Fn(HeaderMap) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let name = LocalServer::new(&[77; 32]).name;
    let path = "/_matrix/federation/v1/media/download/{id}";
    (name, Router::new().route(path, get(move |headers: HeaderMap| std::future::ready(answer(headers)))))
}

fn multipart(body: impl Into<Body>) -> Response<Body> {
    Response::builder().header(header::CONTENT_TYPE, KIND).body(body.into()).unwrap()
}

const HEAD: &str = "--abc\r\n\r\n{}\r\n--abc\r\nContent-Type: text/plain\r\n";

/// What it begins, it never ends.
fn endless(start: String) -> Body {
    let piece = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1_000]));
    Body::from_stream(stream::iter([Ok(Bytes::from(start))]).chain(stream::repeat_with(piece)))
}

/// What a server may answer, and what becomes of it.
type Lie = (fn() -> Response<Body>, u16, &'static str);

const LIES: [Lie; 10] = [
    // Another hash than it says.
    (
        || {
            let hash = "A".repeat(43);
            multipart(format!("{HEAD}Content-Digest: sha-256=:{hash}=:\r\n\r\nhello\r\n--abc--"))
        },
        502,
        "M_UNKNOWN",
    ),
    // Too large, and says so: not a byte is taken.
    (
        || {
            let start = Ok::<_, std::io::Error>(Bytes::from(format!("{HEAD}\r\n")));
            let mut answer = multipart(Body::from_stream(stream::iter([start]).chain(stream::pending())));
            answer.headers_mut().insert(header::CONTENT_LENGTH, 1_000_000.into());
            answer
        },
        502,
        "M_TOO_LARGE",
    ),
    // Longer than it says, though its parts may be asked for.
    (
        || {
            let hash = "A".repeat(43);
            let mut answer =
                multipart(format!("{HEAD}Content-Digest: sha-256=:{hash}=:\r\n\r\n{}\r\n--abc--", "x".repeat(50_000)));
            answer.headers_mut().insert(header::CONTENT_LENGTH, 1_000.into());
            answer.headers_mut().insert(header::ETAG, "\"one\"".parse().unwrap());
            answer
        },
        502,
        "M_UNKNOWN",
    ),
    // Too large, and does not say so.
    (|| multipart(endless(format!("{HEAD}\r\n"))), 502, "M_TOO_LARGE"),
    // No file at all.
    (|| Response::new(Body::from("hello")), 502, "M_UNKNOWN"),
    (|| multipart(endless(String::new())), 502, "M_UNKNOWN"),
    (|| multipart("--abc\r\n\r\n{}\r\n--abc\r\nLocation: https://a.b\r\n\r\n\r\n--abc--"), 502, "M_UNKNOWN"),
    // A part where the whole was asked for.
    (
        || {
            let mut part = multipart(format!("{HEAD}\r\nhello\r\n--abc--"));
            *part.status_mut() = StatusCode::PARTIAL_CONTENT;
            part
        },
        502,
        "M_UNKNOWN",
    ),
    // A clean end in the middle.
    (|| multipart(format!("{HEAD}\r\nhello")), 504, "M_NOT_YET_UPLOADED"),
    // An error that has no end.
    (
        || {
            let mut error = multipart(endless(String::new()));
            *error.status_mut() = StatusCode::NOT_FOUND;
            error
        },
        502,
        "M_UNKNOWN",
    ),
];

#[tokio::test]
async fn answers_that_lie_are_not_kept() {
    let media = MediaConfig { bytes_max: 100_000, ..MediaConfig::memory() };
    let ben = Phone::open(2, Registration::Open, &StoreConfig::memory(), &media);
    let bens = ben.person("ben").await;
    for (lie, status, code) in LIES {
        let (name, router) = stranger(move |_| lie());
        ben.meets_stranger(&name, router);
        refused(&ben, &bens, &format!("{name}/lie"), status, code).await;
        assert_eq!(ben.home.repository.blobs.count(), (0, 0), "{status} {code}");
    }
    // The same server may come to its senses.
    let (name, router) = stranger(|_| multipart(format!("{HEAD}\r\nthe truth\r\n--abc--")));
    ben.meets_stranger(&name, router);
    let (status, headers, body) = download(&ben, &bens, &format!("{name}/lie")).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"the truth"[..]));
    assert_eq!(headers["content-type"], "text/plain");
}

#[tokio::test]
async fn a_server_that_gives_no_parts_is_asked_for_the_whole() {
    let ben = Phone::new(2);
    let bens = ben.person("ben").await;
    let content = large();
    let hash = BASE64_STANDARD.encode(Sha256::digest(&content));
    // It never answers with a part, as most servers do not; or says that there is no such part.
    for refuses in [false, true] {
        let (body, hash) = (content.clone(), hash.clone());
        let (name, router) = stranger(move |headers| {
            if refuses && headers.contains_key(header::RANGE) {
                return Response::builder().status(416).body(Body::empty()).unwrap();
            }
            let head = format!("{HEAD}Content-Digest: sha-256=:{hash}:\r\n\r\n");
            let body = [head.as_bytes(), &body, b"\r\n--abc--"].concat();
            let pieces: Vec<_> =
                body.chunks(50_000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
            Response::builder()
                .header(header::CONTENT_TYPE, KIND)
                .header(header::CONTENT_LENGTH, body.len())
                .header(header::ETAG, "\"one\"")
                .body(Body::from_stream(stream::iter(pieces)))
                .unwrap()
        });
        ben.meets_stranger(&name, router);
        let mxc = format!("{name}/{refuses}");
        ben.streams().break_after = Some(700_000);
        refused(&ben, &bens, &mxc, 504, "M_NOT_YET_UPLOADED").await;
        ben.streams().break_after = None;
        assert_eq!(download(&ben, &bens, &mxc).await.2, content);
        let (blobs, parts) = ben.home.repository.blobs.count();
        assert_eq!((blobs, parts), (1, 0), "one content, and no part is left");
    }
}

/// A request of Ben's server for one of Ana's.
fn signed(from: &LocalServer, to: &ServerName, uri: &str) -> Request<Body> {
    let request = Request::get(uri).body(Vec::new()).unwrap();
    let object = XMatrix::request_object(&request, &from.name, to).unwrap();
    let signature = from.sign(&serde_json::to_vec(&object).unwrap());
    let key = from.key_id().try_into().unwrap();
    let header = XMatrix::new(from.name.clone(), to.to_owned(), key, Base64::new(signature.as_bytes().to_vec()));
    Request::get(uri).header(header::AUTHORIZATION, header.to_string()).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn other_servers_get_files_of_this_one_alone_and_say_who_they_are() {
    let (ana, _, ben, bens, mxc) = pair(&MediaConfig::memory()).await;
    download(&ben, &bens, &mxc).await;
    let id = mxc.rsplit('/').next().unwrap();
    let carol = LocalServer::new(&[3; 32]);
    let path = format!("/_matrix/federation/v1/media/download/{id}");
    let unsigned = Request::get(&path).body(Body::empty()).unwrap();
    ana.federate(unsigned).await.is_error(401, "M_UNAUTHORIZED");
    // Ben has it too, but it is not his to give.
    ben.federate(signed(&carol, ben.home.server_name(), &path)).await.is_error(404, "M_NOT_FOUND");
    let answer = ana.server.clone().oneshot(signed(&carol, ana.home.server_name(), &path)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (head, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(head.headers["content-length"], whole.len().to_string());
    // A part of the answer is a part of the same answer.
    let mut part = signed(&carol, ana.home.server_name(), &path);
    part.headers_mut().insert(header::RANGE, "bytes=100-999999".parse().unwrap());
    part.headers_mut().insert(header::IF_RANGE, head.headers["etag"].clone());
    let answer = ana.server.clone().oneshot(part).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (206, &head.headers["content-type"]));
    assert_eq!(axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap(), whole.slice(100..1_000_000));
    let uri = "/_matrix/federation/v1/media/thumbnail/nothing?width=0&height=1";
    ana.federate(signed(&carol, ana.home.server_name(), uri)).await.is_error(400, "M_INVALID_PARAM");
}
