//! The commands, each with its answer.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hearth_core::{
    chat::{
        Chat, ItemContent, ItemId, NewRoom, Progress, Reach, Recovery, SendState, TextMessage, Timeline, Verification,
        attachment::{FileInfo, Kind, Source},
        verification::UserTrust,
    },
    federation,
};
use hearth_p2p::{Power, node::Node};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use super::told::{Told, flow_of};

/// How long a command waits for what it needs: a room to be shown, an event to be made.
const PATIENCE: Duration = Duration::from_secs(25);
/// Messages asked for at once when a timeline is read to its beginning.
const PAGE: usize = 100;

pub(super) struct Verbs {
    pub(super) node: Arc<Node>,
    pub(super) chat: Chat,
    pub(super) told: Arc<Told>,
}

impl Verbs {
    pub(super) async fn act(&self, command: &Value) -> Result<Value> {
        let verb = text(command, "do")?;
        match verb {
            "who" => Ok(self.who()),
            "sign" => Ok(json!({})),
            "profile" => self.profile(&parse(command, "user")?).await,
            "create" => self.create(command).await,
            "join" => self.join(parse(command, "room")?).await,
            "members" => self.members(&parse(command, "room")?).await,
            "send" => self.send(command).await,
            "edit" => self.edit(command).await,
            "react" => self.react(command).await,
            "picture" => self.picture(command).await,
            "download" => self.download(command).await,
            "rotate" => {
                self.chat.renew_keys(&parse::<OwnedRoomId>(command, "room")?).await?;
                Ok(json!({}))
            }
            "shown" => Ok(json!({ "items": self.told.timeline(&parse::<OwnedRoomId>(command, "room")?) })),
            "state" => self.state(command).await,
            "read" => {
                let room = parse(command, "room")?;
                done(self.followed(&room, None).await?.mark_read(false).await)
            }
            "rooms" => Ok(json!({ "invites": self.told.invites() })),
            "near" => Ok(json!({ "servers": self.node.homeserver().home().near() })),
            "offline" => {
                match command.get("offline").and_then(Value::as_bool) {
                    Some(true) => self.node.network().switch_off().await,
                    _ => drop(self.node.network().switch_on().await?),
                }
                Ok(json!({}))
            }
            "power" => {
                let power = match text(command, "power")? {
                    "foreground" => Power::Foreground,
                    "background" => Power::Background,
                    "low" => Power::Low,
                    other => bail!("there is no power `{other}`: it is foreground, background or low"),
                };
                self.node.network().set_power(power).await;
                Ok(json!({}))
            }
            "clients" => {
                let address = self.node.open_clients(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
                Ok(json!({ "homeserver": format!("http://{address}"), "token": self.chat.login_token() }))
            }
            "recovery" => self.recovery(command).await,
            "timeline" => self.timeline(&parse(command, "room")?).await,
            "verify" => self.verify(&parse(command, "user")?).await,
            "accept" => done(self.flow(command).await?.accept().await),
            "start" => done(self.flow(command).await?.start_sas().await),
            "confirm" => done(self.flow(command).await?.confirm().await),
            "scan" => {
                let code = command.get("code").context("the command has no `code`")?;
                let code: Vec<u8> = serde_json::from_value(code.clone()).context("`code` is no list of bytes")?;
                done(self.flow(command).await?.scan(&code).await)
            }
            "cancel" => done(self.flow(command).await?.cancel().await),
            "trust" => {
                let trust = self.chat.trust_of(&parse::<OwnedUserId>(command, "user")?).await?;
                Ok(json!({ "verified": trust == UserTrust::Verified }))
            }
            other => bail!("there is no verb `{other}`"),
        }
    }

    fn who(&self) -> Value {
        let identity = self.chat.identity();
        json!({ "user": identity.user_id, "device": identity.device_id, "ed25519": identity.fingerprint })
    }

    async fn profile(&self, user: &OwnedUserId) -> Result<Value> {
        let profile = federation::query_profile(self.node.homeserver().home(), user).await?;
        Ok(json!({ "name": profile.get("displayname") }))
    }

    async fn create(&self, command: &Value) -> Result<Value> {
        let flag = |name: &str| command.get(name).and_then(Value::as_bool);
        let invite: Vec<OwnedUserId> =
            serde_json::from_value(command.get("invite").cloned().unwrap_or_else(|| json!([])))?;
        let room = self.chat.create_room(NewRoom {
            name: command.get("name").and_then(Value::as_str).map(str::to_owned),
            topic: None,
            invite,
            public: false,
            direct: flag("direct").unwrap_or(false),
            encrypted: flag("encrypted"),
        });
        let room = room.await?.id().to_owned();
        self.followed(&room, None).await?;
        Ok(json!({ "room": room }))
    }

    async fn join(&self, room: OwnedRoomId) -> Result<Value> {
        self.chat.join(room.clone().into(), Vec::new()).await?;
        self.followed(&room, None).await?;
        Ok(json!({}))
    }

    async fn members(&self, room: &OwnedRoomId) -> Result<Value> {
        self.followed(room, None).await?;
        let members = self.chat.room(room)?.members()?;
        let members: BTreeMap<_, _> =
            members.into_iter().map(|member| (member.user, member.standing.as_str())).collect();
        Ok(json!(members))
    }

    async fn send(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let timeline = self.followed(&room, optional(command, "thread")?.as_ref()).await?;
        let reply_to = optional(command, "reply_to")?;
        let message = TextMessage { reply_to, ..TextMessage::plain(text(command, "text")?) };
        let item = timeline.send_text(message).await?;
        self.event(&room, &item).await
    }

    async fn edit(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let (timeline, item) = self.item(&room, text(command, "event")?).await?;
        timeline.edit(&item.id, TextMessage::plain(text(command, "text")?)).await?;
        Ok(json!({ "event": item.event_id }))
    }

    async fn react(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let (timeline, item) = self.item(&room, text(command, "event")?).await?;
        timeline.react(&item.id, text(command, "key")?).await?;
        Ok(json!({ "event": item.event_id }))
    }

    async fn picture(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let timeline = self.followed(&room, optional(command, "thread")?.as_ref()).await?;
        let number = |name: &str| command.get(name).and_then(Value::as_u64).and_then(|number| number.try_into().ok());
        let info = FileInfo {
            mime: command.get("mimetype").and_then(Value::as_str).map(str::to_owned),
            width: number("width"),
            height: number("height"),
            ..FileInfo::new(text(command, "name")?, Kind::Image)
        };
        let source = Source::Path(PathBuf::from(text(command, "path")?));
        let (item, _) = timeline.send_file(source, info, None).await?;
        self.event(&room, &item).await
    }

    async fn download(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let (_, item) = self.item(&room, text(command, "event")?).await?;
        let ItemContent::Media(file) = item.content else { bail!("this message is no file") };
        let path = PathBuf::from(text(command, "path")?);
        let bytes = self.chat.download(&file, &path, &Progress::new()).await?;
        Ok(json!({ "bytes": bytes, "mimetype": file.mime, "url": file.uri }))
    }

    async fn timeline(&self, room: &OwnedRoomId) -> Result<Value> {
        let timeline = self.followed(room, None).await?;
        while !timeline.paginate_backwards(PAGE).await? {}
        // What was paged in reaches the followers with their next look.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(json!({ "items": self.told.timeline(room) }))
    }

    /// How a message of ours is getting on, and with whom.
    async fn state(&self, command: &Value) -> Result<Value> {
        let room: OwnedRoomId = parse(command, "room")?;
        let (_, item) = self.item(&room, text(command, "event")?).await?;
        Ok(match item.state {
            None => json!({ "state": "not ours" }),
            Some(SendState::Sending { .. }) => json!({ "state": "sending" }),
            Some(SendState::Failed { reason, .. }) => json!({ "state": "failed", "reason": reason }),
            Some(SendState::Sent { recipients }) => {
                let reach = |reach: &Reach| match reach {
                    Reach::Queued => "queued",
                    Reach::OnTheirPhone => "on_their_phone",
                    Reach::Read => "read",
                    Reach::Refused(_) => "refused",
                };
                let recipients: BTreeMap<_, _> =
                    recipients.iter().map(|recipient| (&recipient.user, reach(&recipient.reach))).collect();
                json!({ "state": "sent", "recipients": recipients })
            }
        })
    }

    /// Makes a recovery key, or recovers by one that is given, and says how the backup stands then.
    async fn recovery(&self, command: &Value) -> Result<Value> {
        let mut answer = BTreeMap::new();
        if let Some(key) = command.get("key").and_then(Value::as_str) {
            let recovered = self.chat.recover(key).await?;
            answer.insert("verified", json!(recovered.is_verified));
            answer.insert("new", json!(recovered.room_keys));
        } else if command.get("make").and_then(Value::as_bool) == Some(true) {
            answer.insert("key", json!(self.chat.make_recovery_key().await?.as_str()));
        }
        if let Recovery::On { version, backed_up, total } = self.chat.recovery().await? {
            answer.insert("backup", json!({ "version": version, "keys": backed_up, "of": total }));
        }
        Ok(json!(answer))
    }

    async fn verify(&self, user: &OwnedUserId) -> Result<Value> {
        let flow = self.chat.request_verification(user, None).await?;
        Ok(json!({ "flow": flow_of(&flow.info().id) }))
    }

    /// The flow that a command names by its own id.
    async fn flow(&self, command: &Value) -> Result<Verification> {
        let wanted = text(command, "flow")?;
        let mut feed = self.chat.verifications();
        let mut rows = Vec::new();
        hearth_core::chat::feed::apply(&mut rows, &feed.next().await.unwrap_or_default());
        let found = rows.iter().find(|info| flow_of(&info.id) == wanted);
        found.and_then(|info| self.chat.verification(&info.id)).context("there is no such verification")
    }

    /// The timeline of a room that is shown by now, or of a thread in it.
    async fn followed(&self, room: &OwnedRoomId, thread: Option<&OwnedEventId>) -> Result<Arc<Timeline>> {
        self.until(|| self.told.follow(room, thread), "the room is not shown").await
    }

    async fn item(&self, room: &OwnedRoomId, event: &str) -> Result<(Arc<Timeline>, hearth_core::chat::TimelineItem)> {
        self.until(|| self.told.find(room, event), "the message is not shown").await
    }

    async fn event(&self, room: &OwnedRoomId, item: &ItemId) -> Result<Value> {
        let event = self.until(|| self.told.event_of(room, item), "the message was not sent").await?;
        Ok(json!({ "event": event }))
    }

    /// Waits for something to be so.
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>, otherwise: &'static str) -> Result<T> {
        let wait = async {
            loop {
                // Listening before looking: what changes in between is heard.
                let changed = self.told.changed.notified();
                if let Some(found) = look() {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context(otherwise)
    }
}

fn done(outcome: Result<(), hearth_core::chat::ChatError>) -> Result<Value> {
    outcome?;
    Ok(json!({}))
}

fn text<'a>(command: &'a Value, name: &str) -> Result<&'a str> {
    command.get(name).and_then(Value::as_str).with_context(|| format!("`{name}` is missing"))
}

fn parse<T>(command: &Value, name: &str) -> Result<T>
where
    T: for<'a> TryFrom<&'a str>,
{
    T::try_from(text(command, name)?).map_err(|_| anyhow::anyhow!("`{name}` is not what it should be"))
}

fn optional(command: &Value, name: &str) -> Result<Option<OwnedEventId>> {
    command.get(name).filter(|value| !value.is_null()).map(|_| parse(command, name)).transpose()
}
