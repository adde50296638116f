//! The file of an item, for who wants to open it.

use super::{ItemContent, ItemId, Reader, Timeline, no_item};
use crate::{
    chat::{ChatError, attachment::Attachment, reading::settled},
    rooms::{Room, visibility::UserSight},
    store::Stored,
};

impl Timeline {
    /// The file of an item, whether the item is shown now or not.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] for an item that is not there, that has no file, or that cannot be read.
    pub async fn attachment(&self, item: &ItemId) -> Result<Attachment, ChatError> {
        let shown = self.lock_items().iter().find(|shown| shown.id == *item).map(|shown| shown.content.clone());
        let content = match shown {
            Some(content) => Some(content),
            None => self.content_of(item).await?,
        };
        match content.ok_or_else(|| no_item(item))? {
            ItemContent::Media(attachment) => Ok(attachment),
            _ => Err(ChatError::NotFound(format!("the message {} has no file", item.0))),
        }
    }

    async fn content_of(&self, item: &ItemId) -> Result<Option<ItemContent>, ChatError> {
        let (event, inner) = (self.event_of(item)?, &self.inner);
        let read = settled(inner, |look| {
            let Some(room) = Room::find(look.view, &self.room)? else { return Ok(None) };
            let Some(stored) = Stored::by_id(look.view, &event)? else { return Ok(None) };
            let names = inner.reads.names(look.view, &room)?;
            let mut sight = UserSight::new(look.view, room.key, &inner.me.user)?;
            if stored.header.room != room.key || !sight.sees(&stored)? {
                return Ok(None);
            }
            Reader { look, room: &room, names: &names, sight }.version(&stored)
        });
        Ok(read.await?.map(|version| version.content))
    }
}
