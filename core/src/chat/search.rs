//! Search in one's own messages, newest first.
//!
//! There is no index of plain text on the disk: whoever gets hold of the file would read there what was encrypted. Instead
//! the timelines are walked backwards, all rooms as one stream by their clocks, and decrypted on the way, as lists do. A call
//! looks at a bounded number of messages and says where to go on, so a UI shows what was found so far and asks for more while
//! its person looks.
//!
//! A message is found by what it says now: an edit counts at the message that it changes, and what was deleted is gone.
//! Messages whose keys are missing are passed over, and found once the keys have come. Dropping the future ends the search.

mod walk;
mod words;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};

use self::{
    walk::{Walk, Walked},
    words::Words,
};
use super::{
    Chat, ChatError, Inner,
    reading::settled,
    timeline::{ItemContent, Reader},
};
use crate::{
    rooms::{Room, visibility::UserSight},
    store::{Result, RoomKey},
    types::{
        Millis,
        limits::{SEARCH_HITS_MAX, SEARCH_SCAN_MAX},
    },
};

/// Messages that are decrypted between two looks at the store.
const BATCH: usize = 50;

/// What a search found, as far as it looked.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The messages, newest first.
    pub hits: Vec<Hit>,
    /// Where to go on; `None` when everything was looked at. A page without hits may have one.
    pub next: Option<Cursor>,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub room_id: OwnedRoomId,
    /// Which.
    pub event_id: OwnedEventId,
    /// Whose.
    pub sender: OwnedUserId,
    /// When, by the sender's clock.
    pub ts: Millis,
    /// What of it to show, in one line.
    pub snippet: String,
}

/// Where a search goes on, as a text that can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

impl Cursor {
    fn of(places: &[(RoomKey, u64)]) -> Result<Self> {
        let places: Vec<(u32, u64)> = places.iter().map(|(room, below)| (room.0, *below)).collect();
        Ok(Self(URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&places)?)))
    }

    fn places(&self) -> Option<Vec<(RoomKey, u64)>> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        let places: Vec<(u32, u64)> = postcard::from_bytes(&bytes).ok()?;
        Some(places.into_iter().map(|(room, below)| (RoomKey(room), below)).collect())
    }
}

impl Chat {
    /// Searches for messages that hold all words of `query`, in one room or in all that the person is or was in. Goes on from
    /// where a page ended. A page has `limit` hits at the most, and fewer when there was much to look at.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for a query without words or with too many, and for a cursor that is none;
    /// [`ChatError::NotFound`] for a room that the person cannot read; the store's.
    pub async fn search(
        &self,
        query: &str,
        room: Option<&RoomId>,
        from: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, ChatError> {
        let invalid = |why: &str| ChatError::Invalid(why.into());
        let words = Words::new(query).ok_or_else(|| invalid("a search takes between one and sixteen words"))?;
        let places = match from {
            Some(cursor) => cursor.places().ok_or_else(|| invalid("this is not where a search ended"))?,
            None => walk::starts(&self.inner, room)?,
        };
        Ok(search(&self.inner, &words, places, limit.clamp(1, SEARCH_HITS_MAX)).await?)
    }
}

async fn search(inner: &Inner, words: &Words, mut places: Vec<(RoomKey, u64)>, limit: usize) -> Result<Page> {
    let mut page = Page::default();
    let mut looked_at = 0;
    while page.hits.len() < limit && looked_at < SEARCH_SCAN_MAX && !places.is_empty() {
        let walked = Walk::new(inner, &places)?.messages(inner, BATCH)?;
        looked_at += walked.events;
        let found = settled(inner, |look| {
            let view = look.view;
            let mut found = Vec::with_capacity(walked.messages.len());
            for (room, stored) in &walked.messages {
                let Some(room) = Room::by_key(view, *room)? else { continue };
                let names = inner.reads.names(view, &room)?;
                let sight = UserSight::new(view, room.key, &inner.me.user)?;
                let version = Reader { look, room: &room, names: &names, sight }.version(stored)?;
                found.push(version.and_then(|version| find(words, &version.content)));
            }
            Ok(found)
        })
        .await?;
        take(&mut page, &mut places, walked, found, limit)?;
        // A search that only decrypts never waits, and must not hold the other tasks of this thread up.
        tokio::task::yield_now().await;
    }
    page.next = if places.is_empty() { None } else { Some(Cursor::of(&places)?) };
    Ok(page)
}

/// Takes what was found in a batch, up to the limit, and moves the places as far as was looked.
fn take(
    page: &mut Page,
    places: &mut Vec<(RoomKey, u64)>,
    walked: Walked,
    found: Vec<Option<String>>,
    limit: usize,
) -> Result<()> {
    for ((room, stored), snippet) in walked.messages.into_iter().zip(found) {
        if page.hits.len() >= limit {
            // The batch goes on below the last hit, and that is where the next page begins.
            return Ok(());
        }
        if let Some(place) = places.iter_mut().find(|(key, _)| *key == room) {
            place.1 = stored.header.pos;
        }
        let Some(snippet) = snippet else { continue };
        let (room_id, event_id, sender) = (stored.pdu.room_id, stored.pdu.event_id, stored.pdu.sender);
        page.hits.push(Hit { room_id, event_id, sender, ts: stored.pdu.origin_server_ts, snippet });
    }
    *places = walked.places;
    Ok(())
}

/// What of a message to show, if all words are in it.
fn find(words: &Words, content: &ItemContent) -> Option<String> {
    match content {
        ItemContent::Text { body, .. } => words.find(body),
        ItemContent::Media(attachment) => match &attachment.caption {
            Some(caption) => words.find(&format!("{caption} ({})", attachment.name)),
            None => words.find(&attachment.name),
        },
        _ => None,
    }
}
