//! Answers of which a part may be asked for, so that a download that broke off goes on. RFC 9110, section 14.
//!
//! One range at a time: several would need a multipart answer, and a server may always answer with the whole.

use std::ops::Range;

use axum::{body::Body, response::IntoResponse};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Builder};
use ruma::api::error::ErrorKind;

use super::{
    ApiError,
    frame::{Call, Entry, RawCall},
};
use crate::store::{Blob, BlobStream};

/// A call, and the part of its answer that is asked for.
pub(crate) struct Ranged<C> {
    /// The call.
    pub(crate) call: C,
    /// The part.
    pub(crate) asked: AskedRange,
}

impl<C: Call> Call for Ranged<C> {
    type Endpoint = C::Endpoint;
    type Entry = C::Entry;

    fn of(proof: <C::Entry as Entry>::Proof, raw: RawCall) -> Result<Self, ApiError> {
        let asked = AskedRange::of(raw.headers());
        Ok(Self { call: C::of(proof, raw)?, asked })
    }
}

/// The part of an answer that a request asks for.
#[derive(Debug, Default)]
pub(crate) struct AskedRange {
    range: Option<String>,
    if_range: Option<String>,
}

/// The part of an answer that is given.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Whole,
    Part(Range<u64>),
    Beyond,
}

impl AskedRange {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok().map(str::to_owned));
        Self { range: text(header::RANGE), if_range: text(header::IF_RANGE) }
    }

    fn cut(&self, len: u64, etag: &str) -> Cut {
        let is_same = self.if_range.as_deref().is_none_or(|wanted| wanted == etag);
        let ends = self.range.as_deref().filter(|_| is_same).and_then(ends);
        let range = match ends {
            None => return Cut::Whole,
            Some((Some(first), last)) => first..last.map_or(len, |last| len.min(last.saturating_add(1))),
            Some((None, Some(last))) => len.saturating_sub(last)..len,
            Some((None, None)) => return Cut::Whole,
        };
        if range.is_empty() { Cut::Beyond } else { Cut::Part(range) }
    }
}

/// The two numbers of `bytes=first-last`. `None` for what is not that, which a server ignores.
fn ends(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || first.is_empty() && last.is_empty() {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let (first, last) = (number(first)?, number(last)?);
    // A range that ends before it begins is none.
    if let (Some(first), Some(last)) = (first, last)
        && last < first
    {
        return None;
    }
    Some((first, last))
}

/// Finishes an answer that is `before`, a blob and `after`, or the part of it that is asked for.
///
/// # Errors
/// When a header is none.
pub(crate) fn answer(
    builder: Builder,
    asked: &AskedRange,
    etag: &str,
    (before, blob, after): (bytes::Bytes, Blob, bytes::Bytes),
) -> Result<Response<Body>, ApiError> {
    let content = before.len() as u64..before.len() as u64 + blob.len();
    let len = content.end + after.len() as u64;
    let builder = builder.header(header::ACCEPT_RANGES, "bytes").header(header::ETAG, etag);
    let (builder, part) = match asked.cut(len, etag) {
        Cut::Whole => (builder.status(StatusCode::OK), 0..len),
        Cut::Part(part) => {
            let range = format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1));
            (builder.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range), part)
        }
        Cut::Beyond => return Ok(beyond(len)),
    };
    // The part of each piece that lies in the part that is asked for, counted from the piece's start.
    let within = |piece: &Range<u64>| {
        let inside = |at: u64| at.clamp(piece.start, piece.end) - piece.start;
        inside(part.start)..inside(part.end)
    };
    let slice = |bytes: &bytes::Bytes, range: Range<u64>| bytes.slice(range.start as usize..range.end as usize);
    let first = slice(&before, within(&(0..content.start)));
    let last = slice(&after, within(&(content.end..len)));
    let middle: BlobStream = blob.stream(within(&content));
    let body = stream::iter([Ok(first)]).chain(middle).chain(stream::iter([Ok(last)]));
    let body = body.try_filter(|piece| std::future::ready(!piece.is_empty()));
    let answer = builder.header(header::CONTENT_LENGTH, part.end - part.start).body(Body::from_stream(body));
    answer.map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal("the answer could not be written")
    })
}

fn beyond(len: u64) -> Response<Body> {
    let message = format!("the range lies beyond the end, which is at {len}");
    let mut answer = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorKind::Unknown, message).into_response();
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{len}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, if_range: Option<&str>, expected: Cut) {
        let asked = AskedRange { range: Some(range.to_owned()), if_range: if_range.map(str::to_owned) };
        assert_eq!(asked.cut(100, "\"tag\""), expected, "{range}");
    }

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        check("bytes=0-0", None, Cut::Part(0..1));
        check("bytes=10-19", None, Cut::Part(10..20));
        check("bytes=10-", None, Cut::Part(10..100));
        check("Bytes = 10-1000", None, Cut::Part(10..100));
        check("bytes=0-18446744073709551615", None, Cut::Part(0..100));
        check("bytes=-10", None, Cut::Part(90..100));
        check("bytes=-1000", None, Cut::Part(0..100));
        check("bytes=100-", None, Cut::Beyond);
        check("bytes=-0", None, Cut::Beyond);
        for ignored in ["bytes=5-4", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes", "", "bytes=--1"] {
            check(ignored, None, Cut::Whole);
        }
    }

    #[test]
    fn a_part_of_another_version_is_the_whole_of_this_one() {
        check("bytes=10-", Some("\"tag\""), Cut::Part(10..100));
        check("bytes=10-", Some("\"other\""), Cut::Whole);
        check("bytes=10-", Some("Wed, 21 Oct 2015 07:28:00 GMT"), Cut::Whole);
        assert_eq!(AskedRange::default().cut(100, "\"tag\""), Cut::Whole);
    }
}
