"""A person at a chat program that is driven by lines of JSON on its standard input and output.

Every program of encrypted.py speaks the same protocol: js/person.mjs (matrix-js-sdk), nio_person.py (matrix-nio) and
`hearth chat --json` (Hearth's own client, with the homeserver in the same process). One object a line; what belongs to nothing
else goes to stderr.

    -> {"id": 7, "do": "send", "room": "!r", "text": "hello"}       a command; `id` is the caller's
    <- {"id": 7, "ok": {"event": "$e"}}                             its answer, in any order, or {"id": 7, "error": "why"}
    <- {"event": "item", "room": "!r", "item": {...}}               what happens meanwhile

Verbs, with what they answer. A verb that names a room waits until the program knows the room.

    open      homeserver, name, password, register   who, and the token: programs that need a homeserver only. `js` takes a
                                          login token instead of the last three
    sign                                  {}: there is a cross-signing identity from now on
    who                                   user, device, ed25519 (the device's key)
    profile   user                        name, or null; an error while the user's homeserver is out of reach
    create    name, invite, encrypted, direct        room
    join      room                        {}, once the program shows the room
    members   room                        {user: membership}
    send      room, text, [thread], [reply_to]       event; `thread` is the id of a thread's root
    edit      room, event, text           event
    react     room, event, key            event
    picture   room, path, name, mimetype, width, height, [thread]     event; encrypts the file and uploads it
    download  room, event, path           bytes, mimetype, url (mxc); decrypts into the file
    rotate    room                        {}: the next message begins with new keys
    timeline  room                        items, oldest first
    verify    user, [room]                flow: asks somebody in the room, or without one our own other devices
    accept, start, confirm, cancel  flow  {}: takes the request; starts SAS; says that the emoji match; ends it
    qr        flow                        code, the bytes of what the other side may scan: `js` only
    scan      flow, code                  {}: scanned the other side's code, whose person then confirms: `hearth chat` only
    trust     user                        verified: the user's identity is signed by ours
    recovery  make, [key]                 key, backup {version, keys, of}: makes another recovery key. `hearth chat` makes none
                                          without `make`, and recovers by `key`: verified, new (keys that it lacked), backup.
                                          `js` answers version in place of backup
    recover   key                         verified, trusted (the backup), imported (keys): recovers by a key: `js` only
    state     room, event                 state, recipients {user: queued, on_their_phone, read, refused}: `hearth chat` only, as
    shown, read   room                    are: items as they are shown now; marks everything as read
    rooms, near                           invites; servers within reach: `hearth chat` only, as is
    offline   offline                     {}: leaves the network, or returns; and
    power     power                       {}: foreground, background or low; and
    clients                               homeserver, token: opens the client API, and lets one more client of this person in
    quit                                  {}, then exit code 0

Events:

    invite        room, by, name
    item          room, item: a message is new, or is not what it was; the same object as in `timeline`
    verification  flow, user, incoming, state: requested, ready, emoji (with emoji: [[symbol, name] x 7]), done, cancelled
    refused       method, path, status, errcode: an HTTP request that failed: programs that need a homeserver only

An item is a message that has reached the homeserver, in a thread or not; edits, reactions and state are no items of their own:

    id, sender, kind (text, image, undecryptable), text (or the picture's name, or why it is not readable), encrypted, edited,
    reactions {key: [users, sorted]}, thread (the root's id, or null), replies (how many there are in the thread below it)
"""

import json
import subprocess
import threading
import time

from matrix import Failure, expect

ANSWER_S = 30
END_S = 10


class Person:
    """A running program, and what it told."""

    def __init__(self, name, command, log):
        self.name = name
        self.log = log
        self.user = self.device = self.token = None
        self.items = {}
        self.invites = {}
        self.verifications = {}
        self.refused = []
        self.answers = {}
        self.numbers = 0
        self.heard = threading.Condition()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        with open(log, "ab") as sink:
            self.process = subprocess.Popen(command, stderr=sink, **pipes)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Takes in what it says, until it ends."""
        for line in self.process.stdout:
            with self.heard:
                try:
                    self.take(json.loads(line))
                except (KeyError, ValueError, TypeError) as error:
                    self.refused.append({"event": "nonsense", "line": line[:200], "why": repr(error)})
                self.heard.notify_all()
        with self.heard:
            self.heard.notify_all()

    def take(self, line):
        """Takes in one line."""
        if "id" in line:
            self.answers[line["id"]] = line
        elif line["event"] == "item":
            self.items.setdefault(line["room"], {})[line["item"]["id"]] = line["item"]
        elif line["event"] == "invite":
            self.invites[line["room"]] = line
        elif line["event"] == "verification":
            self.verifications.setdefault(line["flow"], {})[line["state"]] = line
        elif line["event"] == "refused":
            self.refused.append(line)
        else:
            raise ValueError("an unknown event")

    def until(self, what, check, seconds=20.0):
        """Waits until what it told makes something hold."""
        deadline = time.monotonic() + seconds
        with self.heard:
            while not (answer := check()):
                if self.process.poll() is not None:
                    raise Failure(f"{self.name} ended with exit code {self.process.returncode}, before: {what}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failure(f"{self.name}: {what}: not within {seconds:.0f} s")
                self.heard.wait(min(left, 0.5))
            return answer

    def ask(self, verb, seconds=ANSWER_S, **wish):
        """A command whose answer may be an error."""
        with self.heard:
            self.numbers += 1
            number = self.numbers
        try:
            self.process.stdin.write(json.dumps({"id": number, "do": verb, **wish}) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.name} does not listen any more ({error}), exit code {self.process.poll()}") from None
        return self.until(f"an answer to {verb}", lambda: self.answers.pop(number, None), seconds)

    def do(self, verb, seconds=ANSWER_S, **wish):
        """A command that must succeed."""
        answer = self.ask(verb, seconds, **wish)
        if "ok" not in answer:
            raise Failure(f"{self.name} cannot {verb}: {answer.get('error')}")
        return answer["ok"]

    def open(self, **wish):
        """Begins to be somebody."""
        who = self.do("open", **wish) if wish else self.do("who")
        self.user, self.device, self.token = who["user"], who["device"], who.get("token")
        expect(self.user.startswith("@") and who["ed25519"], f"{self.name} is nobody: {who}")

    def sees(self, room, event, what, check, seconds=20.0):
        """Waits until it shows a message as it should be, and answers the message."""

        def right():
            item = self.items.get(room, {}).get(event)
            return item if item and check(item) else None

        try:
            return self.until(what, right, seconds)
        except Failure as failure:
            raise Failure(f"{failure}; it shows {self.items.get(room, {}).get(event)!r}") from None

    def quit(self):
        """Ends it as it should end, and answers its exit code."""
        self.do("quit")
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within {END_S} s") from None

    def kill(self):
        """Ends it in any case; for cleaning up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def refusals(self):
        """The requests that its homeserver refused, each kind once."""
        return sorted({f"refused: {refusal}" for refusal in self.refused})

    def last_lines(self, count):
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-count:]
