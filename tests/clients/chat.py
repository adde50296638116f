#!/usr/bin/env python3
"""Two `hearth run` processes, joined only by mDNS on the loopback interface, and two people with ordinary clients.

    python3 tests/clients/chat.py target/debug/hearth

Prints each step and its time. Exit code 1 if one of them did not go as it should; then the last lines of both servers follow.
"""

import json
import pathlib
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
import time

from matrix import Client, Failure, equal, eventually, expect, quote
from phone import Phone, run_to_end
from steps import Steps


class Story:
    """What the steps share."""

    def __init__(self, binary, home):
        self.binary = binary
        self.home = pathlib.Path(home)
        self.ana_phone = Phone(binary, home, "ana")
        self.ben_phone = Phone(binary, home, "ben")
        self.ana = self.ben = self.chi = None
        self.room = self.kitchen = None
        self.sent = {}

    def both(self):
        return (self.ana, self.ben)

    def logs(self):
        """What to show when a step fails."""
        return [(phone.name, phone.lines) for phone in (self.ana_phone, self.ben_phone)]


step = Steps()


def refuses(command, what):
    """Checks that a command ends with exit code 2 and one sentence."""
    code, _, errors = run_to_end(command)
    equal(code, 2, f"the exit code with {what} ({errors.strip()!r})")
    lines = [line for line in errors.splitlines() if line.strip()]
    equal(len(lines), 1, f"the number of lines on stderr with {what} ({errors!r})")
    expect("panicked" not in errors, f"a panic with {what}")
    expect(" " in lines[0] and len(lines[0]) < 400, f"no clear sentence with {what}: {lines[0]!r}")


@step("both start, print who they are, and keep their key to themselves")
def start(story):
    for phone in (story.ana_phone, story.ben_phone):
        phone.start()
        eventually("a contact URI is printed", lambda: any("matrix:" in line for line in phone.lines), 5)
        mode = stat.S_IMODE((phone.data / "key").stat().st_mode)
        equal(oct(mode), oct(0o600), f"the mode of {phone.name}'s key file")
    story.ana, story.ben = Client(story.ana_phone.base), Client(story.ben_phone.base)


@step("a wrong flag, a used port and a locked database are refused with a sentence and exit code 2")
def refusals(story):
    other = Phone(story.binary, story.home, "other")
    refuses([*other.command(), "--no-such-flag"], "a wrong flag")
    refuses([*other.command("--client-listen", "not an address")], "a wrong address")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuses(other.command("--client-listen", f"127.0.0.1:{taken.getsockname()[1]}"), "a used port")
    refuses(story.ana_phone.command(), "a locked database")


@step("the server says what it speaks, and what it does not know")
def versions(story):
    ana = story.ana
    spoken = ana.request("GET", "/_matrix/client/versions").ok()["versions"]
    expect("v1.11" in spoken, f"v1.11 is missing: {spoken}")
    flows = [flow["type"] for flow in ana.v3("GET", "/login").ok()["flows"]]
    expect("m.login.password" in flows, f"m.login.password is missing: {flows}")
    ana.v3("GET", "/no/such/endpoint").error(404, "M_UNRECOGNIZED")
    ana.request("DELETE", "/_matrix/client/versions").error(405, "M_UNRECOGNIZED")
    origin = ana.request("GET", "/_matrix/client/versions").headers.get("Access-Control-Allow-Origin")
    equal(origin, "*", "the header that lets web clients in")


@step("ana and ben register; a taken and a wrong name are refused")
def register(story):
    ana, ben = story.both()
    ana.register("ana", "correct horse")
    ben.register("ben", "battery staple")
    expect(ana.server != ben.server, "both servers have the same name")
    again = {"username": "ana", "password": "x", "auth": {"type": "m.login.dummy"}}
    ana.v3("POST", "/register", again, token=None).error(400, "M_USER_IN_USE")
    ana.v3("POST", "/register", {**again, "username": "No Spaces"}, token=None).error(400, "M_INVALID_USERNAME")
    ana.v3("GET", "/register/available", query={"username": "free"}, token=None).ok()
    ana.v3("GET", "/register/available", query={"username": "ana"}, token=None).error(400, "M_USER_IN_USE")
    story.chi = Client(story.ben_phone.base)
    story.chi.register("chi", "stapler")


