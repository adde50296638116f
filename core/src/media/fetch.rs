//! Files of other servers: fetched once, kept, and gone on with where a transfer broke off.
//!
//! Of ten who want a file one fetches it and nine wait; when the one gives up, the next goes on. The answer streams to the
//! disk. When the other server told the file's hash and a name for its answer (an ETag), what is here of a broken transfer is
//! kept, and the next asks for the rest by its place in that answer: the whole is believed by its hash. Without a hash a
//! transfer starts anew each time, and the file is believed as it comes, since its server alone says what it is.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ruma::{
    api::{
        error::ErrorKind,
        federation::authenticated_media::{get_content::v1 as get_content, get_content_thumbnail::v1 as get_thumbnail},
    },
    media::Method,
};
use tokio::time::timeout;

use super::{
    Address,
    address::MediaKey,
    keep,
    multipart::{Head, Reader},
    rows,
    thumbnail::{ThumbnailSize, Variant},
};
use crate::{
    home::{FetchError, Home, Progress},
    media::MediaError,
    outbox::{FederationError, stream},
    ports::BodyStream,
    store::{Draft, Finished, PartRecord},
    types::limits::{ETAG_BYTES_MAX, MEDIA_FETCH_GRACE, THUMBNAIL_BYTES_MAX},
};

/// What is wanted of a file.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// All of it.
    Whole,
    /// A smaller picture, for which its server is asked for this.
    Thumbnail(Variant, ThumbnailSize),
}

impl Wish {
    fn key(&self, address: &Address) -> MediaKey {
        match self {
            Self::Whole => address.key(),
            Self::Thumbnail(variant, _) => address.thumbnail_key(variant),
        }
    }
}

/// Fetches what is wanted unless it is here, or waits for whoever does.
///
/// # Errors
/// See [`FetchError`].
pub(super) async fn fetch(
    home: &Home,
    address: &Address,
    wish: &Wish,
    wait: Duration,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), FetchError> {
    let key = wish.key(address);
    let flight = home.repository.flight(&key);
    let (turn, mut seen) = (flight.turn.lock(), 0);
    tokio::pin!(turn);
    let mut failed = loop {
        tokio::select! {
            biased;
            turn = &mut turn => break turn,
            (told, count) = flight.progress_after(seen) => {
                progress(told);
                seen = count;
            }
        }
    };
    if rows::find(&home.store.snapshot()?, &key)?.is_some() {
        return Ok(());
    }
    if let Some(error) = &*failed {
        return Err(error.clone());
    }
    let told = &mut |now| {
        flight.tell(now);
        progress(now);
    };
    let fetched = transfer(home, address, wish, wait, told).await;
    *failed = fetched.as_ref().err().cloned();
    fetched
}

async fn transfer(
    home: &Home,
    address: &Address,
    wish: &Wish,
    wait: Duration,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), FetchError> {
    let closed = |_| FetchError::Unreachable("the homeserver is ending".into());
    let _turn = home.repository.fetches.acquire().await.map_err(closed)?;
    let key = wish.key(address);
    let mut begun = begun(home, &key).await?;
    let mut answer = ask(home, address, wish, wait, begun.as_ref()).await;
    if let Some((draft, part)) = &begun
        && !goes_on(&answer, part.head + draft.len())
    {
        abandon(home, &key).await?;
        begun = None;
        // An answer from its start is as good as any. One that is neither that nor what was asked for is asked for anew.
        if !answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK) {
            answer = ask(home, address, wish, wait, None).await;
        }
    }
    let (head, body) = answer.map_err(refusal)?.into_parts();
    let bytes_max = match wish {
        Wish::Whole => home.repository.bytes_max.min(home.repository.cache_bytes_max),
        Wish::Thumbnail(..) => THUMBNAIL_BYTES_MAX,
    };
    let arriving = Arriving { home, key, bytes_max, progress };
    let (finished, said) = match begun {
        Some((draft, part)) => arriving.rest(draft, part, body).await?,
        None if head.status == StatusCode::OK => arriving.whole(&head.headers, body).await?,
        None => return Err(FetchError::Refused(format!("the answer's status is {}", head.status))),
    };
    if let Wish::Thumbnail(..) = wish
        && !super::thumbnail::is_picture(&said.content_type)
    {
        return Err(FetchError::Refused(format!("the thumbnail is {}", said.content_type)));
    }
    keep_fetched(home, key, finished, said).await
}

/// What is here of a transfer that broke off, if it can be gone on with.
async fn begun(home: &Home, key: &MediaKey) -> Result<Option<(Draft, PartRecord)>, FetchError> {
    let Some(part) = rows::part(&home.store.snapshot()?, key)? else { return Ok(None) };
    match home.repository.blobs.resume(part.number).await {
        Ok(draft) if !draft.is_empty() && draft.len() < part.len => Ok(Some((draft, part))),
        Ok(_) => {
            abandon(home, key).await?;
            Ok(None)
        }
        // A crash took it; its row is replaced by the next transfer's.
        Err(_) => Ok(None),
    }
}

