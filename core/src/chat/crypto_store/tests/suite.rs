//! matrix-sdk-crypto's own suite, which every crypto store must pass.
//!
//! A store that a test opens again is one after a crash: the plug is pulled in between, so every save that was answered is
//! shown to be on disk.
// The suite's macros look at features of the crate that they come from.
#![allow(unexpected_cfgs)]

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use matrix_sdk_crypto::{cryptostore_integration_tests, cryptostore_integration_tests_time};
use ruma::{device_id, user_id};

use super::{Desk, RedbCryptoStore};
use crate::store::{CrashDisk, Store};

/// The disk of each test, and the database that is or was open on it.
static DISKS: LazyLock<Mutex<BTreeMap<String, (CrashDisk, Store)>>> = LazyLock::new(Mutex::default);

async fn get_store(name: &str, _passphrase: Option<&str>, clear_data: bool) -> RedbCryptoStore {
    let earlier = DISKS.lock().unwrap().remove(name).filter(|_| !clear_data);
    let disk = match earlier {
        Some((disk, store)) => {
            disk.crash();
            store.kill();
            disk
        }
        None => CrashDisk::new(),
    };
    // One test of the suite is about another person.
    let (user, device) = match name {
        "user_saving" => (user_id!("@example:localhost"), device_id!("WSKKLTJZCL")),
        _ => (user_id!("@alice:example.org"), device_id!("ALICEDEVICE")),
    };
    let Desk { db, disk, store } = Desk::on(disk, user, device).await;
    DISKS.lock().unwrap().insert(name.to_owned(), (disk, db));
    store
}

cryptostore_integration_tests!();
cryptostore_integration_tests_time!();
