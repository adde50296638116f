//! Out: a file becomes something in our media store, and the content of a message that names it.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read, Seek, Write},
    sync::Arc,
};

use matrix_sdk_crypto::MediaEncryptionInfo;
use ruma::OwnedMxcUri;
use serde_json::{Map, Value, json, value::RawValue};

use super::{Attachment, AttachmentError, FileInfo, Kind, Source, cipher, record::clean_name};
use crate::{
    chat::{
        Inner,
        work::{self, Cancelled, Progress},
    },
    home::Home,
    media::{self, Look, NewMedia},
    store::{StoreError, aside},
    types::limits::THUMBNAIL_SOURCE_BYTES_MAX,
};

/// A file in the media store.
struct Kept {
    uri: OwnedMxcUri,
    /// What opens it, if it is sealed.
    sealed: Option<MediaEncryptionInfo>,
    bytes: u64,
}

/// Puts a file into the media store, sealed if its room is encrypted, and answers the content of the message that names it,
/// ready to be sent as an `m.room.message`. A picture gets its measures and a thumbnail.
///
/// Dropping the future, or cancelling, leaves nothing in the store.
pub(crate) async fn prepare(
    inner: &Inner,
    room_encrypted: bool,
    source: Source,
    info: FileInfo,
    progress: Progress,
) -> Result<Box<RawValue>, AttachmentError> {
    tokio::select! {
        biased;
        () = progress.cancelled() => Err(Cancelled.into()),
        prepared = prepared(inner, room_encrypted, source, info, &progress) => prepared,
    }
}

async fn prepared(
    inner: &Inner,
    room_encrypted: bool,
    source: Source,
    mut info: FileInfo,
    progress: &Progress,
) -> Result<Box<RawValue>, AttachmentError> {
    let _turn = inner.transfers.turn().await?;
    let bytes_max = inner.home.repository.bytes_max;
    let file = aside(move || source.open()).await.map_err(broken)??;
    // What is no regular file, such as a pipe, has no length yet.
    let bytes = file.metadata().map_err(AttachmentError::Read)?.len();
    if bytes > bytes_max {
        return Err(AttachmentError::TooLarge { bytes_max });
    }
    progress.begin(bytes);
    let (file, look) = if info.kind == Kind::Image { look(inner, file).await? } else { (file, None) };
    if let Some(look) = &look {
        (info.width, info.height) = (Some(look.width), Some(look.height));
        info.mime.get_or_insert_with(|| look.content_type.to_owned());
    }
    info.name = clean_name(&info.name, info.kind);
    let mut uploads = Uploads { inner, encrypted: room_encrypted, orphans: Orphans::of(inner) };
    let named = NewMedia { content_type: info.mime.clone(), filename: Some(info.name.clone()) };
    let kept = uploads.keep(file, named, progress).await?;
    let thumbnail = match look.and_then(|look| look.thumbnail) {
        Some(small) => {
            let measures = json!({
                "w": small.width, "h": small.height, "mimetype": small.content_type, "size": small.bytes.len(),
            });
            let named = NewMedia { content_type: Some(small.content_type.to_owned()), filename: None };
            let kept = uploads.keep(Cursor::new(small.bytes), named, &Progress::new()).await?;
            Some((kept, measures))
        }
        None => None,
    };
    let content = content(&info, kept, thumbnail)?;
    uploads.orphans.adopt();
    Ok(content)
}

/// Takes out of the media store what [`prepare`] put in, for a message that will never be sent.
pub(crate) async fn discard(inner: &Inner, content: &RawValue) -> Result<(), AttachmentError> {
    let Ok(content) = serde_json::from_str(content.get()) else { return Ok(()) };
    let Some(attachment) = Attachment::from_content("m.room.message", &content) else { return Ok(()) };
    for place in std::iter::once(attachment.place).chain(attachment.thumbnail) {
        media::forget(&inner.home, &place.uri).await?;
    }
    Ok(())
}

/// Measures a picture and makes a thumbnail of it. What cannot be looked at is sent all the same.
async fn look(inner: &Inner, mut file: File) -> Result<(File, Option<Look>), AttachmentError> {
    let work = move || {
        // A pipe can be read once, and what is larger than any picture is not one that a decoder should hold in memory.
        let is_small = file.metadata().is_ok_and(|file| file.len() <= THUMBNAIL_SOURCE_BYTES_MAX);
        if !is_small || file.stream_position().is_err() {
            return Ok((file, None));
        }
        let look = media::look(BufReader::new(&file));
        file.rewind().map_err(AttachmentError::Read)?;
        Ok((file, look))
    };
    inner.home.heavily(work).await.map_err(broken)?
}