/// Forgets what is here of a transfer.
async fn abandon(home: &Home, key: &MediaKey) -> Result<(), FetchError> {
    let Some(part) = rows::part(&home.store.snapshot()?, key)? else { return Ok(()) };
    let key = *key;
    home.store.write_soon(move |tx| rows::remove_part(tx, &key)).await?;
    home.repository.blobs.discard(part.number).await;
    Ok(())
}

async fn ask(
    home: &Home,
    address: &Address,
    wish: &Wish,
    wait: Duration,
    begun: Option<&(Draft, PartRecord)>,
) -> Result<http::Response<BodyStream>, FederationError> {
    let mut headers = HeaderMap::new();
    if let Some((draft, part)) = begun
        && let Ok(etag) = HeaderValue::from_str(&part.etag)
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.head + draft.len()))
    {
        headers.insert(header::RANGE, range);
        headers.insert(header::IF_RANGE, etag);
    }
    let server = &address.server;
    let answer = async {
        match wish {
            Wish::Whole => {
                let mut request = get_content::Request::new(address.id.clone());
                request.timeout_ms = wait;
                stream(home, server, request, headers).await
            }
            Wish::Thumbnail(_, size) => {
                let (width, height) = (size.width.into(), size.height.into());
                let mut request = get_thumbnail::Request::new(address.id.clone(), width, height);
                request.method = Some(if size.crop { Method::Crop } else { Method::Scale });
                request.animated = Some(size.animated);
                request.timeout_ms = wait;
                stream(home, server, request, headers).await
            }
        }
    };
    let late = || FederationError::NoAnswer(format!("{server} did not answer in time"));
    timeout(wait + MEDIA_FETCH_GRACE, answer).await.unwrap_or_else(|_| Err(late()))
}

fn refusal(error: FederationError) -> FetchError {
    match error.kind() {
        Some(ErrorKind::NotFound) => return FetchError::NotFound,
        Some(ErrorKind::NotYetUploaded) => return FetchError::NotYetUploaded,
        Some(ErrorKind::TooLarge) => return FetchError::TooLarge,
        _ => {}
    }
    if error.is_passing() { FetchError::Unreachable(error.to_string()) } else { FetchError::Refused(error.to_string()) }
}

/// Whether an answer goes on where it was asked to. One that did not come at all may yet. RFC 9110, section 14.4.
fn goes_on(answer: &Result<http::Response<BodyStream>, FederationError>, wanted: u64) -> bool {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return error.status() != Some(StatusCode::RANGE_NOT_SATISFIABLE),
    };
    let range =
        answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split_once('-')?.0.trim().parse().ok());
    answer.status() == StatusCode::PARTIAL_CONTENT && start == Some(wanted)
}

/// An answer on its way to the disk.
struct Arriving<'a> {
    home: &'a Home,
    key: MediaKey,
    bytes_max: u64,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

