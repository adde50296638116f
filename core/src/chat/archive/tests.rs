//! Archives: there and back, damaged in every way that a file can be, and killed in between.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    api::testing::Phone,
    chat::work::Progress,
    store::{Store, StoreConfig, View},
};

const PASSPHRASE: &str = "correct horse battery staple";

fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE).unwrap()
}

fn secrets(seed: u8) -> Secrets {
    Secrets::new([seed; 32], StoreKey::new([99; 32]))
}

/// A phone with an account, and an archive of it in a directory.
struct World {
    dir: tempfile::TempDir,
    phone: Phone,
}

impl World {
    async fn new() -> Self {
        let (dir, phone) = (tempfile::tempdir().unwrap(), Phone::new(1));
        phone.person("alice").await;
        Self { dir, phone }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn export(&self) -> Result<u64, ArchiveError> {
        let (to, private) = (self.path("archive"), self.dir.path());
        export(&self.phone.home, secrets(1), passphrase(), &to, private, &Progress::new()).await
    }

    fn layout(&self) -> Layout {
        Layout { directory: self.path("data"), database: "hearth.redb".into(), media: "media".into() }
    }

    async fn import(&self) -> Result<Imported, ArchiveError> {
        self.import_with(passphrase()).await
    }

    async fn import_with(&self, passphrase: Passphrase) -> Result<Imported, ArchiveError> {
        import(&self.path("archive"), passphrase, &self.layout(), &Progress::new()).await
    }

    /// What lies in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Imports after a change of the archive's bytes; nothing may be left behind.
    async fn refused(&self, change: impl FnOnce(&mut Vec<u8>)) -> ArchiveError {
        let whole = fs::read(self.path("archive")).unwrap();
        let mut changed = whole.clone();
        change(&mut changed);
        fs::write(self.path("archive"), changed).unwrap();
        let error = self.import().await.unwrap_err();
        assert_eq!(self.names(), ["archive"]);
        fs::write(self.path("archive"), whole).unwrap();
        error
    }
}

fn accounts(store: &Store) -> usize {
    let view = store.snapshot().unwrap();
    view.account().unwrap().between(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded).unwrap().count()
}

#[tokio::test]
async fn everything_goes_in_and_comes_out() {
    let world = World::new().await;
    let bytes = world.export().await.unwrap();
    assert_eq!(fs::metadata(world.path("archive")).unwrap().len(), bytes);
    assert_eq!(world.names(), ["archive"], "the copy of the database is gone");
    let sealed = fs::read(world.path("archive")).unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"alice"), "nothing in it is in clear");

    let imported = world.import().await.unwrap();
    assert_eq!(imported.server, *world.phone.home.server_name());
    assert_eq!(*imported.secrets.identity_key, [1; 32]);
    assert_eq!(*imported.secrets.store_key.as_bytes(), [99; 32]);
    assert_eq!(world.names(), ["archive", "data.importing"]);
    fs::write(imported.staging().join("key"), b"the host's").unwrap();
    imported.put_in_place().unwrap();
    assert_eq!(world.names(), ["archive", "data"]);
    assert_eq!(fs::read(world.path("data/key")).unwrap(), b"the host's");
    let store =
        Store::open(&StoreConfig::file(world.path("data/hearth.redb")), world.phone.home.server_name()).unwrap();
    assert_eq!(accounts(&store), 1);
    assert!(*store.log_watch().borrow() > *world.phone.home.store.log_watch().borrow());
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let world = World::new().await;
    world.export().await.unwrap();
    assert!(matches!(world.export().await, Err(ArchiveError::Occupied(_))));
    fs::create_dir(world.path("data")).unwrap();
    let first = world.import().await.unwrap();
    fs::write(world.path("data/something"), "precious").unwrap();
    assert!(matches!(first.put_in_place(), Err(ArchiveError::Occupied(_))));
    assert!(matches!(world.import().await, Err(ArchiveError::Occupied(_))));
    assert_eq!(fs::read(world.path("data/something")).unwrap(), b"precious");
    fs::remove_file(world.path("data/something")).unwrap();
    world.import().await.unwrap().put_in_place().unwrap();
    assert_eq!(world.names(), ["archive", "data"]);
}

