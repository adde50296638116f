//! All that a node keeps, taken as one thing: exported, imported, wiped.
//!
//! The work is core's; what is here knows which file of a data directory is which. The key of the platform's keystore comes
//! from the caller and goes to it.

use std::{
    io,
    path::{Path, PathBuf},
};

pub use hearth_core::chat::archive::ArchiveError;
use hearth_core::chat::{
    Progress,
    archive::{self, Layout, Passphrase, Secrets},
    vault::StoreKey,
    wipe::{self, Targets},
};

use super::{Node, database_path, key_path, media_path};
use crate::identity;

/// Everything of a node, unpacked beside its data directory. Dropping it removes what was unpacked.
#[derive(Debug)]
pub struct Imported {
    archive: archive::Imported,
}

impl Imported {
    /// The server's name.
    pub fn server(&self) -> &ruma::ServerName {
        &self.archive.server
    }

    /// What the platform's keystore must hold before the node starts.
    pub fn store_key(&self) -> &StoreKey {
        &self.archive.secrets.store_key
    }

    /// Makes it the data directory, all at once. A node can be started on it then.
    ///
    /// # Errors
    /// When there is something by now, or the disk fails; nothing is left behind then.
    pub fn put_in_place(self) -> Result<(), ArchiveError> {
        self.archive.put_in_place()
    }
}

/// Writes everything of a running node into a new file, sealed by a passphrase. Answers how many bytes it has. Dropping the
/// future calls it off, as `progress` does.
///
/// # Errors
/// See [`ArchiveError`]. Nothing is left behind then.
pub async fn export(
    node: &Node,
    store_key: &StoreKey,
    passphrase: &str,
    to: &Path,
    progress: &Progress,
) -> Result<u64, ArchiveError> {
    let identity_key = identity::load(&key_path(&node.data)).map_err(io::Error::other)?;
    let secrets = Secrets::new(identity_key, store_key.clone());
    archive::export(node.homeserver.home(), secrets, Passphrase::new(passphrase)?, to, &node.data, progress).await
}

/// Takes everything out of such a file, for a data directory that does not exist or is empty. The caller keeps the store key,
/// and then puts it in place.
///
/// # Errors
/// See [`ArchiveError`]. Nothing is left behind then.
pub async fn import(from: &Path, passphrase: &str, data: &Path, progress: &Progress) -> Result<Imported, ArchiveError> {
    let layout =
        Layout { directory: data.to_owned(), database: database_path(Path::new("")), media: media_path(Path::new("")) };
    let archive = archive::import(from, Passphrase::new(passphrase)?, &layout, progress).await?;
    identity::keep(&key_path(archive.staging()), &archive.secrets.identity_key)?;
    Ok(Imported { archive })
}

/// Destroys everything in a data directory, the keys first, whatever state the node is in; what an import left beside it, too.
/// Blocks until it is done. While the node runs, and holds files open, it must be stopped afterwards and this be called again.
///
/// # Errors
/// When something may be left, and what. Everything else is gone; call it again.
pub fn wipe(data: &Path) -> io::Result<()> {
    let unpacked = archive::staging_path(data);
    let keys = [data, &unpacked].map(key_path);
    let drafts: Vec<PathBuf> = keys.iter().map(|key| identity::draft_path(key)).collect();
    let targets = Targets { keys: keys.into_iter().chain(drafts).collect(), trees: vec![data.to_owned(), unpacked] };
    match wipe::wipe(&targets).left.into_iter().next() {
        Some((path, error)) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use hearth_core::home::Registration;

    use super::*;
    use crate::{Discovery, Power, node::NodeConfig};

    async fn node(data: &Path) -> Node {
        let config = NodeConfig {
            data: data.to_owned(),
            server_name: None,
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
            peers: Vec::new(),
            discovery: Discovery::Off,
            power: Some(Power::default()),
            client_listen: None,
            registration: Registration::Closed,
        };
        Node::start(config).await.unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_node_moves_to_another_phone_and_is_wiped_on_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, file) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("everything"));
        let running = node(&old).await;
        let name = running.homeserver().home().server_name().to_owned();
        let (key, progress) = (StoreKey::new([7; 32]), Progress::new());
        export(&running, &key, "a passphrase", &file, &progress).await.unwrap();
        // Wiped while it runs, which leaves nothing, and once more when it is stopped.
        wipe(&old).unwrap();
        assert_eq!(names(dir.path()), ["everything"]);
        running.stop().await.unwrap();
        wipe(&old).unwrap();
        assert_eq!(names(dir.path()), ["everything"]);

        let wrong = import(&file, "another passphrase", &new, &progress).await;
        assert!(matches!(wrong, Err(ArchiveError::WrongPassphrase)));
        drop(import(&file, "a passphrase", &new, &progress).await.unwrap());
        assert_eq!(names(dir.path()), ["everything"]);
        let imported = import(&file, "a passphrase", &new, &progress).await.unwrap();
        assert_eq!((imported.server(), imported.store_key().as_bytes()), (&*name, &[7; 32]));
        imported.put_in_place().unwrap();
        assert_eq!(names(&new), ["hearth.redb", "key", "media"]);
        let moved = node(&new).await;
        assert_eq!(moved.homeserver().home().server_name(), name);
        moved.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_wipe_takes_what_an_import_left_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (data, file) = (dir.path().join("data"), dir.path().join("everything"));
        let running = node(&data).await;
        export(&running, &StoreKey::new([7; 32]), "a passphrase", &file, &Progress::new()).await.unwrap();
        running.stop().await.unwrap();
        wipe(&data).unwrap();
        // Killed before it was put in place.
        std::mem::forget(import(&file, "a passphrase", &data, &Progress::new()).await.unwrap());
        assert_eq!(names(dir.path()), ["data.importing", "everything"]);
        wipe(&data).unwrap();
        assert_eq!(names(dir.path()), ["everything"]);
    }
}
