#!/usr/bin/env python3
"""An encrypted room shared by people with different programs, each on a phone of its own, joined only by mDNS and QUIC on loopback.

    python3 tests/clients/encrypted.py target/debug/hearth target/clients js nio chat

The second argument is the directory that install.sh filled; the rest are the participants, as participants.py names them: the
first makes the room. Prints each step and its time. Exit code 1 if one of them did not go as it should; then the last lines of
all programs follow.
"""

import hashlib
import pathlib
import random
import struct
import sys
import tempfile
import zlib

from matrix import Failure, equal, eventually, expect, quote
from participants import participant
from steps import Steps

NAMES = ("ana", "ben", "chi", "dan")
# A picture of noise does not compress: 300 x 200 are about 180 kB, more than one packet and one chunk of anything.
WIDTH, HEIGHT = 300, 200
# Members and keys of others come over the mesh; a client whose phone was away looks for it every ten seconds or less.
MEET_S = 30
RETURN_S = 45

step = Steps()


class Story:
    """What the steps share."""

    def __init__(self, binary, cache, home, kinds):
        self.home = pathlib.Path(home)
        self.people = [participant(kind, binary, home, name, cache) for name, kind in zip(NAMES, kinds)]
        self.room = None
        self.texts = {}
        self.secrets = set()
        self.pictures = {}

    def logs(self):
        """What to show when a step fails."""
        return [log for one in self.people for log in one.logs()]

    def users(self):
        """The user ids, as reactions list them."""
        return sorted(one.user for one in self.people)

    def pairs(self):
        """Everybody with everybody else."""
        return [(one, other) for one in self.people for other in self.people if one is not other]

    def able(self):
        """Each with the next among those who can verify each other."""
        able = [one for one in self.people if one.verifies]
        if len(able) < 2:
            print("    nobody here can: it takes two programs with cross-signing")
        return list(zip(able[1:], able))

    def says(self, one, text, room=None, readers=None, **more):
        """Somebody says something; everybody reads it, and that it was encrypted."""
        self.secrets.add(text)
        room = room or self.room
        event = one.person.do("send", room=room, text=text, **more)["event"]
        for person in readers or [reader.person for reader in self.people]:
            self.reads(person, room, event, one.user, text)
        return event

    def hears_of(self, one, person):
        """Somebody writes until a new device reads it: what they write before they have heard of the device is not for it."""
        for number in range(6):
            text = f"{one.name} tries {person.name}, {number}"
            self.secrets.add(text)
            event = one.person.do("send", room=self.room, text=text)["event"]
            try:
                return self.reads(person, self.room, event, one.user, text, seconds=4.0)
            except Failure as failure:
                missed = failure
        raise missed

    def reads(self, person, room, event, sender, text, seconds=20.0):
        """Somebody reads a message."""
        item = person.sees(room, event, f"the message {text!r}", lambda item: item["text"] == text, seconds)
        found = (item["kind"], item["sender"], item["encrypted"])
        equal(found, ("text", sender, True), f"kind, sender and encryption of {text!r} at {person.name}")
        return item


@step("everybody starts, is somebody, and has a key of their own")
def start(story):
    for one in story.people:
        one.start()
        print(f"    {one.name} is {one.user} with {type(one).__name__.removesuffix('Participant').lower()}")
    expect(len({one.user.split(":", 1)[1] for one in story.people}) == len(story.people), "two phones have the same server name")
    expect(len({one.person.device for one in story.people}) == len(story.people), "two devices have the same id")


@step("they find each other by mDNS")
def meet(story):
    for one, other in story.pairs():
        eventually(f"{one.name} reaches {other.name}'s phone", lambda: "ok" in one.person.ask("profile", user=other.user), MEET_S)


@step("the first makes an encrypted room; the invitations arrive; all join")
def join(story):
    host, guests = story.people[0], story.people[1:]
    room = host.person.do("create", name="Boat", invite=[guest.user for guest in guests], encrypted=True)["room"]
    story.room = room
    for guest in guests:
        invite = guest.person.until("the invitation", lambda: guest.person.invites.get(room))
        equal(invite["by"], host.user, f"who invited {guest.name}")
        guest.person.do("join", room=room)
    everybody = {user: "join" for user in story.users()}
    for one in story.people:
        eventually(f"{one.name} sees everybody in the room", lambda: one.person.do("members", room=room) == everybody, MEET_S)


