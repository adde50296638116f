//! The vault: who opens it, what opens in it, and that nothing does after its end.
#![allow(clippy::unwrap_used)]

use assert_matches::assert_matches;
use ruma::server_name;

use super::*;
use crate::store::{Backend, CrashDisk, StoreConfig};

fn on(disk: &CrashDisk) -> Store {
    let backend = Backend::Crash(disk.clone());
    Store::open(&StoreConfig { backend, ..StoreConfig::memory() }, server_name!("a.example")).unwrap()
}

/// The plug is pulled, and the phone starts again.
fn restart(disk: &CrashDisk, store: Store) -> Store {
    disk.crash();
    store.kill();
    on(disk)
}

fn key(byte: u8) -> StoreKey {
    StoreKey::new([byte; 32])
}

async fn open(store: &Store, byte: u8) -> Result<Vault, VaultError> {
    Vault::open_or_create(store, &key(byte)).await
}

#[tokio::test]
async fn what_is_sealed_opens_for_its_own_table_after_a_crash_right_after_the_first_start() {
    let disk = CrashDisk::new();
    let store = on(&disk);
    let vault = open(&store, 1).await.unwrap();
    let (sealed, again) = (vault.seal("letters", b"meet me at noon").unwrap(), vault.seal("letters", b"").unwrap());
    let name = vault.hash("letters", b"bob").unwrap();
    assert!(!sealed.windows(4).any(|part| part == b"noon"));
    assert_ne!(sealed, vault.seal("letters", b"meet me at noon").unwrap(), "a nonce is never used twice");

    let store = restart(&disk, store);
    let vault = open(&store, 1).await.unwrap();
    assert_eq!(vault.open("letters", &sealed).unwrap().as_slice(), b"meet me at noon");
    assert_eq!(vault.open("letters", &again).unwrap().as_slice(), b"");
    assert_eq!(vault.hash("letters", b"bob").unwrap(), name);
    assert_ne!(vault.hash("parcels", b"bob").unwrap(), name);
    assert_ne!(vault.hash("letters", b"rob").unwrap(), name);
    assert_matches!(vault.open("parcels", &sealed), Err(VaultError::Unreadable { .. }));
    let mut broken = sealed.clone();
    *broken.get_mut(10).unwrap() ^= 1;
    assert_matches!(vault.open("letters", &broken), Err(VaultError::Unreadable { .. }));
    for len in 0..sealed.len() {
        assert_matches!(vault.open("letters", sealed.get(..len).unwrap()), Err(VaultError::Unreadable { .. }));
    }
}

#[tokio::test]
async fn a_wrong_store_key_says_so_and_changes_nothing() {
    let store = on(&CrashDisk::new());
    let sealed = open(&store, 1).await.unwrap().seal("letters", b"noon").unwrap();
    let before = row(&store.snapshot().unwrap()).unwrap();
    let error = open(&store, 2).await.unwrap_err();
    assert_matches!(error, VaultError::WrongKey);
    assert!(error.to_string().contains("keystore"));
    assert_eq!(row(&store.snapshot().unwrap()).unwrap(), before);
    assert_eq!(open(&store, 1).await.unwrap().open("letters", &sealed).unwrap().as_slice(), b"noon");
}

#[tokio::test]
async fn a_new_store_key_opens_what_the_old_one_sealed_and_the_old_one_opens_nothing() {
    let disk = CrashDisk::new();
    let store = on(&disk);
    let vault = open(&store, 1).await.unwrap();
    let sealed = vault.seal("letters", b"noon").unwrap();
    vault.rewrap(&store, &key(2)).await.unwrap();
    let store = restart(&disk, store);
    assert_matches!(open(&store, 1).await, Err(VaultError::WrongKey));
    assert_eq!(open(&store, 2).await.unwrap().open("letters", &sealed).unwrap().as_slice(), b"noon");
}

#[tokio::test]
async fn a_destroyed_vault_opens_nothing_now_or_after_a_restart_and_no_other_takes_its_place() {
    let disk = CrashDisk::new();
    let store = on(&disk);
    let vault = open(&store, 1).await.unwrap();
    let sealed = vault.seal("letters", b"noon").unwrap();
    vault.destroy(&store).await.unwrap();
    assert_matches!(vault.open("letters", &sealed), Err(VaultError::Destroyed));
    assert_matches!(vault.seal("letters", b"noon"), Err(VaultError::Destroyed));
    assert_matches!(vault.hash("letters", b"bob"), Err(VaultError::Destroyed));
    assert_matches!(vault.rewrap(&store, &key(1)).await, Err(VaultError::Destroyed));

    let store = restart(&disk, store);
    assert_matches!(open(&store, 1).await, Err(VaultError::Destroyed));
    let kept = row(&store.snapshot().unwrap()).unwrap();
    assert_eq!(kept, Some(VaultRecord::Destroyed), "the wrapped key is gone from the table");
}

#[tokio::test]
async fn a_vault_that_is_open_elsewhere_is_not_wrapped_again_after_its_end() {
    let store = on(&CrashDisk::new());
    let vault = open(&store, 1).await.unwrap();
    Vault::destroy_closed(&store).await.unwrap();
    assert_matches!(vault.rewrap(&store, &key(1)).await, Err(VaultError::Destroyed));
    assert_matches!(open(&store, 1).await, Err(VaultError::Destroyed));
}

#[tokio::test]
async fn two_who_open_at_once_share_one_vault() {
    let store = on(&CrashDisk::new());
    let (one, two) = futures::join!(open(&store, 1), open(&store, 1));
    let sealed = one.unwrap().seal("letters", b"noon").unwrap();
    assert_eq!(two.unwrap().open("letters", &sealed).unwrap().as_slice(), b"noon");
    assert_eq!(format!("{:?}", key(1)), "StoreKey");
}
