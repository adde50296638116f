//! Who is typing in a room, and saying that we are.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId};
use tokio::sync::watch;

use super::Room;
use crate::{
    chat::{ChatError, Inner, Seen},
    rooms::{self, typing},
    store::UserKey,
    types::limits::TYPING_TIMEOUT_DEFAULT,
    users::ignored,
};

/// Somebody who is typing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typist {
    /// Who.
    pub user: OwnedUserId,
    /// The name that they are shown by.
    pub name: String,
}

/// Who is typing in a room. One consumer asks it.
pub struct TypingFeed {
    inner: Arc<Inner>,
    room: OwnedRoomId,
    state: tokio::sync::Mutex<Option<(Seen, Vec<Typist>)>>,
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for TypingFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypingFeed").field("room", &self.room).finish_non_exhaustive()
    }
}

impl Room {
    /// Says that we are typing, for half a minute or until it is said again, or that we are not. A UI repeats it while
    /// somebody types. Sending a message ends it by itself only if the UI says so.
    ///
    /// # Errors
    /// [`ChatError::Forbidden`] for who is not in the room.
    pub fn set_typing(&self, typing: bool) -> Result<(), ChatError> {
        Ok(typing::set(&self.inner.home, &self.inner.me.user, &self.id, typing, TYPING_TIMEOUT_DEFAULT)?)
    }

    /// Who else is typing.
    pub fn typing(&self) -> TypingFeed {
        TypingFeed {
            inner: self.inner.clone(),
            room: self.id.clone(),
            state: tokio::sync::Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }
}

impl TypingFeed {
    /// Who is typing now, without us and without who is blocked: at once the first time, and then whenever it is somebody else.
    /// `None` once the feed was stopped or the client has ended.
    pub async fn next(&self) -> Option<Vec<Typist>> {
        let mut state = self.state.lock().await;
        loop {
            if let Some((seen, _)) = &*state {
                self.moved(*seen).await.ok()?;
            }
            let seen = self.inner.seen();
            let now = self.typists().ok()?;
            let is_news = state.as_ref().is_none_or(|(_, shown)| *shown != now);
            *state = Some((seen, now.clone()));
            if is_news {
                return Some(now);
            }
        }
    }

    /// Ends the feed: a waiting [`TypingFeed::next`] answers `None`.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    async fn moved(&self, mut seen: Seen) -> Result<(), ChatError> {
        let mut stopped = self.stopped.subscribe();
        loop {
            let is_over = async { drop(stopped.wait_for(|stopped| *stopped).await) };
            tokio::select! {
                biased;
                () = is_over => return Err(ChatError::Closed),
                moved = self.inner.changed_after(seen) => moved?,
            }
            let now = self.inner.seen();
            // Somebody may have been blocked, which is no news of typing.
            if now.typing != seen.typing || now.changes != seen.changes {
                return Ok(());
            }
            seen = now;
        }
    }

    fn typists(&self) -> Result<Vec<Typist>, ChatError> {
        let view = self.inner.home.store.snapshot()?;
        let Some(room) = rooms::Room::find(&view, &self.room)? else { return Ok(Vec::new()) };
        let names = self.inner.reads.names(&view, &room)?;
        let (me, blocked) = (&self.inner.me, ignored::of(&view, self.inner.me.user_key)?);
        let mut typists = Vec::new();
        for user in self.inner.home.typing(room.key) {
            if user == me.user || blocked.contains(&user) {
                continue;
            }
            if let Some(key) = UserKey::find(&view, &user)? {
                let shown = names.show(&view, &room, key)?;
                typists.push(Typist { user, name: shown.name });
            }
        }
        Ok(typists)
    }
}