@step("login, whoami, logout")
def login(story):
    ana = story.ana
    second = Client(ana.base)
    second.login("ana", "correct horse")
    expect(second.device != ana.device and second.token != ana.token, "a second login is a second device")
    me = second.v3("GET", "/account/whoami").ok()
    equal((me["user_id"], me["device_id"]), (ana.user, second.device), "whoami")
    second.try_login("ana", "wrong").error(403, "M_FORBIDDEN")
    second.try_login("nobody", "wrong").error(403, "M_FORBIDDEN")
    second.v3("POST", "/logout", {}).ok()
    second.v3("GET", "/account/whoami").error(401, "M_UNKNOWN_TOKEN")
    ana.v3("GET", "/account/whoami").ok()
    ana.v3("GET", "/account/whoami", token="made-up").error(401, "M_UNKNOWN_TOKEN")
    ana.v3("GET", "/account/whoami", token=None).error(401, "M_MISSING_TOKEN")


@step("what is no JSON, or the wrong JSON, is refused")
def bad_json(story):
    ana = story.ana
    ana.v3("POST", "/createRoom", raw=b"{no json").error(400, "M_NOT_JSON")
    ana.v3("POST", "/createRoom", raw=b'"a string"').error(400, "M_BAD_JSON", "M_NOT_JSON")
    ana.v3("POST", "/createRoom", {"invite": "not a list"}).error(400, "M_BAD_JSON")
    ana.v3("POST", "/createRoom", {"room_version": "999"}).error(400, "M_UNSUPPORTED_ROOM_VERSION")
    ana.v3("GET", "/rooms/not-a-room/joined_members").error(400, "M_INVALID_PARAM")


@step("they find each other by mDNS, and see each other's profile over federation")
def meet(story):
    ana, ben = story.both()
    ana.v3("PUT", f"/profile/{quote(ana.user)}/displayname", {"displayname": "Ana"}).ok()
    for one, other in ((ana, ben), (ben, ana)):
        path = f"/profile/{quote(other.user)}"
        eventually(f"{one.user} reaches {other.server}", lambda: one.v3("GET", path).status == 200, 20)
    equal(ben.v3("GET", f"/profile/{quote(ana.user)}/displayname").ok(), {"displayname": "Ana"}, "ana's name at ben's")
    ben.v3("GET", f"/profile/{quote('@nobody:' + ana.server)}").error(404, "M_NOT_FOUND")
    code, out, errors = run_to_end([str(story.binary), "status", "--data", str(story.ana_phone.data), "--json"])
    equal(code, 0, f"the exit code of `hearth status` ({errors.strip()!r})")
    json.loads(out)
    expect(ben.server in out, "`hearth status` of ana does not name ben's server")


@step("ana makes a private room; the invitation arrives; ben joins over federation")
def join(story):
    ana, ben = story.both()
    ana.sync(), ben.sync()
    wish = {"preset": "private_chat", "name": "Boat", "topic": "oars", "invite": [ben.user]}
    room = story.room = ana.v3("POST", "/createRoom", wish).ok()["room_id"]
    stripped = ben.until("the invitation", lambda: ben.invited.get(room))
    kinds = {event["type"]: event for event in stripped}
    equal(kinds["m.room.name"]["content"]["name"], "Boat", "the room's name in the invitation")
    mine = [event for event in stripped if event["type"] == "m.room.member" and event["state_key"] == ben.user]
    equal([event["sender"] for event in mine], [ana.user], "who invited ben")
    equal(ben.room("POST", room, "join", {}).ok()["room_id"], room, "the joined room")
    ben.until("ben's own join", lambda: room in ben.joined)
    equal(ben.v3("GET", "/joined_rooms").ok()["joined_rooms"], [room], "ben's rooms")

    def joined():
        event = ana.joined.get(room, {}).get(("m.room.member", ben.user))
        return event and event["content"]["membership"] == "join"

    ana.until("ben's join", joined)
    for one in story.both():
        equal(set(one.room("GET", room, "joined_members").ok()["joined"]), {ana.user, ben.user}, "who is in the room")
        members = one.room("GET", room, "members").ok()["chunk"]
        equal({event["state_key"]: event["content"]["membership"] for event in members},
              {ana.user: "join", ben.user: "join"}, "the members")
        equal(one.state(room, "m.room.topic").ok()["topic"], "oars", "the topic")


