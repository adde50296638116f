//! The functions that the on-device client calls, and what a kill leaves behind.

use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use ruma::OwnedMxcUri;

use super::*;
use crate::{
    api::testing::{Person, Phone},
    home::Registration,
    store::{Backend, BlobPlace, CrashDisk, MemoryDisk, StoreConfig},
};

const WAIT: Duration = Duration::from_secs(5);

fn pieces(content: &[u8]) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces: Vec<_> = content.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

fn picture() -> NewMedia {
    NewMedia { content_type: Some("image/png".into()), filename: Some("cat.png".into()) }
}

async fn stored(phone: &Phone, person: &Person, content: &[u8]) -> OwnedMxcUri {
    store_file(&phone.home, &person.user, pieces(content), picture(), |_| {}).await.unwrap()
}

fn large() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n % 253) as u8).collect()
}

#[tokio::test]
async fn a_file_is_stored_with_progress_and_opened_again() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let told = Mutex::new(Vec::new());
    let progress = |bytes| told.lock().unwrap().push(bytes);
    let uri = store_file(&phone.home, &ana.user, pieces(&large()), picture(), progress).await.unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!((told.len(), told.first(), told.last()), (100, Some(&10_000), Some(&1_000_000)));
    let opened = open(&phone.home, &uri, WAIT).await.unwrap();
    assert_eq!((opened.len, opened.meta.content_type.as_str()), (1_000_000, "image/png"));
    assert_eq!(opened.meta.filename.as_deref(), Some("cat.png"));
    let read: Vec<Bytes> = opened.into_stream().try_collect().await.unwrap();
    assert!(read.iter().all(|piece| piece.len() <= 64 << 10));
    assert_eq!(read.concat(), large());
    assert_eq!(read_all(&phone.home, &uri, WAIT, 1_000_000).await.unwrap(), large());
    let refused = read_all(&phone.home, &uri, WAIT, 999_999).await;
    assert!(matches!(refused, Err(MediaError::TooLarge { bytes_max: 999_999 })), "{refused:?}");
    assert!(is_here(&phone.home, &uri).unwrap());
    assert!(matches!(open(&phone.home, "mxc://no".into(), WAIT).await, Err(MediaError::NotFound)));
}

#[tokio::test]
async fn a_source_that_fails_or_is_given_up_leaves_nothing() {
    let phone = Phone::new(1);
    let ana = phone.person("ana").await;
    let breaks = stream::iter([Ok(Bytes::from_static(b"half")), Err(io::Error::other("the card was pulled out"))]);
    let failed = store_file(&phone.home, &ana.user, breaks, picture(), |_| {}).await;
    assert!(matches!(failed, Err(MediaError::Source(_))), "{failed:?}");
    let stalls = pieces(&large()).chain(stream::pending());
    let given_up = store_file(&phone.home, &ana.user, stalls, picture(), |_| {});
    assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
    assert_eq!(phone.home.repository.blobs.count(), (0, 0));
}

#[tokio::test]
async fn a_file_from_afar_tells_its_progress_to_all_who_wait() {
    let (ana, ben) = (Phone::new(1), Phone::new(2));
    ben.meets(&ana);
    let anas = ana.person("ana").await;
    let uri = stored(&ana, &anas, &large()).await;
    assert!(!is_here(&ben.home, &uri).unwrap());
    let told: [Arc<Mutex<Vec<Progress>>>; 2] = Default::default();
    let fetch = |told: &Arc<Mutex<Vec<Progress>>>| {
        let (told, home, uri) = (told.clone(), ben.home.clone(), uri.clone());
        async move { fetch_with_progress(&home, &uri, WAIT, |now| told.lock().unwrap().push(now)).await }
    };
    let (one, two) = futures::join!(fetch(&told[0]), fetch(&told[1]));
    one.and(two).unwrap();
    assert_eq!(ben.streams().asked.len(), 1, "fetched once");
    for told in told {
        let told = told.lock().unwrap();
        let last = Progress { done: 1_000_000, total: Some(1_000_000) };
        assert!(told.len() > 10 && told.last() == Some(&last), "{told:?}");
        assert!(told.is_sorted_by_key(|progress| progress.done), "{told:?}");
    }
    assert_eq!(read_all(&ben.home, &uri, WAIT, 1 << 20).await.unwrap(), large());
}

