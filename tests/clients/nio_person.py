"""matrix-nio as a person at a chat program: commands in, answers and events out, as person.py describes.

It runs with the Python of the cache, where matrix-nio is. nio shows single events; what Matrix makes of them together (edits,
reactions, threads, and a message whose key came later) is put together here, as every program on top of nio does.
"""

import asyncio
import json
import logging
import pathlib
import sys
import urllib.parse

from nio import AsyncClient, AsyncClientConfig, EncryptionError, ErrorResponse, Event, InviteMemberEvent, MegolmEvent, SyncResponse
from nio.crypto.attachments import decrypt_attachment
from nio.store import SqliteMemoryStore

SYNC_MS = 10_000
# A homeserver that was away is found again soon, which is what a step waits for.
RETRY_S = 1
# More than one sync of a test brings.
SYNC_FILTER = {"room": {"timeline": {"limit": 200}}}
ALGORITHM = "m.megolm.v1.aes-sha2"


def emit(line):
    """Writes one line of the protocol."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Asking(AsyncClient):
    """nio's client, which tells of what the homeserver refuses."""

    async def send(self, method, path, *arguments, **more):
        """One HTTP request."""
        answer = await super().send(method, path, *arguments, **more)
        if answer.status >= 400:
            try:
                code = json.loads(await answer.read()).get("errcode")
            except ValueError:
                code = None
            path = urllib.parse.urlparse(path).path
            emit({"event": "refused", "method": method, "path": path, "status": answer.status, "errcode": code})
        return answer


def good(answer):
    """nio hands errors back like answers."""
    if isinstance(answer, ErrorResponse):
        raise RuntimeError(str(answer))
    return answer


class Conversation:
    """The events of one room, and what they make together."""

    def __init__(self):
        self.events = {}
        self.edits = {}
        self.reactions = {}

    def add(self, event):
        """Takes one event, decrypted where that was possible."""
        content = event.source.get("content", {})
        relation = content.get("m.relates_to") or {}
        kind, target = relation.get("rel_type"), relation.get("event_id")
        if event.source["type"] == "m.reaction":
            self.reactions.setdefault(target, {}).setdefault(relation["key"], set()).add(event.sender)
        elif kind == "m.replace" and not isinstance(event, MegolmEvent):
            self.edits[target] = event
        elif event.source["type"] == "m.room.message" and content.get("msgtype") != "m.key.verification.request":
            self.events[event.event_id] = event
        elif isinstance(event, MegolmEvent):
            # It keeps its place until its key comes.
            self.events[event.event_id] = event

    def settle(self, decrypt):
        """Tries again to read what could not be read."""
        for event in [event for event in self.events.values() if isinstance(event, MegolmEvent)]:
            plain = decrypt(event)
            if plain is None:
                continue
            relation = plain.source["content"].get("m.relates_to") or {}
            if plain.source["type"] != "m.room.message" or relation.get("rel_type") == "m.replace":
                del self.events[event.event_id]
            self.add(plain)

    def items(self):
        """The messages as they are shown."""
        return [self.item(event) for event in self.events.values()]

    def thread_of(self, event):
        """The root of the thread that an event is in."""
        relation = event.source["content"].get("m.relates_to") or {}
        return relation.get("event_id") if relation.get("rel_type") == "m.thread" else None

    def item(self, event):
        """One message."""
        shown = {
            "id": event.event_id,
            "sender": event.sender,
            "encrypted": isinstance(event, MegolmEvent) or event.decrypted,
            "edited": False,
            "reactions": {key: sorted(who) for key, who in sorted(self.reactions.get(event.event_id, {}).items())},
            "thread": self.thread_of(event),
            "replies": sum(self.thread_of(other) == event.event_id for other in self.events.values()),
        }
        if isinstance(event, MegolmEvent):
            return {**shown, "kind": "undecryptable", "text": f"no key for session {event.session_id}"}
        content = event.source["content"]
        edit = self.edits.get(event.event_id)
        # Only the author of a message may edit it.
        if edit is not None and edit.sender == event.sender:
            content, shown["edited"] = edit.source["content"]["m.new_content"], True
        kind = "image" if content["msgtype"] == "m.image" else "text"
        return {**shown, "kind": kind, "text": content["body"]}


