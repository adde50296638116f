//! Both kinds of disk keep the same promises.

use std::io;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::*;

const TEXT: &[u8] = b"a picture of a cat";

fn places() -> (tempfile::TempDir, [BlobPlace; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let places = [BlobPlace::Folder(folder.path().join("media")), BlobPlace::Memory(MemoryDisk::new())];
    (folder, places)
}

async fn kept(blobs: &Blobs, content: &[u8]) -> BlobHash {
    let mut draft = blobs.draft().await.unwrap();
    draft.write(content).await.unwrap();
    let finished = draft.finish().await.unwrap();
    let hash = finished.hash;
    assert_eq!((hash, finished.len), (Sha256::digest(content).into(), content.len() as u64));
    blobs.keep(finished).await.unwrap();
    hash
}

async fn bytes(blobs: &Blobs, hash: BlobHash, range: Range<u64>) -> io::Result<Vec<u8>> {
    let pieces: Vec<Bytes> = blobs.read(hash).await?.stream(range).try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn what_is_kept_is_read_whole_and_in_part_and_survives_a_new_opening() {
    let (_folder, places) = places();
    for place in places {
        let blobs = Blobs::open(&place).unwrap();
        let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let hash = kept(&blobs, &large).await;
        drop(blobs);
        let blobs = Blobs::open(&place).unwrap();
        assert_eq!(blobs.read(hash).await.unwrap().len(), 300_000);
        assert_eq!(bytes(&blobs, hash, 0..300_000).await.unwrap(), large);
        assert_eq!(bytes(&blobs, hash, 65_530..200_001).await.unwrap(), large[65_530..200_001]);
        assert_eq!(bytes(&blobs, hash, 7..7).await.unwrap(), b"");
        assert!(bytes(&blobs, hash, 299_999..300_001).await.is_err(), "beyond the end");
        // The same content again is the same blob.
        assert_eq!(kept(&blobs, &large).await, hash);
        assert_eq!(blobs.count(), (1, 0));
    }
}

#[tokio::test]
async fn what_nobody_wants_leaves_no_file() {
    let (_folder, places) = places();
    for place in places {
        let blobs = Blobs::open(&place).unwrap();
        let mut draft = blobs.draft().await.unwrap();
        draft.write(TEXT).await.unwrap();
        assert_eq!(blobs.count(), (0, 1));
        drop(draft);
        assert_eq!(blobs.count(), (0, 0));
        let mut draft = blobs.draft().await.unwrap();
        draft.write(TEXT).await.unwrap();
        drop(draft.finish().await.unwrap());
        assert_eq!(blobs.count(), (0, 0));
        assert!(blobs.read([7; 32]).await.is_err());
    }
}

#[tokio::test]
async fn a_part_that_stays_is_gone_on_with() {
    let (_folder, places) = places();
    for place in places {
        let blobs = Blobs::open(&place).unwrap();
        let mut draft = blobs.draft().await.unwrap();
        draft.stay();
        draft.write(b"a picture ").await.unwrap();
        draft.flush().await.unwrap();
        draft.write(b"never flushed").await.unwrap();
        let number = draft.number();
        drop(draft);
        let blobs = Blobs::open(&place).unwrap();
        let mut draft = blobs.resume(number).await.unwrap();
        assert_eq!(draft.len(), 10);
        draft.write(b"of a cat").await.unwrap();
        let finished = draft.finish().await.unwrap();
        assert_eq!(finished.hash, <[u8; 32]>::from(Sha256::digest(TEXT)));
        assert!(blobs.draft().await.unwrap().number() > number, "a number is not given twice");
        drop(finished);
        assert!(blobs.resume(number).await.is_err());
    }
}

#[tokio::test]
async fn the_sweep_removes_what_no_row_knows() {
    let (_folder, places) = places();
    for place in places {
        let blobs = Blobs::open(&place).unwrap();
        let (known, unknown) = (kept(&blobs, b"known").await, kept(&blobs, b"unknown").await);
        for _ in 0..2 {
            let mut draft = blobs.draft().await.unwrap();
            draft.write(TEXT).await.unwrap();
            draft.flush().await.unwrap();
            draft.stay();
        }
        assert_eq!(blobs.count(), (2, 2));
        let known_part = 2;
        blobs.sweep(|hash| Ok(*hash == known), &BTreeSet::from([known_part])).unwrap();
        assert_eq!(blobs.count(), (1, 1));
        assert!(blobs.read(known).await.is_ok() && blobs.read(unknown).await.is_err());
        assert!(blobs.resume(known_part).await.is_ok());
    }
}

#[tokio::test]
async fn a_crash_loses_what_was_not_synced_and_nothing_else() {
    let disk = MemoryDisk::new();
    let place = BlobPlace::Memory(disk.clone());
    let blobs = Blobs::open(&place).unwrap();
    let hash = kept(&blobs, TEXT).await;
    let mut draft = blobs.draft().await.unwrap();
    draft.stay();
    draft.write(TEXT).await.unwrap();
    draft.flush().await.unwrap();
    disk.crash();
    assert!(blobs.read(hash).await.is_err(), "a server that was killed reads no more");
    assert!(blobs.draft().await.is_err(), "nor does it write");
    let after = Blobs::open(&place).unwrap();
    assert_eq!(after.count(), (1, 0));
    assert_eq!(bytes(&after, hash, 0..TEXT.len() as u64).await.unwrap(), TEXT);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_being_read_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobPlace::Folder(folder.path().to_owned())).unwrap();
    let hash = kept(&blobs, TEXT).await;
    let path = blobs.path(&hash).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), TEXT);
    let open = blobs.read(hash).await.unwrap();
    blobs.remove(vec![hash], ()).await;
    assert!(!path.exists());
    let read: Vec<Bytes> = open.stream(0..TEXT.len() as u64).try_collect().await.unwrap();
    assert_eq!(read.concat(), TEXT);
}
