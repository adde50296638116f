//! Hearing: to-device messages and changed device lists go into the machine, and are acknowledged once it has kept them.
//!
//! A kill in between repeats messages, which the machine knows. Invariant: no message can hold up those behind it.

use std::{collections::BTreeSet, panic::AssertUnwindSafe};

use futures::FutureExt;
use matrix_sdk_common::deserialized_responses::ProcessedToDeviceEvent;
use matrix_sdk_crypto::EncryptionSyncChanges;
use ruma::{
    OwnedDeviceId, OwnedUserId, api::client::sync::sync_events::DeviceLists, events::AnyToDeviceEvent, serde::Raw,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CryptoError, decrypt::SETTINGS, rounds::Rounds};
use crate::{
    keys::{self, News},
    types::{SyncToken, limits::VERIFICATIONS_WAITING_MAX},
};

const KEY_REQUEST: &str = "m.room_key_request";
const VERIFICATION: &str = "m.key.verification.";
const VERIFICATION_REQUEST: &str = "m.key.verification.request";

/// What we read of a message ourselves.
#[derive(Deserialize)]
struct Head<'a> {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FromDevice {
    from_device: OwnedDeviceId,
}

impl Rounds {
    /// Hears all that there is.
    pub(super) async fn hear(&mut self) -> Result<(), CryptoError> {
        loop {
            let (home, me) = (self.inner.home.clone(), self.inner.me.clone());
            // The end of the log is read first: whatever the snapshot has beyond is heard next time.
            let last = SyncToken(*home.store.log_watch().borrow());
            let news = keys::news(&home.store.snapshot()?, &me, self.place, last)?;
            let (reached, any) = (news.reached, !news.to_device.is_empty());
            self.take_news(news).await?;
            if any {
                keys::acknowledge(&home, &me, reached).await?;
            }
            self.place = Some(reached);
            if reached >= last {
                return Ok(());
            }
        }
    }

    async fn take_news(&mut self, news: News) -> Result<(), CryptoError> {
        let counts = (news.one_time_keys, news.unused_fallback);
        let lists = news.device_lists;
        let is_quiet = news.to_device.is_empty() && lists.changed.is_empty() && lists.left.is_empty();
        if is_quiet && self.counts.as_ref() == Some(&counts) && !self.inner.crypto.flows.is_late() {
            return Ok(());
        }
        self.counts = Some(counts);
        self.changed.extend(lists.changed.iter().cloned());
        let mut events = Vec::new();
        for event in news.to_device {
            events.extend(self.sort(event).await?);
        }
        let fed = self.feed(events, &lists).await;
        if fed.is_err() {
            // The machine did not hear of them.
            self.counts = None;
        }
        fed
    }

    /// Takes out what is not for the machine, or not yet.
    async fn sort(&mut self, event: Raw<AnyToDeviceEvent>) -> Result<Option<Raw<AnyToDeviceEvent>>, CryptoError> {
        // What does not even parse so far is for the machine to refuse.
        let Ok(Head { sender, kind, content }) = serde_json::from_str(event.json().get()) else {
            return Ok(Some(event));
        };
        match (kind.as_str(), content) {
            (KEY_REQUEST, Some(content)) if sender != self.inner.me.user => {
                self.answer(&sender, content).await?;
                Ok(None)
            }
            (VERIFICATION_REQUEST, Some(content)) => match serde_json::from_str::<FromDevice>(content.get()) {
                // The machine passes over requests from devices that it does not know.
                Ok(FromDevice { from_device }) if !self.knows(&sender, &from_device).await? => {
                    if self.held.len() >= VERIFICATIONS_WAITING_MAX {
                        self.held.remove(0);
                    }
                    self.held.push(event);
                    self.refresh(sender);
                    Ok(None)
                }
                _ => Ok(Some(event)),
            },
            _ => Ok(Some(event)),
        }
    }

    pub(super) async fn knows(&self, user: &ruma::UserId, device: &ruma::DeviceId) -> Result<bool, CryptoError> {
        Ok(self.inner.crypto.machine.get_device(user, device, None).await?.is_some())
    }

    /// Gives the machine the verification requests that waited for their senders' devices.
    pub(super) async fn feed_held(&mut self, users: &BTreeSet<OwnedUserId>) -> Result<(), CryptoError> {
        let is_theirs = |event: &Raw<AnyToDeviceEvent>| {
            serde_json::from_str::<Head<'_>>(event.json().get()).is_ok_and(|head| users.contains(&head.sender))
        };
        let (theirs, held) = std::mem::take(&mut self.held).into_iter().partition(is_theirs);
        self.held = held;
        let theirs: Vec<_> = theirs;
        if theirs.is_empty() { Ok(()) } else { self.feed(theirs, &DeviceLists::new()).await }
    }

    /// Gives the machine messages and changed lists. A message that it panics over is passed over.
    async fn feed(&mut self, events: Vec<Raw<AnyToDeviceEvent>>, lists: &DeviceLists) -> Result<(), CryptoError> {
        if let Some(fed) = self.try_feed(events.clone(), lists).await {
            return fed;
        }
        for event in events {
            match self.try_feed(vec![event], lists).await {
                Some(fed) => fed?,
                None => tracing::error!("a to-device message that the encryption machine gives up on is passed over"),
            }
        }
        Ok(())
    }

    /// `None` when the machine panicked.
    async fn try_feed(
        &mut self,
        events: Vec<Raw<AnyToDeviceEvent>>,
        lists: &DeviceLists,
    ) -> Option<Result<(), CryptoError>> {
        let (one_time, fallback) = self.counts.clone().unwrap_or_default();
        let changes = EncryptionSyncChanges {
            to_device_events: events,
            changed_devices: lists,
            one_time_keys_counts: &one_time,
            unused_fallback_keys: Some(&fallback),
            next_batch_token: None,
        };
        let fed = AssertUnwindSafe(self.inner.crypto.machine.receive_sync_changes(changes, &SETTINGS));
        let (events, keys) = match fed.catch_unwind().await.ok()? {
            Ok(fed) => fed,
            Err(error) => return Some(Err(error.into())),
        };
        for key in &keys {
            self.inner.crypto.asks.arrived(&key.room_id, &key.session_id);
        }
        if !keys.is_empty() {
            self.inner.changes.ring();
        }
        for event in &events {
            self.note(event);
        }
        Some(if keys.is_empty() { Ok(()) } else { self.read_locked().await })
    }

    /// Looks for what a verification did.
    fn note(&self, event: &ProcessedToDeviceEvent) {
        if matches!(event, ProcessedToDeviceEvent::UnableToDecrypt { .. } | ProcessedToDeviceEvent::Invalid(_)) {
            return;
        }
        let Ok(head) = serde_json::from_str::<Head<'_>>(event.as_raw().json().get()) else { return };
        if head.kind.starts_with(VERIFICATION) {
            self.inner.crypto.flows.notice(&self.inner.crypto.machine, &head.sender);
        }
    }
}