class Person:
    """One device that is logged in, or nobody yet."""

    def __init__(self):
        self.client = None
        self.rooms = {}
        self.published = {}
        self.syncing = None

    # The connection.

    async def open(self, homeserver, name, password, register):
        """Registers or logs in, and syncs from then on."""
        config = AsyncClientConfig(store=SqliteMemoryStore, backoff_factor=RETRY_S, max_timeout_retry_wait_time=RETRY_S)
        # nio has no device id of its own choice at a registration, so the homeserver chooses.
        self.client = Asking(homeserver, name, device_id=None, config=config)
        if register:
            good(await self.client.register(name, password, device_name="matrix-nio"))
        else:
            good(await self.client.login(password, device_name="matrix-nio"))
        self.client.add_event_callback(self.on_event, Event)
        self.client.add_event_callback(self.on_invite, InviteMemberEvent)
        self.client.add_response_callback(self.on_sync, SyncResponse)
        first = asyncio.get_running_loop().create_future()
        self.client.add_response_callback(lambda _: first.done() or first.set_result(None), SyncResponse)
        self.syncing = asyncio.create_task(self.client.sync_forever(SYNC_MS, SYNC_FILTER, full_state=True))
        await asyncio.wait({first, self.syncing}, return_when=asyncio.FIRST_COMPLETED)
        if self.syncing.done():
            self.syncing.result()
        return {**await self.who(), "token": self.client.access_token}

    async def on_event(self, room, event):
        """An event of a room we are in."""
        if "state_key" not in event.source:
            self.rooms.setdefault(room.room_id, Conversation()).add(event)

    async def on_invite(self, room, event):
        """An event of a room we are invited to."""
        if event.state_key == self.client.user_id and event.membership == "invite":
            emit({"event": "invite", "room": room.room_id, "by": event.sender, "name": room.display_name})

    async def on_sync(self, _):
        """The end of a sync: what it changed is told."""
        for room, conversation in self.rooms.items():
            conversation.settle(self.decrypt)
            for item in conversation.items():
                if self.published.get(item["id"]) != item:
                    self.published[item["id"]] = item
                    emit({"event": "item", "room": room, "item": item})

    def decrypt(self, event):
        """The plain event, or nothing while its key is missing."""
        try:
            return self.client.decrypt_event(event)
        except EncryptionError:
            return None

    # The verbs.

    async def who(self):
        """Who we are."""
        key = self.client.olm.account.identity_keys["ed25519"]
        return {"user": self.client.user_id, "device": self.client.device_id, "ed25519": key}

    async def profile(self, user):
        """Somebody's name."""
        return {"name": good(await self.client.get_profile(user)).displayname}

    async def create(self, name, invite=(), encrypted=True, direct=False):
        """Makes a room."""
        state = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": ALGORITHM}}] if encrypted else []
        made = await self.client.room_create(name=name, invite=invite, is_direct=direct, initial_state=state)
        return {"room": good(made).room_id}

    async def join(self, room):
        """Joins a room, and waits for the sync that brings it."""
        good(await self.client.join(room))
        await self.here(room)
        return {}

    async def here(self, room):
        """Waits until the sync has brought a room."""
        while room not in self.client.rooms:
            await self.client.synced.wait()

    async def members(self, room):
        """Who is in a room, and who is invited."""
        await self.here(room)
        known = self.client.rooms[room]
        invited = {user: "invite" for user in known.invited_users}
        return {**{user: "join" for user in known.users if user not in invited}, **invited}

    async def say(self, room, content, kind="m.room.message"):
        """Sends one event, encrypted if the room is."""
        await self.here(room)
        if self.client.should_query_keys:
            good(await self.client.keys_query())
        return {"event": good(await self.client.room_send(room, kind, content, ignore_unverified_devices=True)).event_id}

    def related(self, thread, reply_to):
        """The relation of a message: to a thread, to another message, or to nothing."""
        if thread:
            fallback = {"is_falling_back": True, "m.in_reply_to": {"event_id": thread}}
            return {"m.relates_to": {"rel_type": "m.thread", "event_id": thread, **fallback}}
        return {"m.relates_to": {"m.in_reply_to": {"event_id": reply_to}}} if reply_to else {}

    async def send(self, room, text, thread=None, reply_to=None):
        """Sends a text."""
        return await self.say(room, {"msgtype": "m.text", "body": text, **self.related(thread, reply_to)})

    async def edit(self, room, event, text):
        """Puts another text in the place of one's own message."""
        new = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": event}
        return await self.say(room, {**new, "body": f"* {text}", "m.new_content": new, "m.relates_to": relation})

    async def react(self, room, event, key):
        """Reacts to a message."""
        relation = {"rel_type": "m.annotation", "event_id": event, "key": key}
        return await self.say(room, {"m.relates_to": relation}, "m.reaction")

    async def picture(self, room, path, name, mimetype, width, height, thread=None, reply_to=None):
        """Encrypts a picture, uploads it, and sends its key."""
        size = pathlib.Path(path).stat().st_size
        with open(path, "rb") as plain:
            uploaded, keys = await self.client.upload(plain, mimetype, name, encrypt=True, filesize=size)
        file = {**keys, "url": good(uploaded).content_uri}
        info = {"mimetype": mimetype, "size": size, "w": width, "h": height}
        content = {"msgtype": "m.image", "body": name, "info": info, "file": file}
        return await self.say(room, {**content, **self.related(thread, reply_to)})

    async def download(self, room, event, path):
        """Downloads a picture and decrypts it."""
        content = self.rooms[room].events[event].source["content"]
        file = content["file"]
        body = good(await self.client.download(file["url"])).body
        plain = decrypt_attachment(body, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
        pathlib.Path(path).write_bytes(plain)
        return {"bytes": len(plain), "mimetype": content["info"]["mimetype"], "url": file["url"]}

    async def rotate(self, room):
        """Makes the next message begin with new keys."""
        self.client.invalidate_outbound_session(room)
        return {}

    async def timeline(self, room):
        """The messages of a room, oldest first."""
        await self.here(room)
        return {"items": self.rooms.get(room, Conversation()).items()}

    async def quit(self):
        """Ends."""
        if self.client:
            self.syncing.cancel()
            await self.client.close()
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        return {}


SPEAKING = {"send", "edit", "react", "picture", "download", "rotate", "timeline"}
VERBS = SPEAKING | {"open", "who", "profile", "create", "join", "members", "quit"}


async def obey(person, line):
    """Does one command and answers it."""
    wish = json.loads(line)
    number, verb = wish.pop("id"), wish.pop("do")
    try:
        if verb not in VERBS:
            raise RuntimeError(f'there is no "{verb}"')
        emit({"id": number, "ok": await getattr(person, verb)(**wish)})
    except Exception as error:
        logging.exception("%s failed", verb)
        emit({"id": number, "error": f"{type(error).__name__}: {error}"})


async def listen(person):
    """Reads commands until there are no more; each is done at its own pace."""
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(obey(person, line))
        running.add(task)
        task.add_done_callback(running.discard)
    asyncio.get_running_loop().stop()


def main():
    """Speaks the protocol on standard input and output; the log goes to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    loop = asyncio.new_event_loop()
    task = loop.create_task(listen(Person()))
    loop.run_forever()
    if task.done() and task.exception():
        raise task.exception()


if __name__ == "__main__":
    main()