@step("forty messages go both ways, in order; a retry is the same message")
def talk(story):
    ana, ben = story.both()
    room = story.room
    for number in range(20):
        for one in story.both():
            text = f"{one.user} {number}"
            first = one.say(room, text, f"talk-{number}").ok()["event_id"]
            equal(one.say(room, text, f"talk-{number}").ok()["event_id"], first, "the event of a retried txn")
            story.sent[text] = first
    for one in story.both():
        one.until("all messages", lambda: set(story.sent) <= set(one.texts(room)))
        for sender in story.both():
            texts = [text for text in one.texts(room) if text.startswith(sender.user)]
            equal(texts, [f"{sender.user} {number}" for number in range(20)], f"{sender.user}'s messages at {one.user}")
        ids = [event["event_id"] for event in one.timelines[room]]
        equal(len(ids), len(set(ids)), f"no event comes twice to {one.user}")
        here = {event["content"]["body"]: event["event_id"] for event in one.timelines[room] if "body" in event["content"]}
        equal(here, story.sent, f"the events at {one.user}")
    mine = [event for event in ana.timelines[room] if event.get("unsigned", {}).get("transaction_id") == "talk-3"]
    equal([event["sender"] for event in mine], [ana.user], "who sees ana's transaction id")
    expect(not any("transaction_id" in event.get("unsigned", {}) for event in ben.timelines[room]
                   if event["sender"] == ana.user), "ben sees a transaction id of ana's")


@step("an event is read by its id on the other server")
def read_event(story):
    ana, ben = story.both()
    event_id = story.sent[f"{ana.user} 7"]
    event = ben.room("GET", story.room, f"event/{quote(event_id)}").ok()
    equal((event["sender"], event["content"]["body"]), (ana.user, f"{ana.user} 7"), "ana's eighth message at ben's")
    ben.room("GET", story.room, f"event/{quote('$' + 'A' * 43)}").error(404, "M_NOT_FOUND")
    story.chi.room("GET", story.room, f"event/{quote(event_id)}").error(404, "M_NOT_FOUND")


@step("the topic changes for both; ben may not change it")
def topic(story):
    ana, ben = story.both()
    room = story.room
    ana.room("PUT", room, "state/m.room.topic/", {"topic": "sails"}).ok()
    ben.until("the new topic", lambda: ben.joined[room].get(("m.room.topic", ""), {}).get("content", {}).get("topic") == "sails")
    equal(ben.state(room, "m.room.topic").ok()["topic"], "sails", "the topic at ben's")
    equal(ben.room("GET", room, "state/m.room.topic").ok()["topic"], "sails", "the topic without the closing slash")
    ben.room("PUT", room, "state/m.room.topic/", {"topic": "mine"}).error(403, "M_FORBIDDEN")
    ben.state(room, "m.room.nothing").error(404, "M_NOT_FOUND")
    all_state = {(event["type"], event["state_key"]): event["event_id"] for event in ana.room("GET", room, "state").ok()}
    equal({(event["type"], event["state_key"]): event["event_id"] for event in ben.room("GET", room, "state").ok()},
          all_state, "the whole state at ben's and at ana's")