@step("everybody writes; everybody reads all of it, in the order in which each wrote")
def talk(story):
    for number in range(5):
        for one in story.people:
            story.texts[one.name, number] = story.says(one, f"{one.name} writes {number}")
    burst = {}
    for number in range(5):
        for one in story.people:
            burst[one.name, number] = one.person.do("send", room=story.room, text=f"{one.name} bursts {number}")["event"]
    for reader in story.people:
        for (name, number), event in burst.items():
            sender = next(one.user for one in story.people if one.name == name)
            story.reads(reader.person, story.room, event, sender, f"{name} bursts {number}")
        shown = [item["id"] for item in reader.person.do("timeline", room=story.room)["items"]]
        equal(len(shown), len(set(shown)), f"no message comes twice to {reader.name}")
        for one in story.people:
            mine = [burst[one.name, number] for number in range(5)]
            equal([event for event in shown if event in mine], mine, f"{one.name}'s burst at {reader.name}")


@step("everybody edits a message; everybody reads the new text")
def edit(story):
    for one in story.people:
        event, text = story.texts[one.name, 1], f"{one.name} thought again"
        story.secrets.add(text)
        one.person.do("edit", room=story.room, event=event, text=text)
        for reader in story.people:
            item = story.reads(reader.person, story.room, event, one.user, text)
            equal(item["edited"], True, f"whether {one.name}'s message is edited at {reader.name}")


@step("everybody reacts to a message; everybody counts the same")
def react(story):
    event = story.texts[story.people[0].name, 2]
    for one in story.people:
        one.person.do("react", room=story.room, event=event, key="👍")
    story.people[-1].person.do("react", room=story.room, event=event, key="🎉")
    wanted = {"👍": story.users(), "🎉": [story.people[-1].user]}
    for reader in story.people:
        reader.person.sees(story.room, event, "all reactions", lambda item: item["reactions"] == wanted)


@step("a thread: everybody answers in it, everybody sees it below its root, one answer is edited")
def thread(story):
    root = story.texts[story.people[0].name, 3]
    answers = [story.says(one, f"{one.name} answers below", thread=root) for one in story.people]
    last = story.people[-1]
    text = f"{last.name} answers better"
    story.secrets.add(text)
    last.person.do("edit", room=story.room, event=answers[-1], text=text)
    for reader in story.people:
        story.reads(reader.person, story.room, answers[-1], last.user, text)
        for event in answers:
            reader.person.sees(story.room, event, "an answer in the thread", lambda item: item["thread"] == root)
        reader.person.sees(story.room, root, "the number of answers", lambda item: item["replies"] == len(answers))
        plain = reader.person.items[story.room][story.texts[last.name, 4]]
        equal((plain["thread"], plain["replies"]), (None, 0), f"a message outside the thread at {reader.name}")


@step("everybody sends a picture; everybody downloads it and has it byte for byte")
def pictures(story):
    for number, one in enumerate(story.people):
        path = story.home / f"{one.name}.png"
        path.write_bytes(noise(number))
        facts = {"path": str(path), "name": path.name, "mimetype": "image/png", "width": WIDTH, "height": HEIGHT}
        event = one.person.do("picture", room=story.room, **facts)["event"]
        for reader in story.people:
            item = reader.person.sees(story.room, event, f"{one.name}'s picture", lambda item: item["text"] == path.name)
            found = (item["kind"], item["sender"], item["encrypted"])
            equal(found, ("image", one.user, True), f"kind, sender and encryption of {one.name}'s picture at {reader.name}")
            copy = story.home / f"{one.name}-at-{reader.name}.png"
            got = reader.person.do("download", room=story.room, event=event, path=str(copy))
            equal(digest(copy), digest(path), f"{one.name}'s picture at {reader.name}")
            equal(got["mimetype"], "image/png", f"the type of {one.name}'s picture at {reader.name}")
        story.pictures[one.name] = got["url"]


@step("the homeservers hold nothing readable, and give no picture to a stranger")
def sealed(story):
    for one in story.people:
        if not one.has_api:
            continue
        raw = one.raw()
        events = [event for event in raw.history(story.room, "b", 50) if "state_key" not in event]
        kinds = {event["type"] for event in events}
        equal(kinds, {"m.room.encrypted", "m.reaction"}, f"the types of messages at {one.name}'s homeserver")
        for event in events:
            read = [secret for secret in story.secrets if secret in str(event)]
            expect(not read, f"{one.name}'s homeserver can read {read}")
        for name, url in story.pictures.items():
            path = "/_matrix/client/v1/media/download/" + url.removeprefix("mxc://")
            raw.request("GET", path, token=None).error(401, "M_MISSING_TOKEN")
            answer = raw.request("GET", path)
            equal(answer.status, 200, f"{name}'s picture at {one.name}'s homeserver")
            plain = (story.home / f"{name}.png").read_bytes()
            expect(plain[:64] not in answer.raw and len(answer.raw) >= len(plain), f"{name}'s picture is readable")


