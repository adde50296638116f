//! What the loop tells those who encrypt: whose keys may be out of date, and which servers are being asked right now.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ruma::{OwnedServerName, OwnedUserId, UserId};

use crate::home::Bell;

/// The loop's notice board.
#[derive(Debug, Default)]
pub(super) struct Reach {
    board: Mutex<Board>,
    progress: Bell,
    devices: AtomicU64,
}

/// Where the loop stands.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Users whose devices are unknown, or may be others by now.
    pub(super) stale: BTreeSet<OwnedUserId>,
    /// Servers within reach that are asked, or about to be.
    pub(super) busy: BTreeSet<OwnedServerName>,
    /// The wishes that the loop had heard of.
    pub(super) heard: u64,
}

impl Reach {
    /// Whether what is known of a user's devices may be out of date.
    pub(super) fn is_stale(&self, user: &UserId) -> bool {
        self.lock().stale.contains(user)
    }

    /// How often devices, or sessions with them, changed.
    pub(super) fn devices(&self) -> u64 {
        self.devices.load(Ordering::SeqCst)
    }

    /// Devices, or sessions with them, changed.
    pub(super) fn note_devices(&self) {
        self.devices.fetch_add(1, Ordering::SeqCst);
    }

    /// Puts up where the loop stands.
    pub(super) fn publish(&self, board: Board) {
        *self.lock() = board;
        self.progress.ring();
    }

    /// Waits until the loop has heard a wish, and asks none of some servers any more.
    pub(super) async fn settled(&self, wish: u64, servers: &BTreeSet<OwnedServerName>) {
        loop {
            let seen = self.progress.count();
            {
                let board = self.lock();
                if board.heard >= wish && board.busy.is_disjoint(servers) {
                    return;
                }
            }
            self.progress.after(seen).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