fn broken(error: impl std::fmt::Display) -> AttachmentError {
    StoreError::Panicked(error.to_string()).into()
}

/// What is put into the media store for one message.
struct Uploads<'a> {
    inner: &'a Inner,
    encrypted: bool,
    orphans: Orphans,
}

impl Uploads<'_> {
    async fn keep(
        &mut self,
        mut from: impl Read + Send + 'static,
        named: NewMedia,
        progress: &Progress,
    ) -> Result<Kept, AttachmentError> {
        let (home, encrypted) = (&self.inner.home, self.encrypted);
        let bytes_max = home.repository.bytes_max;
        let (pace, _give_up) = work::pace(progress);
        let write = move |mut to: &mut dyn Write| match encrypted {
            true => cipher::seal(&mut from, &mut to, bytes_max, &pace).map(|(info, bytes)| (Some(info), bytes)),
            false => cipher::pump(&mut from, &mut to, bytes_max, &pace).map(|bytes| (None, bytes)),
        };
        // Nobody without the key needs to know what it is.
        let named = if encrypted { NewMedia::default() } else { named };
        let (uri, (sealed, bytes)) = media::store_written(home, &self.inner.me.user, named, write).await?;
        self.orphans.uris.push(uri.clone());
        Ok(Kept { uri, sealed, bytes })
    }
}

/// Files that no message names yet. They are taken out again when this is dropped.
struct Orphans {
    home: Arc<Home>,
    uris: Vec<OwnedMxcUri>,
}

impl Orphans {
    fn of(inner: &Inner) -> Self {
        Self { home: inner.home.clone(), uris: Vec::new() }
    }

    /// From now on a message names them.
    fn adopt(&mut self) {
        self.uris.clear();
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        let (home, uris) = (self.home.clone(), std::mem::take(&mut self.uris));
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !uris.is_empty()
        {
            runtime.spawn(async move {
                for uri in uris {
                    if let Err(error) = media::forget(&home, &uri).await {
                        tracing::warn!(%error, "a file that nobody sent stays in the media store");
                    }
                }
            });
        }
    }
}

/// The content of the message. Client-server API, "m.image" and the like, "Media captions", "Sending encrypted attachments".
fn content(info: &FileInfo, kept: Kept, thumbnail: Option<(Kept, Value)>) -> Result<Box<RawValue>, AttachmentError> {
    let mut about = Map::from_iter([
        ("size".to_owned(), json!(kept.bytes)),
        ("mimetype".to_owned(), json!(info.mime.as_deref().unwrap_or("application/octet-stream"))),
    ]);
    if let (Kind::Image | Kind::Video, Some(width), Some(height)) = (info.kind, info.width, info.height) {
        about.extend([("w".to_owned(), json!(width)), ("h".to_owned(), json!(height))]);
    }
    if let (Kind::Audio | Kind::Video, Some(duration)) = (info.kind, info.duration) {
        about.insert("duration".to_owned(), json!(u64::try_from(duration.as_millis()).unwrap_or_default()));
    }
    if let Some((kept, measures)) = thumbnail {
        about.insert("thumbnail_info".to_owned(), measures);
        let (name, place) = kept.place("thumbnail_file", "thumbnail_url")?;
        about.insert(name, place);
    }
    let kind = match info.kind {
        Kind::Image => "m.image",
        Kind::Video => "m.video",
        Kind::Audio => "m.audio",
        Kind::File => "m.file",
    };
    let caption = info.caption.as_deref().filter(|caption| !caption.is_empty());
    let mut content = Map::from_iter([
        ("msgtype".to_owned(), json!(kind)),
        ("body".to_owned(), json!(caption.unwrap_or(&info.name))),
        ("filename".to_owned(), json!(info.name)),
        ("info".to_owned(), Value::Object(about)),
    ]);
    let (name, place) = kept.place("file", "url")?;
    content.insert(name, place);
    serde_json::value::to_raw_value(&content).map_err(unspeakable)
}

impl Kept {
    /// The field that says where it lies, in its encrypted or its plain form.
    fn place(self, file: &str, url: &str) -> Result<(String, Value), AttachmentError> {
        let Some(sealed) = self.sealed else { return Ok((url.to_owned(), json!(self.uri))) };
        let mut sealed = serde_json::to_value(sealed).map_err(unspeakable)?;
        if let Some(fields) = sealed.as_object_mut() {
            fields.insert("url".to_owned(), json!(self.uri));
        }
        Ok((file.to_owned(), sealed))
    }
}

fn unspeakable(error: serde_json::Error) -> AttachmentError {
    AttachmentError::Unusable(error.to_string())
}
