//! Files on their way in and out: progress, and calling them off.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hearth_core::chat::{
    self, ItemId, Progress,
    attachment::{self, Source},
};
use tokio::task::JoinHandle;

use super::{Place, Timeline};
use crate::{
    cancel::CancelToken,
    error::NodeError,
    node::Shared,
    parse::event_id,
    platform::ListenerError,
    records::MediaKind,
    watch::{TaskHandle, hand_over},
};

/// Whoever wants to know how far a file is.
#[uniffi::export(foreign)]
pub trait ProgressListener: Send + Sync {
    /// So many bytes are done, of so many; the total is 0 while it is not known. Called by whole percents at the most.
    ///
    /// # Errors
    /// Whatever goes wrong: the listener is called again with what comes next.
    fn on_progress(&self, done: u64, total: u64) -> Result<(), ListenerError>;
}

/// What is said of a file that is sent.
#[derive(Clone, Debug, uniffi::Record)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: MediaKind,
    /// Its media type.
    #[uniffi(default = None)]
    pub mime: Option<String>,
    /// What the person writes about it.
    #[uniffi(default = None)]
    pub caption: Option<String>,
    /// Pixels from left to right; found out for pictures.
    #[uniffi(default = None)]
    pub width: Option<u32>,
    /// Pixels from top to bottom; found out for pictures.
    #[uniffi(default = None)]
    pub height: Option<u32>,
    /// How long it plays, in milliseconds.
    #[uniffi(default = None)]
    pub duration_ms: Option<u64>,
    /// The event id of the message that it answers.
    #[uniffi(default = None)]
    pub reply_to: Option<String>,
}

/// A file that is on its way into its room.
#[derive(uniffi::Object)]
pub struct SendHandle {
    shared: Arc<Shared>,
    place: Arc<Place>,
    item: ItemId,
    progress: Progress,
    watcher: Option<Arc<TaskHandle>>,
}

#[uniffi::export]
impl SendHandle {
    /// The id of its item.
    pub fn item_id(&self) -> String {
        self.item.0.clone()
    }

    /// Waits until it is in its room, from where it goes to the others by itself, and answers its event's id.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] with the reason when it cannot be sent as it is: it stays in the list and may be tried again.
    /// [`NodeError::Cancelled`] when it was called off or taken back; [`NodeError::NotRunning`] and [`NodeError::Paused`] when
    /// the node ends meanwhile: it goes on with the node, and can be waited for again.
    #[uniffi::method(default(cancel = None))]
    pub async fn join(&self, cancel: Option<Arc<CancelToken>>) -> Result<String, NodeError> {
        let (place, item) = (self.place.clone(), self.item.clone());
        self.shared
            .with(async move |running| {
                let timeline = place.current(&running)?;
                CancelToken::guard(cancel, async { Ok(timeline.until_sent(&item).await?.to_string()) }).await
            })
            .await
    }

    /// Calls it off, if it is not in its room yet.
    pub fn cancel(&self) {
        self.progress.cancel();
    }
}

impl Drop for SendHandle {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.cancel();
        }
    }
}

