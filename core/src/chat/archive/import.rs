//! Taking everything out of an archive, into an empty directory, in one step at the end.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use ruma::{OwnedServerName, ServerName};
use sha2::{Digest, Sha256};

use super::{
    ArchiveError, Passphrase, Secrets,
    entry::{self, About, Entry},
    seal::Opener,
};
use crate::{
    chat::{
        crypto_store, files,
        vault::StoreKey,
        work::{Pace, Progress, aside},
    },
    keys,
    store::{BlobHash, OpenError, Store, StoreConfig, StoreError, WriteTx, blob_path},
    types::{LocalServer, Millis, public_key_of},
};

/// Where the host keeps things.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory of everything. It must not exist yet, or be empty.
    pub directory: PathBuf,
    /// The database file, relative to it.
    pub database: PathBuf,
    /// The media directory, relative to it.
    pub media: PathBuf,
}

/// Where an archive is unpacked before it is put in place: beside the directory that it is for.
pub fn staging_path(directory: &Path) -> PathBuf {
    files::with_suffix(directory, ".importing")
}

/// What an archive held, unpacked beside its destination. Dropping it removes what was unpacked.
#[derive(Debug)]
pub struct Imported {
    /// The server's name, which the identity key proves if it is a key's name.
    pub server: OwnedServerName,
    /// When the archive was made.
    pub made: Millis,
    /// The keys, for the host to keep where it keeps them.
    pub secrets: Secrets,
    /// Files of media.
    pub blobs: u64,
    staging: Staging,
    directory: PathBuf,
}

impl Imported {
    /// The directory that will be renamed. A host that keeps its key in a file beside the database puts it in here.
    pub fn staging(&self) -> &Path {
        &self.staging.0
    }

    /// Makes it the node's directory, all at once.
    ///
    /// # Errors
    /// [`ArchiveError::Occupied`] when something is there by now, [`ArchiveError::Io`]; nothing is left behind then.
    pub fn put_in_place(self) -> Result<(), ArchiveError> {
        File::open(&self.staging.0)?.sync_all()?;
        refuse_occupied(&self.directory)?;
        fs::rename(&self.staging.0, &self.directory)?;
        Ok(files::sync_parent(&self.directory)?)
    }
}

/// A directory that goes unless it is renamed before.
#[derive(Debug)]
struct Staging(PathBuf);

impl Staging {
    /// Beside the destination, empty: what a killed import left is removed.
    fn beside(directory: &Path) -> io::Result<Self> {
        let staging = Self(staging_path(directory));
        staging.remove()?;
        fs::create_dir_all(&staging.0)?;
        Ok(staging)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "what an import unpacked could not be removed");
        }
    }
}

/// Unpacks an archive beside `layout.directory`, checks all of it, and makes it fit to go on from. Needs the memory of one
/// Argon2id, and the disk space of what is in the archive. Dropping the future calls it off.
///
/// # Errors
/// See [`ArchiveError`]. Nothing is left behind then.
pub async fn import(
    archive: &Path,
    passphrase: Passphrase,
    layout: &Layout,
    progress: &Progress,
) -> Result<Imported, ArchiveError> {
    let (archive, layout) = (archive.to_owned(), layout.clone());
    let work = move |pace: &Pace| unpack(&archive, &passphrase, &layout, pace);
    let (imported, store) = aside(progress, work).await??;
    let made_fit = make_fit(&store).await;
    // Not closed cleanly, so that the node's own start lets the log's positions jump.
    store.kill();
    made_fit?;
    Ok(imported)
}

fn unpack(
    archive: &Path,
    passphrase: &Passphrase,
    layout: &Layout,
    pace: &Pace,
) -> Result<(Imported, Store), ArchiveError> {
    refuse_occupied(&layout.directory)?;
    let file = File::open(archive)?;
    let bytes = file.metadata()?.len();
    let mut from = Opener::new(BufReader::new(file), bytes, passphrase)?;
    let Entry::About(About { server, made, bytes }) = entry::take(&mut from)? else { return Err(out_of_order()) };
    pace.begin(bytes);
    let Entry::Secrets(identity_key, store_key) = entry::take(&mut from)? else { return Err(out_of_order()) };
    let secrets = Secrets::new(identity_key, StoreKey::new(store_key));
    let server = owner(&server, &secrets)?;

    let Entry::Database(bytes) = entry::take(&mut from)? else { return Err(out_of_order()) };
    let staging = Staging::beside(&layout.directory)?;
    let database = staging.0.join(&layout.database);
    write_file(&database, |out| entry::take_bytes(&mut from, out, bytes, pace, |_| {}))?;
    let media = staging.0.join(&layout.media);
    fs::create_dir_all(&media)?;
    let mut blobs = 0;
    loop {
        match entry::take(&mut from)? {
            Entry::Blob(sha256, bytes) => take_blob(&mut from, &media, &sha256, bytes, pace)?,
            Entry::End(count) if count == blobs => break,
            _ => return Err(out_of_order()),
        }
        blobs += 1;
    }
    from.finish()?;
    let store = open(database, &server)?;
    let directory = layout.directory.clone();
    Ok((Imported { server, made: Millis(made), secrets, blobs, staging, directory }, store))
}

fn out_of_order() -> ArchiveError {
    ArchiveError::Damaged("its parts are not in their order".into())
}

fn refuse_occupied(directory: &Path) -> Result<(), ArchiveError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ArchiveError::Occupied(directory.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(ArchiveError::Occupied(directory.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The server's name, if the key in the archive is the one that it spells. A DNS name spells none.
fn owner(server: &str, secrets: &Secrets) -> Result<OwnedServerName, ArchiveError> {
    let name =
        ServerName::parse(server).map_err(|error| ArchiveError::Damaged(format!("its server's name: {error}")))?;
    match public_key_of(&name).is_err() || LocalServer::new(&secrets.identity_key).name == name {
        true => Ok(name),
        false => Err(ArchiveError::Damaged("its key is not the one of its server".into())),
    }
}

/// Writes a new file and syncs it.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut out = BufWriter::new(files::create(path)?);
    write(&mut out)?;
    out.flush()?;
    Ok(out.get_ref().sync_all()?)
}

fn take_blob<R: io::Read>(
    from: &mut Opener<R>,
    media: &Path,
    sha256: &BlobHash,
    bytes: u64,
    pace: &Pace,
) -> Result<(), ArchiveError> {
    let path = blob_path(media, sha256);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut hash = Sha256::new();
    write_file(&path, |out| entry::take_bytes(from, out, bytes, pace, |bytes| hash.update(bytes)))?;
    // The name is a promise about the bytes that readers of the media store rely on.
    match *hash.finalize() == *sha256 {
        true => Ok(()),
        false => Err(ArchiveError::Damaged("a file of media is not what its name says".into())),
    }
}

/// Opens the database, which proves that it is one and brings it to our schema.
fn open(database: PathBuf, server: &ServerName) -> Result<Store, ArchiveError> {
    Store::open(&StoreConfig::file(database), server).map_err(|error| match error {
        OpenError::Store(StoreError::Database(why)) => ArchiveError::Database(why),
        other => ArchiveError::Database(other.to_string()),
    })
}

/// Takes out of a database what must not be used twice, and what is not there.
async fn make_fit(store: &Store) -> Result<(), StoreError> {
    let job = |tx: &mut WriteTx<'_>| {
        crypto_store::forget_outbound(tx)?;
        keys::forget_one_time_keys(tx)?;
        // Halves of files, which are in no archive.
        Ok(tx.write().media_part.retain(|_, _| false)?)
    };
    store.write(job).await
}