@step("a redaction empties the message on both sides")
def redact(story):
    ana, ben = story.both()
    room, event_id = story.room, story.sent[f"{ana.user} 5"]
    path = f"redact/{quote(event_id)}"
    ben.room("PUT", room, f"{path}/not-yours", {}).error(403, "M_FORBIDDEN")
    done = ana.room("PUT", room, f"{path}/r1", {"reason": "typo"}).ok()["event_id"]
    equal(ana.room("PUT", room, f"{path}/r1", {"reason": "typo"}).ok()["event_id"], done, "the redaction of a retried txn")
    for one in story.both():
        one.until("the redaction", lambda: any(event["event_id"] == done for event in one.timelines[room]))
        event = one.room("GET", room, f"event/{quote(event_id)}").ok()
        equal(event["content"], {}, f"the content at {one.user}")
        equal(event["unsigned"]["redacted_because"]["event_id"], done, f"the reason at {one.user}")


@step("both page through the whole history, backwards and forwards, and read the same")
def history(story):
    found = []
    for one in story.both():
        back, forward = one.history(story.room, "b", 7), one.history(story.room, "f", 5)
        back_ids, forward_ids = [event["event_id"] for event in back], [event["event_id"] for event in forward]
        equal(len(set(back_ids)), len(back_ids), f"no event comes twice to {one.user}")
        equal(forward_ids, back_ids[::-1], f"the history of {one.user} forwards and backwards")
        equal(forward[0]["type"], "m.room.create", f"the first event at {one.user}")
        found.append(set(back_ids))
    equal(found[0] ^ found[1], set(), "events that only one of them has")
    expect(set(story.sent.values()) <= found[0], "a message is missing in the history")
    story.chi.room("GET", story.room, "messages", query={"dir": "b"}).error(403, "M_FORBIDDEN")
    story.ana.room("GET", story.room, "messages", query={"dir": "x"}).error(400, "M_INVALID_PARAM", "M_BAD_JSON")


@step("ana's new name is seen by ben")
def rename(story):
    ana, ben = story.both()
    ana.v3("PUT", f"/profile/{quote(ana.user)}/displayname", {"displayname": "Ana Lu"}).ok()

    def renamed():
        return ben.joined[story.room]["m.room.member", ana.user]["content"].get("displayname") == "Ana Lu"

    ben.until("ana's new name in the room", renamed)
    equal(ben.v3("GET", f"/profile/{quote(ana.user)}").ok()["displayname"], "Ana Lu", "ana's profile at ben's")
    ana.v3("PUT", f"/profile/{quote(ben.user)}/displayname", {"displayname": "Not Ben"}).error(403, "M_FORBIDDEN")


@step("who is not in the room may not speak")
def stranger(story):
    chi = story.chi
    chi.say(story.room, "hello?", "s1").error(403, "M_FORBIDDEN")
    chi.room("POST", story.room, "join", {}).error(403, "M_FORBIDDEN")
    chi.room("GET", story.room, "members").error(403, "M_FORBIDDEN")
    chi.room("POST", story.room, "invite", {"user_id": chi.user}).error(403, "M_FORBIDDEN")
    chi.state(story.room, "m.room.topic").error(403, "M_FORBIDDEN")


@step("a waiting sync wakes up for a message, and ends by itself without one")
def long_poll(story):
    ana, ben = story.both()
    ben.until("quiet", lambda: not ben.sync(timeout_ms=300).get("rooms", {}).get("join"))
    began = time.monotonic()
    ben.sync(timeout_ms=1000)
    waited = time.monotonic() - began
    expect(0.9 <= waited <= 5, f"an idle sync of 1 s took {waited:.2f} s")
    woken, failed = [], []

    def wait():
        try:
            ben.sync(timeout_ms=20_000)
            woken.append(time.monotonic())
        except Exception as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    expect(waiting.is_alive(), "the sync did not wait")
    sent = time.monotonic()
    ana.say(story.room, "wake up", "wake").ok()
    waiting.join(30)
    expect(not failed and woken, f"the waiting sync failed: {failed}")
    expect(woken[0] - sent < 5, f"the sync woke {woken[0] - sent:.2f} s after the message")
    equal(ben.texts(story.room)[-1], "wake up", "what woke the sync")
    print(f"    seen {(woken[0] - sent) * 1000:.0f} ms after it was sent")