impl Arriving<'_> {
    /// Takes an answer from its start.
    async fn whole(mut self, headers: &HeaderMap, mut body: BodyStream) -> Result<(Finished, Head), FetchError> {
        let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
        let mut reader = Reader::new(kind).map_err(nonsense)?;
        let mut draft = self.home.repository.blobs.draft().await.map_err(disk)?;
        let filled = self.fill(&mut draft, &mut reader, headers, &mut body).await;
        self.settle(&mut draft, filled).await?;
        let head = reader.head().cloned().ok_or_else(|| broken("it has no content"))?;
        Ok((self.end(draft, head.hash).await?, head))
    }

    async fn fill(
        &mut self,
        draft: &mut Draft,
        reader: &mut Reader,
        headers: &HeaderMap,
        body: &mut BodyStream,
    ) -> Result<(), FetchError> {
        let announced = text(headers, header::CONTENT_LENGTH).and_then(|len| len.parse::<u64>().ok());
        let mut total = None;
        while !reader.is_ended() {
            let piece = next(body).await?.ok_or_else(|| broken("it ends before its last boundary"))?;
            let was_headless = reader.head().is_none();
            let content = reader.push(&piece).map_err(nonsense)?;
            if let (true, Some(head)) = (was_headless, reader.head()) {
                total = announced.and_then(|len| len.checked_sub(head.len + reader.tail_len()));
                self.fits(total.unwrap_or(0))?;
                if let (Some(len), Some(etag)) = (total, text(headers, header::ETAG)) {
                    self.remember(draft, head, len, etag).await?;
                }
            }
            self.take(draft, &content, total).await?;
        }
        Ok(())
    }

    /// Takes the rest of an answer, which is content up to a known length.
    async fn rest(
        mut self,
        mut draft: Draft,
        part: PartRecord,
        mut body: BodyStream,
    ) -> Result<(Finished, Head), FetchError> {
        let filled = self.fill_up(&mut draft, part.len, &mut body).await;
        self.settle(&mut draft, filled).await?;
        let PartRecord { hash, head: len, content_type, filename, .. } = part;
        let head = Head { content_type, filename, hash: Some(hash), len };
        Ok((self.end(draft, head.hash).await?, head))
    }

    async fn fill_up(&mut self, draft: &mut Draft, len: u64, body: &mut BodyStream) -> Result<(), FetchError> {
        while draft.len() < len {
            let mut piece = next(body).await?.ok_or_else(|| broken("it ends before its content does"))?;
            piece.truncate(usize::try_from(len - draft.len()).unwrap_or(usize::MAX));
            self.take(draft, &piece, Some(len)).await?;
        }
        Ok(())
    }

    /// Writes down what has come of a transfer that broke off, for the one that goes on with it. What is not to be believed is
    /// not gone on with.
    async fn settle(&mut self, draft: &mut Draft, filled: Result<(), FetchError>) -> Result<(), FetchError> {
        match &filled {
            Ok(()) => {}
            Err(FetchError::Unreachable(_)) => draft.flush().await.map_err(disk)?,
            Err(_) => abandon(self.home, &self.key).await?,
        }
        filled
    }

    fn fits(&self, bytes: u64) -> Result<(), FetchError> {
        if bytes > self.bytes_max { Err(FetchError::TooLarge) } else { Ok(()) }
    }

    async fn take(&mut self, draft: &mut Draft, content: &Bytes, total: Option<u64>) -> Result<(), FetchError> {
        let done = draft.len() + content.len() as u64;
        self.fits(done)?;
        if total.is_some_and(|total| done > total) {
            return Err(FetchError::Refused("the answer is longer than it says".into()));
        }
        draft.write(content).await.map_err(disk)?;
        (self.progress)(Progress { done: draft.len(), total });
        Ok(())
    }

    /// Lets the transfer be gone on with when it breaks off, if its whole can be checked.
    async fn remember(&mut self, draft: &mut Draft, head: &Head, len: u64, etag: &str) -> Result<(), FetchError> {
        let Some(hash) = head.hash else { return Ok(()) };
        // A weak name does not mean the same bytes.
        if etag.len() > ETAG_BYTES_MAX || etag.starts_with("W/") {
            return Ok(());
        }
        let part = PartRecord {
            number: draft.number(),
            hash,
            etag: etag.to_owned(),
            head: head.len,
            len,
            content_type: head.content_type.clone(),
            filename: head.filename.clone(),
        };
        let (home, key) = (self.home, self.key);
        let flying = home.repository.flying();
        let gone = home.store.write_soon(move |tx| rows::put_part(tx, &key, &part, &flying)).await?;
        for number in gone {
            home.repository.blobs.discard(number).await;
        }
        draft.stay();
        Ok(())
    }

    async fn end(&mut self, draft: Draft, hash: Option<[u8; 32]>) -> Result<Finished, FetchError> {
        let finished = draft.finish().await.map_err(disk)?;
        if hash.is_some_and(|hash| hash != finished.hash) {
            let key = self.key;
            self.home.store.write_soon(move |tx| rows::remove_part(tx, &key)).await?;
            return Err(FetchError::Refused("the content has another hash than its server says".into()));
        }
        Ok(finished)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

async fn keep_fetched(home: &Home, key: MediaKey, finished: Finished, said: Head) -> Result<(), FetchError> {
    let record = rows::cached(home, finished.hash, finished.len, said.content_type, said.filename);
    let bytes_max = home.repository.cache_bytes_max;
    let kept = keep::keep(home, Some(finished), move |tx| {
        rows::remove_part(tx, &key)?;
        Ok(rows::put_cached(tx, &key, record.clone(), bytes_max)?)
    });
    kept.await.map_err(|error| match error {
        MediaError::Store(error) => FetchError::Store(error),
        other => FetchError::Disk(other.to_string()),
    })
}

async fn next(body: &mut BodyStream) -> Result<Option<Bytes>, FetchError> {
    body.next().await.transpose().map_err(|error| FetchError::Unreachable(error.to_string()))
}

fn nonsense(error: super::multipart::Malformed) -> FetchError {
    FetchError::Refused(format!("the answer cannot be read: {error}"))
}

fn broken(why: &str) -> FetchError {
    FetchError::Unreachable(format!("the answer broke off: {why}"))
}

fn disk(error: std::io::Error) -> FetchError {
    FetchError::Disk(error.to_string())
}