@step("each phone in turn is away while the others write with new keys; it returns and reads it all")
def away(story):
    for one in story.people:
        others = [other for other in story.people if other is not one]
        one.away()
        missed = []
        for other in others:
            other.person.do("rotate", room=story.room)
            text = f"{other.name} writes while {one.name} is away"
            missed.append((other.user, text, story.says(other, text, readers=[reader.person for reader in others])))
        one.back()
        for sender, text, event in missed:
            story.reads(one.person, story.room, event, sender, text, RETURN_S)
        story.says(one, f"{one.name} is back")


@step("a second device is verified by its owner's first, by emoji, and reads what is written from then on")
def second_device(story):
    for one in story.people:
        if not one.verifies:
            continue
        one.person.do("sign")
        second = one.another(f"{one.name}'s second device")
        expect(second.device != one.person.device, "a second login is the same device")
        flow = second.do("verify", user=one.user)["flow"]
        compare(second, one.person, flow)
        for other in story.people:
            story.hears_of(other, second)
            text = f"{other.name} writes to all devices"
            story.says(other, text, readers=[*(reader.person for reader in story.people), second])


@step("another device shows a code, its owner's first scans it, and they are verified")
def scanned_device(story):
    for one in story.people:
        if not one.scans:
            continue
        third = one.another(f"{one.name}'s third device")
        flow = third.do("verify", user=one.user)["flow"]
        one.person.until("the request", lambda: one.person.verifications.get(flow, {}).get("requested"))
        one.person.do("accept", flow=flow)
        third.until("the acceptance", lambda: third.verifications[flow].get("ready"))
        one.person.do("scan", flow=flow, code=third.do("qr", flow=flow)["code"])
        third.until("the scan", lambda: third.verifications[flow].get("scanned"))
        third.do("confirm", flow=flow)
        for device in (one.person, third):
            device.until("the end", lambda: device.verifications[flow].get("done"))
        for other in story.people:
            story.hears_of(other, third)
            story.says(other, f"{other.name} writes to three devices", readers=[*(reader.person for reader in story.people), third])


@step("a device that is given the recovery key alone is verified by it, and reads what was said before it was there")
def recovered_device(story):
    for one in story.people:
        if not one.recovers:
            continue
        before = []
        for other in story.people:
            other.person.do("rotate", room=story.room)
            text = f"{other.name} writes before there is a fourth device"
            before.append((story.says(other, text), other.user, text))
        made = one.person.do("recovery", make=True)
        equal(made["backup"]["keys"], made["backup"]["of"], f"the keys in {one.name}'s backup")
        fourth = one.another(f"{one.name}'s fourth device")
        for event, _, text in before:
            fourth.sees(story.room, event, f"that {text!r} is there", lambda item: item["kind"] == "undecryptable")
        got = fourth.do("recover", key=made["key"])
        equal((got["verified"], got["trusted"]), (True, True), "whether the device is verified, and trusts the backup")
        equal(got["imported"], made["backup"]["keys"], f"the keys that {one.name}'s fourth device read from the backup")
        for event, sender, text in before:
            story.reads(fourth, story.room, event, sender, text)
        for other in story.people:
            story.hears_of(other, fourth)
            text = f"{other.name} writes to four devices"
            story.says(other, text, readers=[*(reader.person for reader in story.people), fourth])
        # The other way round: that device makes a recovery key, and the phone is given it.
        theirs = fourth.do("recovery")
        expect("backup" not in one.person.do("recovery"), f"{one.name}'s phone still counts on the backup that was replaced")
        equal(one.person.do("recovery", key=theirs["key"])["verified"], True, f"whether {one.name}'s phone is verified")
        backup = eventually(f"{one.name}'s phone fills the new backup", lambda: filled(one.person))
        equal(backup["version"], theirs["version"], f"the backup that {one.name}'s phone goes on with")


@step("two people verify each other by emoji, in a room of their own, and trust each other's identity")
def verification(story):
    for one, other in story.able():
        one.person.do("sign"), other.person.do("sign")
        for left, right in ((one, other), (other, one)):
            equal(left.person.do("trust", user=right.user)["verified"], False, f"{left.name}'s trust in {right.name} before")
        room = one.person.do("create", name="Two", invite=[other.user], encrypted=True, direct=True)["room"]
        other.person.until("the invitation", lambda: other.person.invites.get(room))
        other.person.do("join", room=room)
        both = {one.user: "join", other.user: "join"}
        for each in (one, other):
            eventually(f"{each.name} sees both", lambda: each.person.do("members", room=room) == both, MEET_S)
        flow = one.person.do("verify", user=other.user, room=room)["flow"]
        compare(one.person, other.person, flow)
        for left, right in ((one, other), (other, one)):
            eventually(f"{left.name} trusts {right.name}", lambda: left.person.do("trust", user=right.user)["verified"], MEET_S)