@step("kick, ban, unban, and a new invitation")
def kick(story):
    ana, ben = story.both()
    room = story.room

    def ben_is(membership):
        ben.until(f"ben's {membership}", lambda: ben.left.get(room, {}).get(("m.room.member", ben.user), {})
                  .get("content", {}).get("membership") == membership)

    ben.room("POST", room, "kick", {"user_id": ana.user}).error(403, "M_FORBIDDEN")
    ana.room("POST", room, "kick", {"user_id": ben.user, "reason": "enough"}).ok()
    ben_is("leave")
    ben.say(room, "still here?", "k1").error(403, "M_FORBIDDEN")
    ben.room("POST", room, "join", {}).error(403, "M_FORBIDDEN")
    ana.room("POST", room, "ban", {"user_id": ben.user}).ok()
    equal(ana.state(room, "m.room.member", ben.user).ok()["membership"], "ban", "ben at ana's")
    ana.room("POST", room, "invite", {"user_id": ben.user}).error(403, "M_FORBIDDEN")
    ana.room("POST", room, "unban", {"user_id": ben.user}).ok()
    equal(ana.state(room, "m.room.member", ben.user).ok()["membership"], "leave", "ben at ana's")
    ana.room("POST", room, "invite", {"user_id": ben.user}).ok()
    ben.until("the new invitation", lambda: room in ben.invited)
    ben.v3("POST", f"/join/{quote(room)}", {}, query={"server_name": ana.server}).ok()
    ben.until("ben is back", lambda: room in ben.joined)
    ben.say(room, "back again", "k2").ok()
    ana.until("ben's message", lambda: "back again" in ana.texts(room))


@step("a public room by its alias, resolved and joined from the other server")
def alias(story):
    ana, ben = story.both()
    name = f"#kitchen:{ana.server}"
    wish = {"preset": "public_chat", "room_alias_name": "kitchen", "name": "Kitchen"}
    room = story.kitchen = ana.v3("POST", "/createRoom", wish).ok()["room_id"]
    ana.v3("POST", "/createRoom", wish).error(400, "M_ROOM_IN_USE")
    found = ben.v3("GET", f"/directory/room/{quote(name)}").ok()
    equal(found["room_id"], room, "the room behind the alias")
    expect(ana.server in found["servers"], f"ana's server is not named: {found['servers']}")
    ben.v3("GET", f"/directory/room/{quote('#nowhere:' + ana.server)}").error(404, "M_NOT_FOUND")
    equal(ben.v3("POST", f"/join/{quote(name)}", {}).ok()["room_id"], room, "the room that ben joined")
    ben.say(room, "soup?", "a1").ok()
    ana.until("ben's question", lambda: ana.texts(room) == ["soup?"])
    second = f"#cellar:{ana.server}"
    ana.v3("PUT", f"/directory/room/{quote(second)}", {"room_id": room}).ok()
    ana.v3("PUT", f"/directory/room/{quote(second)}", {"room_id": room}).error(409, "M_UNKNOWN", "M_ROOM_IN_USE")
    ana.v3("DELETE", f"/directory/room/{quote(second)}").ok()
    ben.v3("GET", f"/directory/room/{quote(second)}").error(404, "M_NOT_FOUND")


@step("ben leaves the kitchen and forgets it")
def leave(story):
    ana, ben = story.both()
    room = story.kitchen
    ana.room("POST", room, "forget", {}).error(400, "M_UNKNOWN", "M_BAD_STATE", "M_FORBIDDEN")
    ben.until("ben is in the kitchen", lambda: room in ben.joined)
    ben.room("POST", room, "leave", {}).ok()
    ben.until("ben's leave", lambda: room in ben.left)
    ana.until("ben's leave", lambda: ana.joined[room].get(("m.room.member", ben.user), {})
              .get("content", {}).get("membership") == "leave")
    ben.room("POST", room, "forget", {}).ok()
    ben.room("GET", room, "messages", query={"dir": "b"}).error(403, "M_FORBIDDEN")
    expect(room not in ben.v3("GET", "/joined_rooms").ok()["joined_rooms"], "the kitchen is among ben's rooms")