/// A phone whose disks outlive it.
fn phone_on(disk: &CrashDisk, files: &MemoryDisk) -> Phone {
    let store = StoreConfig { backend: Backend::Crash(disk.clone()), ..StoreConfig::memory() };
    Phone::open(1, Registration::Open, &store, &MediaConfig::at(BlobPlace::Memory(files.clone())))
}

#[tokio::test]
async fn a_kill_between_a_file_and_its_row_leaves_nothing_after_the_next_start() {
    let (disk, files) = (CrashDisk::new(), MemoryDisk::new());
    let phone = phone_on(&disk, &files);
    let ana = phone.person("ana").await;
    let kept = stored(&phone, &ana, b"kept").await;
    // The database goes when the last piece is read: the file is finished and named, and no row is written.
    let home = phone.home.clone();
    let dies = pieces(b"lost").chain(stream::once(async move {
        home.store.kill();
        Ok(Bytes::from_static(b"!"))
    }));
    let dies = Box::pin(dies);
    let failed = store_file(&phone.home, &ana.user, dies, picture(), |_| {}).await;
    assert!(matches!(failed, Err(MediaError::Store(_))), "{failed:?}");
    assert_eq!(phone.home.repository.blobs.count(), (2, 0), "a file that no row knows");
    drop(phone);
    let phone = phone_on(&disk, &files);
    assert_eq!(phone.home.repository.blobs.count(), (1, 0));
    assert_eq!(read_all(&phone.home, &kept, WAIT, 100).await.unwrap(), "kept");
}

#[tokio::test]
async fn what_was_answered_survives_the_battery() {
    let (disk, files) = (CrashDisk::new(), MemoryDisk::new());
    let phone = phone_on(&disk, &files);
    let ana = phone.person("ana").await;
    let uri = stored(&phone, &ana, &large()).await;
    disk.crash();
    files.crash();
    phone.home.store.kill();
    let phone = phone_on(&disk, &files);
    assert_eq!(read_all(&phone.home, &uri, WAIT, 1 << 20).await.unwrap(), large());
}

#[tokio::test]
async fn a_transfer_goes_on_after_a_restart() {
    let (disk, files) = (CrashDisk::new(), MemoryDisk::new());
    let ben = Phone::new(2);
    let bens = ben.person("ben").await;
    let uri = stored(&ben, &bens, &large()).await;
    let phone = phone_on(&disk, &files);
    phone.meets(&ben);
    phone.streams().break_after = Some(600_000);
    let broken = open(&phone.home, &uri, WAIT).await;
    assert!(matches!(broken, Err(MediaError::Unreachable(_))), "{broken:?}");
    phone.home.store.close().unwrap();
    drop(phone);
    let phone = phone_on(&disk, &files);
    phone.meets(&ben);
    assert_eq!(read_all(&phone.home, &uri, WAIT, 1 << 20).await.unwrap(), large());
    let ranges: Vec<_> = phone.streams().asked.iter().map(|(_, range)| range.clone()).collect();
    assert!(matches!(ranges.as_slice(), [Some(range)] if range.len() > "bytes=50000-".len()), "{ranges:?}");
    assert_eq!(phone.home.repository.blobs.count(), (1, 0));
}

#[tokio::test]
async fn only_so_many_broken_transfers_are_kept() {
    use crate::{store::StoreError, types::limits::MEDIA_PARTS_BYTES_MAX};
    let phone = Phone::new(1);
    let part = |number: u8, len| PartRecord {
        number: number.into(),
        hash: [number; 32],
        etag: "\"tag\"".into(),
        head: 100,
        len,
        content_type: "a/b".into(),
        filename: None,
    };
    let put = async |number: u8, len, flying: &[u8]| {
        let flying = flying.iter().map(|number| [*number; 32]).collect();
        let job =
            move |tx: &mut crate::store::WriteTx<'_>| rows::put_part(tx, &[number; 32], &part(number, len), &flying);
        phone.home.store.write::<_, StoreError, _>(job).await.unwrap()
    };
    let half = MEDIA_PARTS_BYTES_MAX / 2;
    assert_eq!(put(1, half, &[1]).await, [] as [u64; 0]);
    assert_eq!(put(2, half, &[2]).await, [] as [u64; 0]);
    // One that somebody works on stays.
    assert_eq!(put(3, half, &[1, 3]).await, [2]);
    // A new transfer of a file replaces the old one.
    assert_eq!(put(3, half, &[3]).await, [3]);
}
