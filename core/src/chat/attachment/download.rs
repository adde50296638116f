//! In: what another phone sealed is fetched into our media store, opened, checked, and only then given its name.

use std::{
    io::{BufWriter, Cursor, Write},
    path::Path,
    time::Duration,
};

use matrix_sdk_crypto::MediaEncryptionInfo;
use ruma::events::room::EncryptedFile;

use super::{Attachment, AttachmentError, cipher, record::Place};
use crate::{
    chat::{
        Chat, ChatError, Inner,
        files::Draft,
        work::{Cancelled, Pace, Progress, aside},
    },
    media::{self, Opened},
    types::limits::{FEDERATION_REQUEST_WAIT, THUMBNAIL_BYTES_MAX},
};

/// How long the other phone may take to begin to send. Fetching itself may take as long as it goes on.
const WAIT: Duration = FEDERATION_REQUEST_WAIT;

impl Chat {
    /// Fetches a file and writes it to a path; what was there is replaced. Answers how many bytes it has.
    ///
    /// The file is fetched into the media store first, unless it is there: a download that broke off goes on where it was.
    /// Then it is opened into a draft beside its destination, checked, and renamed. The progress counts each byte twice: when
    /// it is fetched, and when it is opened.
    ///
    /// # Errors
    /// [`ChatError::Network`] when whoever has it is out of reach; [`ChatError::Crypto`] when what came is not what was sent,
    /// which is then forgotten, so that another try fetches it anew; [`ChatError::NotFound`], [`ChatError::TooLarge`],
    /// [`ChatError::Cancelled`]; [`ChatError::Invalid`] when it cannot be written. Nothing is left at the path then.
    pub async fn download(&self, attachment: &Attachment, to: &Path, progress: &Progress) -> Result<u64, ChatError> {
        let work = self.inner.download(&attachment.place, to, progress);
        Ok(self.inner.until_cancelled(progress, work).await?)
    }

    /// The small picture of a file, as the bytes of a JPEG, PNG, GIF or WebP; fetched if need be.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when it has none; otherwise as [`Chat::download`].
    pub async fn thumbnail(&self, attachment: &Attachment) -> Result<Vec<u8>, ChatError> {
        let place = attachment.thumbnail.as_ref();
        let place = place.ok_or(AttachmentError::NotFound("the file has no thumbnail"))?;
        let progress = Progress::new();
        Ok(self.inner.until_cancelled(&progress, self.inner.thumbnail(place, &progress)).await?)
    }
}

impl Inner {
    async fn until_cancelled<T>(
        &self,
        progress: &Progress,
        work: impl Future<Output = Result<T, AttachmentError>>,
    ) -> Result<T, AttachmentError> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            () = progress.cancelled() => Err(Cancelled.into()),
            _ = ended.wait_for(|ended| *ended) => Err(Cancelled.into()),
            done = work => done,
        }
    }

    async fn download(&self, place: &Place, to: &Path, progress: &Progress) -> Result<u64, AttachmentError> {
        let opening = place.opening()?;
        let _turn = self.transfers.turn().await?;
        let told = |at: media::Progress| {
            if let Some(total) = at.total.filter(|total| progress.at().1 != total * 2) {
                progress.begin(total * 2);
            }
            progress.set(at.done);
        };
        media::fetch_with_progress(&self.home, &place.uri, WAIT, told).await?;
        let opened = media::open(&self.home, &place.uri, WAIT).await?;
        progress.begin(opened.len * 2);
        progress.set(opened.len);
        let (to, bytes_max) = (to.to_owned(), opened.len);
        let work = move |pace: &Pace| write_to(&to, opened, opening, bytes_max, pace);
        let written = aside(progress, work).await?;
        self.judged(place, written).await
    }

    async fn thumbnail(&self, place: &Place, progress: &Progress) -> Result<Vec<u8>, AttachmentError> {
        let opening = place.opening()?;
        let sealed = media::read_all(&self.home, &place.uri, WAIT, THUMBNAIL_BYTES_MAX).await?;
        let Some(info) = opening else { return Ok(sealed.into()) };
        let work = move |pace: &Pace| {
            let mut bytes = Vec::with_capacity(sealed.len());
            cipher::open(&mut Cursor::new(sealed), &mut bytes, info, THUMBNAIL_BYTES_MAX, pace).map(|_| bytes)
        };
        let opened = aside(progress, work).await?;
        self.judged(place, opened).await
    }

    /// Throws away what is not what its sender sealed, so that it is not taken for it again.
    async fn judged<T>(&self, place: &Place, done: Result<T, AttachmentError>) -> Result<T, AttachmentError> {
        if matches!(done, Err(AttachmentError::WrongHash)) {
            let (server, _) = place.uri.parts().map_err(|error| AttachmentError::Unusable(error.to_string()))?;
            tracing::warn!(%server, "a server gave a file that is not the one that was sent");
            if !self.home.is_local(server) {
                media::forget(&self.home, &place.uri).await?;
            }
        }
        done
    }
}

impl Place {
    /// What opens it; `None` when it is not sealed.
    fn opening(&self) -> Result<Option<MediaEncryptionInfo>, AttachmentError> {
        let Some(sealed) = &self.sealed else { return Ok(None) };
        let unusable = |error: serde_json::Error| AttachmentError::Unusable(error.to_string());
        Ok(Some(serde_json::from_str::<EncryptedFile>(sealed).map_err(unusable)?.into()))
    }
}

fn write_to(
    to: &Path,
    from: Opened,
    opening: Option<MediaEncryptionInfo>,
    bytes_max: u64,
    pace: &Pace,
) -> Result<u64, AttachmentError> {
    let failed = AttachmentError::Write;
    let draft = Draft::beside(to).map_err(failed)?;
    let mut out = BufWriter::new(draft.create().map_err(failed)?);
    let mut from = from.blob.into_reader();
    let bytes = match opening {
        Some(info) => cipher::open(&mut from, &mut out, info, bytes_max, pace)?,
        None => cipher::pump(&mut from, &mut out, bytes_max, pace)?,
    };
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    pace.check()?;
    draft.keep(to).map_err(failed)?;
    Ok(bytes)
}