@step("ben is stopped by SIGTERM; ana writes; he returns and has it all, from where his sync stood")
def restart_ben(story):
    ana, ben = story.both()
    room = story.room
    ben.until("quiet", lambda: not ben.sync(timeout_ms=300).get("rooms", {}).get("join"))
    before = [event["event_id"] for event in ben.timelines[room]]
    equal(story.ben_phone.stop(), 0, "ben's exit code")
    missed = [f"while you were away {number}" for number in range(5)]
    for number, text in enumerate(missed):
        ana.say(room, text, f"away-{number}").ok()
    code, out, errors = run_to_end([str(story.binary), "id", "--data", str(story.ben_phone.data)])
    expect(code == 0 and ben.server in out, f"`hearth id` does not name ben's server: {code} {out!r} {errors!r}")
    ben.base = story.chi.base = story.ben_phone.start()
    began = time.monotonic()
    equal(ben.v3("GET", "/account/whoami").ok()["user_id"], ben.user, "who ben's token is")
    ben.until("what ben missed", lambda: set(missed) <= set(ben.texts(room)))
    print(f"    caught up {(time.monotonic() - began) * 1000:.0f} ms after the client API answered")
    ids = [event["event_id"] for event in ben.timelines[room]]
    equal(ids[: len(before)], before, "what ben had")
    equal(len(ids), len(set(ids)), "no event comes twice to ben")
    equal(ben.texts(room)[-len(missed):], missed, "what ben missed, in order")


@step("ana is stopped by Ctrl-C and returns; nothing is lost, and both talk on")
def restart_ana(story):
    ana, ben = story.both()
    room = story.room
    state = {event["event_id"] for event in ana.room("GET", room, "state").ok()}
    ana.until("quiet", lambda: not ana.sync(timeout_ms=300).get("rooms", {}).get("join"))
    equal(story.ana_phone.stop(signal.SIGINT), 0, "ana's exit code")
    ben.say(room, "are you there?", "there").ok()
    ana.base = story.ana_phone.start()
    equal({event["event_id"] for event in ana.room("GET", room, "state").ok()}, state, "the state after the restart")
    ana.until("ben's question", lambda: ana.texts(room)[-1] == "are you there?")
    equal(ana.say(room, f"{ana.user} 3", "talk-3").ok()["event_id"], story.sent[f"{ana.user} 3"],
          "the event of a txn that is retried after the restart")
    ana.say(room, "I am", "here").ok()
    ben.until("ana's answer", lambda: ben.texts(room)[-1] == "I am")
    again = Client(ana.base)
    again.login(ana.user, "correct horse")
    equal({event["event_id"] for event in again.history(room, "b", 50)},
          {event["event_id"] for event in ben.history(room, "b", 50)}, "the history after both restarts")


@step("both end cleanly; a database that is not Hearth's is refused")
def end(story):
    for phone in (story.ana_phone, story.ben_phone):
        equal(phone.stop(), 0, f"{phone.name}'s exit code")
        expect(not any("panicked" in line for line in phone.lines), f"{phone.name} panicked")
    foreign = Phone(story.binary, story.home, "foreign")
    shutil.copytree(story.ana_phone.data, foreign.data)
    databases = list(foreign.data.rglob("*.redb"))
    expect(databases, "no *.redb file in ana's data directory")
    for database in databases:
        database.write_bytes(b"this is somebody else's file\n" * 4096)
    refuses(foreign.command(), "a foreign database")


def main():
    """Runs the story with the binary that is named."""
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        print("usage: chat.py PATH-OF-HEARTH (build it with `cargo build -p hearth-p2p --bin hearth`)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="hearth-clients-") as home:
        story = Story(pathlib.Path(sys.argv[1]).resolve(), home)
        try:
            return 0 if step.tell(story) else 1
        finally:
            story.ana_phone.kill()
            story.ben_phone.kill()


if __name__ == "__main__":
    sys.exit(main())