#[uniffi::export]
impl Timeline {
    /// Sends a file by its path. Its item is shown at once; it is read, sealed and sent in the background, and the path must
    /// stay readable until then.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`]; what is wrong with the file itself is said by the item's state.
    #[uniffi::method(default(listener = None))]
    pub async fn send_file(
        &self,
        path: String,
        info: FileInfo,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Arc<SendHandle>, NodeError> {
        self.send_source(Source::Path(PathBuf::from(path)), info, listener).await
    }

    /// Sends a file by an open file descriptor, which belongs to Hearth from here on, also when this fails: it is closed when the
    /// file was read. Read from its current position.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for what is no open file.
    #[uniffi::method(default(listener = None))]
    pub async fn send_fd(
        &self,
        fd: i32,
        info: FileInfo,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Arc<SendHandle>, NodeError> {
        self.send_source(Source::File(owned_file(fd)?), info, listener).await
    }

    /// Fetches the file of an item, from other phones if it is not here, and writes it to a path. What a broken download has
    /// fetched is kept, so another try goes on from there.
    ///
    /// # Errors
    /// [`NodeError::Network`] when whoever has it is out of reach; [`NodeError::Crypto`] when what came is not what was sent;
    /// [`NodeError::NotFound`], [`NodeError::Storage`].
    #[uniffi::method(default(listener = None, cancel = None))]
    pub async fn download(
        &self,
        item_id: String,
        to: String,
        listener: Option<Arc<dyn ProgressListener>>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<u64, NodeError> {
        let progress = CancelToken::progress(cancel);
        let watcher = listener.map(|listener| watch_progress(&self.shared, &progress, listener)).transpose()?;
        let (place, told) = (self.place.clone(), progress.clone());
        let done = self
            .shared
            .with(async move |running| {
                let attachment = place.current(&running)?.attachment(&ItemId(item_id)).await?;
                Ok(running.chat.download(&attachment, &PathBuf::from(to), &told).await?)
            })
            .await;
        if let Some(watcher) = watcher {
            watcher.cancel();
        }
        done
    }

    /// The thumbnail of an item's file: the bytes of a picture.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when there is none; as [`Timeline::download`].
    pub async fn thumbnail(&self, item_id: String) -> Result<Vec<u8>, NodeError> {
        let place = self.place.clone();
        self.shared
            .with(async move |running| {
                let attachment = place.current(&running)?.attachment(&ItemId(item_id)).await?;
                Ok(running.chat.thumbnail(&attachment).await?)
            })
            .await
    }
}

impl Timeline {
    async fn send_source(
        &self,
        source: Source,
        info: FileInfo,
        listener: Option<Arc<dyn ProgressListener>>,
    ) -> Result<Arc<SendHandle>, NodeError> {
        let reply_to = info.reply_to.as_deref().map(event_id).transpose()?;
        let info = attachment::FileInfo {
            mime: info.mime,
            caption: info.caption,
            width: info.width,
            height: info.height,
            duration: info.duration_ms.map(Duration::from_millis),
            ..attachment::FileInfo::new(info.name, info.kind.into())
        };
        let sent = self
            .with(async move |timeline: Arc<chat::Timeline>| Ok(timeline.send_file(source, info, reply_to).await?));
        let (item, progress) = sent.await?;
        let watcher = listener.map(|listener| watch_progress(&self.shared, &progress, listener)).transpose()?;
        let (shared, place) = (self.shared.clone(), self.place.clone());
        Ok(Arc::new(SendHandle { shared, place, item, progress, watcher }))
    }
}

/// Tells a listener how far something is, until it is done.
pub(crate) fn watch_progress(
    shared: &Arc<Shared>,
    progress: &Progress,
    listener: Arc<dyn ProgressListener>,
) -> Result<Arc<TaskHandle>, NodeError> {
    let progress = progress.clone();
    let task: JoinHandle<()> = shared.runtime.spawn(async move {
        let mut seen = (0, 0);
        loop {
            seen = progress.after(seen).await;
            let listener = listener.clone();
            hand_over(&move |(done, total)| listener.on_progress(done, total), seen).await;
            let (done, total) = seen;
            if total > 0 && done >= total {
                return;
            }
        }
    })?;
    Ok(TaskHandle::new(&task))
}

#[cfg(unix)]
fn owned_file(fd: i32) -> Result<std::fs::File, NodeError> {
    use std::os::fd::{FromRawFd, OwnedFd};

    if fd < 0 {
        return Err(NodeError::invalid(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the app gives the descriptor away, as the method's contract says, so that nobody else closes it.
    #[allow(unsafe_code)]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(std::fs::File::from(owned))
}

#[cfg(not(unix))]
fn owned_file(_: i32) -> Result<std::fs::File, NodeError> {
    Err(NodeError::invalid("this platform has no file descriptors"))
}
