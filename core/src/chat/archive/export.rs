//! Writing an archive of a node that runs on.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    ArchiveError, Passphrase, Secrets,
    entry::{self, About, Entry},
    seal::Sealer,
};
use crate::{
    chat::{
        files::Draft,
        work::{Pace, Progress, aside},
    },
    home::Home,
    store::{BlobHash, StoreError, View},
};

/// The copy of the database while an archive is written, in the directory of the host's choice.
const DATABASE_DRAFT: &str = "archive.redb.part";

/// Writes everything of a node into a new file, and answers how many bytes it has.
///
/// The database is copied into `private` first, a directory that nobody else reads, with room for it; the copy is removed
/// when this ends, and one that a killed export left is removed when the next begins. While the database is copied the
/// progress has no total. Dropping the future calls the export off.
///
/// # Errors
/// See [`ArchiveError`]. Nothing is left behind then.
pub async fn export(
    home: &Arc<Home>,
    secrets: Secrets,
    passphrase: Passphrase,
    to: &Path,
    private: &Path,
    progress: &Progress,
) -> Result<u64, ArchiveError> {
    let heavy = home.heavy.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
    let (home, to, database) = (home.clone(), to.to_owned(), private.join(DATABASE_DRAFT));
    let work = move |pace: &Pace| Export { home, secrets, passphrase, to, database }.run(heavy, pace);
    aside(progress, work).await?
}

struct Export {
    home: Arc<Home>,
    secrets: Secrets,
    passphrase: Passphrase,
    to: PathBuf,
    database: PathBuf,
}

impl Export {
    fn run(self, heavy: OwnedSemaphorePermit, pace: &Pace) -> Result<u64, ArchiveError> {
        if self.to.try_exists()? {
            return Err(ArchiveError::Occupied(self.to));
        }
        let database = Draft::new(self.database.clone())?;
        let go_on = || if pace.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        self.home.store.copy_to(database.path(), &mut |_, _| go_on())?;
        // After the copy, so that no file of the copy's own is missing from the list.
        let blobs = self.blobs()?;
        let draft = Draft::beside(&self.to)?;
        let out = BufWriter::new(draft.create()?);
        let mut out = Sealer::new(out, &self.passphrase, &*self.home.ports.random)?;
        drop(heavy);

        let file = File::open(database.path())?;
        let database_bytes = file.metadata()?.len();
        let bytes = blobs.iter().map(|(_, bytes)| bytes).sum::<u64>() + database_bytes;
        pace.begin(bytes);
        let (server, made) = (self.home.server_name().to_string(), self.home.now().0);
        entry::put(&mut out, &Entry::About(About { server, made, bytes }))?;
        entry::put(&mut out, &Entry::Secrets(*self.secrets.identity_key, *self.secrets.store_key.as_bytes()))?;
        entry::put(&mut out, &Entry::Database(database_bytes))?;
        entry::put_bytes(&mut out, file, database_bytes, pace)?;
        drop(database);
        let mut count = 0;
        for (sha256, _) in blobs {
            let blob = match self.home.repository.blobs.read_here(&sha256) {
                Ok(blob) => blob,
                // It was thrown away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let bytes = blob.len();
            entry::put(&mut out, &Entry::Blob(sha256, bytes))?;
            entry::put_bytes(&mut out, blob.into_reader(), bytes, pace)?;
            count += 1;
        }
        entry::put(&mut out, &Entry::End(count))?;
        let file = out.finish()?.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        pace.check()?;
        draft.keep(&self.to)?;
        Ok(fs::metadata(&self.to)?.len())
    }
    /// The files of the media store, and how long they are.
    fn blobs(&self) -> Result<Vec<(BlobHash, u64)>, StoreError> {
        let view = self.home.store.snapshot()?;
        let rows = view.blob()?.between(Bound::Unbounded, Bound::Unbounded)?;
        rows.map(|row| row.map(|(hash, row)| (*hash.value(), row.value().1)).map_err(StoreError::from)).collect()
    }
}