@step("a verification that one side does not confirm makes no trust")
def mismatch(story):
    for one, other in story.able():
        flow = one.person.do("verify", user=other.user, room=story.room)["flow"]
        incoming = other.person.until("the request", lambda: other.person.verifications.get(flow))
        equal(incoming["requested"]["user"], one.user, "who asks")
        other.person.do("cancel", flow=flow)
        one.person.until("the end", lambda: one.person.verifications[flow].get("cancelled"))
        expect("done" not in one.person.verifications[flow], "a cancelled verification is done")


@step("after all that everybody still writes and reads, and what was told bit by bit is what each timeline says")
def same(story):
    for one in story.people:
        story.says(one, f"{one.name} closes")
    seen = {}
    for one in story.people:
        items = one.person.do("timeline", room=story.room)["items"]
        equal({item["id"]: item for item in items}, one.person.items[story.room], f"{one.name}'s timeline and what {one.name} was told")
        seen[one.name] = {item["id"]: item for item in items}
    first = story.people[0].name
    for name, items in seen.items():
        equal(set(items) ^ set(seen[first]), set(), f"messages that only one of {first} and {name} has")
        for event, item in items.items():
            equal(item, seen[first][event], f"a message at {name} and at {first}")


@step("no client asked for something that its homeserver does not know")
def known(story):
    wrong = []
    for one in story.people:
        for refusal in (line for person in one.persons() for line in person.refused):
            if not allowed(refusal):
                wrong.append(f"{one.name}: {refusal}")
    expect(not wrong, "refused:\n        " + "\n        ".join(wrong))


@step("everybody ends cleanly")
def end(story):
    for one in story.people:
        one.end()


def allowed(refusal):
    """Refusals that are right: what is unstable, and questions whose answer is no."""
    path, code = refusal.get("path", ""), refusal.get("errcode")
    if path.startswith("/_matrix/client/unstable/"):
        return code == "M_UNRECOGNIZED"
    # The other phone was not found yet.
    if "/profile/" in path:
        return refusal["status"] < 500 or refusal["status"] in (502, 503, 504)
    # There is no key backup, no such account data, and no such profile field.
    return refusal.get("method") == "GET" and refusal.get("status") == 404 and code == "M_NOT_FOUND"


def filled(person):
    """The backup of somebody's phone, once all keys are in it."""
    backup = person.do("recovery")["backup"]
    return backup if backup["keys"] == backup["of"] else None


def compare(asking, asked, flow):
    """Goes through a verification by emoji: both must see the same seven, both confirm, both are done."""
    request = asked.until("the request", lambda: asked.verifications.get(flow, {}).get("requested"))
    equal((request["user"], request["incoming"]), (asking.user, True), f"the request at {asked.name}")
    asked.do("accept", flow=flow)
    asking.until("the acceptance", lambda: asking.verifications[flow].get("ready"))
    asking.do("start", flow=flow)
    shown = [one.until("the emoji", lambda: one.verifications[flow].get("emoji"))["emoji"] for one in (asking, asked)]
    equal(len(shown[0]), 7, f"the number of emoji at {asking.name}")
    equal([symbol for symbol, _ in shown[0]], [symbol for symbol, _ in shown[1]], "the emoji on both sides")
    print("    both see " + " ".join(symbol for symbol, _ in shown[0]))
    for one in (asking, asked):
        one.do("confirm", flow=flow)
    for one in (asking, asked):
        one.until("the end", lambda: one.verifications[flow].get("done"))


def noise(seed):
    """A picture in PNG that is different for each seed."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    dice = random.Random(seed)
    rows = b"".join(b"\0" + dice.randbytes(3 * WIDTH) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def digest(path):
    """What stands for a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    """Runs the story with the binary and the participants that are named."""
    if not 5 <= len(sys.argv) <= 3 + len(NAMES) or not pathlib.Path(sys.argv[1]).is_file():
        print(f"usage: encrypted.py PATH-OF-HEARTH CACHE PARTICIPANT PARTICIPANT...: two to {len(NAMES)}", file=sys.stderr)
        return 2
    binary, cache, *kinds = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="hearth-encrypted-") as home:
        try:
            story = Story(pathlib.Path(binary).resolve(), cache, home, kinds)
        except (Failure, OSError) as error:
            print(f"encrypted.py: {error}", file=sys.stderr)
            return 2
        try:
            return 0 if step.tell(story) else 1
        finally:
            for one in story.people:
                one.kill()


if __name__ == "__main__":
    sys.exit(main())