#[tokio::test]
async fn each_kind_of_damage_has_its_name() {
    let world = World::new().await;
    world.export().await.unwrap();
    let whole = fs::read(world.path("archive")).unwrap();
    assert!(matches!(
        world.import_with(Passphrase::new("Correct horse").unwrap()).await,
        Err(ArchiveError::WrongPassphrase)
    ));
    assert_eq!(world.names(), ["archive"]);

    let foreign = |error| assert!(matches!(error, ArchiveError::Foreign), "{error:?}");
    foreign(world.refused(|bytes| bytes[0] ^= 1).await);
    foreign(world.refused(Vec::clear).await);
    foreign(world.refused(|bytes| bytes.truncate(5)).await);
    let newer = world.refused(|bytes| bytes[8] = 2).await;
    assert!(matches!(newer, ArchiveError::Newer { found: 2 }), "{newer:?}");

    let truncated = |error| assert!(matches!(error, ArchiveError::Truncated), "{error:?}");
    truncated(world.refused(|bytes| bytes.truncate(50)).await);
    truncated(world.refused(|bytes| bytes.truncate(HEADER)).await);
    truncated(world.refused(|bytes| bytes.truncate(whole.len() - 1)).await);
    // Cut off right between two chunks.
    truncated(world.refused(|bytes| bytes.truncate(whole.len() - 65_552)).await);
    truncated(world.refused(|bytes| bytes.extend(b"more")).await);

    let damaged = |error| assert!(matches!(error, ArchiveError::Damaged(_)), "{error:?}");
    // Parameters, salt, nonce and check value; then the first, a middle and the last chunk, and the last tag.
    for place in
        [12, 25, 40, 60, 100, 200, whole.len() / 2, whole.len() - 70_000, whole.len() - 30_000, whole.len() - 1]
    {
        damaged(world.refused(|bytes| bytes[place] ^= 0x80).await);
    }
    damaged(world.refused(|bytes| bytes.extend(vec![0; 65_552])).await);
    // Two chunks that change places.
    damaged(world.refused(|bytes| bytes[HEADER..].rotate_left(65_552)).await);
    world.import().await.unwrap();
}

/// Bytes of the header.
const HEADER: usize = 121;

#[tokio::test]
async fn a_header_that_asks_for_a_gigabyte_is_not_obeyed() {
    let world = World::new().await;
    world.export().await.unwrap();
    let greedy = world
        .refused(|bytes| {
            bytes[10..14].copy_from_slice(&(1_u32 << 20).to_le_bytes());
            let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes[..HEADER - 32]);
            bytes[HEADER - 32..HEADER].copy_from_slice(&digest);
        })
        .await;
    assert!(matches!(&greedy, ArchiveError::Damaged(why) if why.contains("more work")), "{greedy:?}");
}

#[tokio::test]
async fn what_killed_ones_left_is_in_nobodys_way() {
    let world = World::new().await;
    // A killed export leaves its drafts, a killed import a directory.
    for name in ["archive.part", "archive.redb.part"] {
        fs::write(world.path(name), "half").unwrap();
    }
    world.export().await.unwrap();
    assert_eq!(world.names(), ["archive"]);
    fs::create_dir_all(world.path("data.importing/media/x")).unwrap();
    fs::write(world.path("data.importing/hearth.redb"), "half").unwrap();
    world.import().await.unwrap().put_in_place().unwrap();
    assert_eq!(world.names(), ["archive", "data"]);
}

#[tokio::test]
async fn whoever_calls_it_off_finds_nothing() {
    let world = World::new().await;
    let cancelled = Progress::new();
    cancelled.cancel();
    let to = world.path("archive");
    let export_off = export(&world.phone.home, secrets(1), passphrase(), &to, world.dir.path(), &cancelled).await;
    assert!(matches!(export_off, Err(ArchiveError::Cancelled(_))), "{export_off:?}");
    assert_eq!(world.names(), [""; 0]);
    world.export().await.unwrap();
    let import_off = import(&to, passphrase(), &world.layout(), &cancelled).await;
    assert!(matches!(import_off, Err(ArchiveError::Cancelled(_))), "{import_off:?}");
    drop(world.import().await.unwrap());
    assert_eq!(world.names(), ["archive"]);
}

#[tokio::test]
async fn a_key_of_another_server_is_refused() {
    let world = World::new().await;
    let to = world.path("archive");
    export(&world.phone.home, secrets(2), passphrase(), &to, world.dir.path(), &Progress::new()).await.unwrap();
    let error = world.import().await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Damaged(why) if why.contains("key")), "{error:?}");
}

#[test]
fn passphrases_are_what_people_type() {
    assert!(Passphrase::new("").is_err() && Passphrase::new(&"x".repeat(2_000)).is_err());
    assert_eq!(format!("{:?}", Passphrase::new("secret").unwrap()), "Passphrase");
}

#[tokio::test]
async fn one_passphrase_spelt_in_two_ways_is_one() {
    let world = World::new().await;
    let to = world.path("archive");
    let composed = Passphrase::new("cr\u{e8}me").unwrap();
    export(&world.phone.home, secrets(1), composed, &to, world.dir.path(), &Progress::new()).await.unwrap();
    world.import_with(Passphrase::new("cre\u{300}me").unwrap()).await.unwrap();
}

#[test]
fn the_header_is_as_long_as_the_tests_believe() {
    let mut out = Vec::new();
    let phone = Phone::new(1);
    let sealer = seal::Sealer::new(&mut out, &passphrase(), &*phone.home.ports.random).unwrap();
    drop(sealer);
    assert_eq!(out.len(), HEADER);
}
