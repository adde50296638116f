"""A small Matrix client: ordinary HTTP requests, nothing but the standard library.

It knows no endpoint of Hearth's own and speaks to no database, so what it sees is what any client sees.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

# Longer than the longest long poll of the scripts.
TIMEOUT_S = 40
# Enough for a whole test's traffic, so that a timeline is not cut short behind the script's back.
SYNC_FILTER = json.dumps({"room": {"timeline": {"limit": 200}}})


class Failure(AssertionError):
    """What a step expected and did not get."""


def expect(condition, what):
    """Fails the step unless the condition holds."""
    if not condition:
        raise Failure(what)


def equal(found, wanted, what):
    """Fails the step unless both are equal."""
    if found != wanted:
        raise Failure(f"{what}: expected {wanted!r}, found {found!r}")


def quote(text):
    """An id as a path segment."""
    return urllib.parse.quote(text, safe="")


def eventually(what, check, seconds=15.0):
    """Asks until the answer is true, and gives it back."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


class Answer:
    """A status and a JSON body."""

    def __init__(self, method, path, status, headers, raw):
        self.request = f"{method} {path}"
        self.status = status
        self.headers = headers
        self.raw = raw

    @property
    def body(self):
        try:
            return json.loads(self.raw)
        except ValueError:
            raise Failure(f"{self.request} answered {self.status} and no JSON: {self.raw[:200]!r}") from None

    def ok(self):
        """The body of an answer that must be a success."""
        if self.status != 200:
            raise Failure(f"{self.request} answered {self.status}: {self.raw[:400]!r}")
        return self.body

    def error(self, status, *codes):
        """Checks that the answer is this error; several codes mean that the specification leaves the choice."""
        found = (self.status, self.body.get("errcode"))
        if found[0] != status or found[1] not in codes:
            raise Failure(f"{self.request}: expected {status} {' or '.join(codes)}, found {self.status} {self.raw[:300]!r}")
        expect(isinstance(self.body.get("error"), str) and self.body["error"], f"{self.request}: an error without a sentence")
        return self.body


class Client:
    """One logged-in device, or nobody yet."""

    def __init__(self, base):
        self.base = base
        self.token = None
        self.user = None
        self.device = None
        self.since = None
        self.timelines = {}
        self.invited = {}
        self.left = {}
        self.joined = {}

    @property
    def server(self):
        """The server part of our user id."""
        return self.user.split(":", 1)[1]

    def request(self, method, path, body=None, query=None, raw=None, token=True):
        """One HTTP request; the answer may be an error."""
        url = self.base + path + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        request = urllib.request.Request(url, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        bearer = self.token if token is True else token
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                return Answer(method, path, reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as reply:
            return Answer(method, path, reply.code, reply.headers, reply.read())

    def v3(self, method, path, body=None, **more):
        """A request under `/_matrix/client/v3`."""
        return self.request(method, "/_matrix/client/v3" + path, body, **more)

    def register(self, name, password):
        """Makes an account in two steps, as the specification describes."""
        wanted = {"username": name, "password": password, "initial_device_display_name": "script"}
        first = self.v3("POST", "/register", wanted, token=None)
        equal(first.status, 401, "registration without a stage")
        flows = [flow["stages"] for flow in first.body["flows"]]
        expect(["m.login.dummy"] in flows, f"m.login.dummy is not offered: {flows}")
        auth = {"type": "m.login.dummy", "session": first.body.get("session")}
        self.adopt(self.v3("POST", "/register", {**wanted, "auth": auth}, token=None).ok())

    def login(self, name, password):
        """Logs in by name."""
        self.adopt(self.try_login(name, password).ok())

    def try_login(self, name, password):
        """A login that may fail."""
        who = {"type": "m.id.user", "user": name}
        return self.v3("POST", "/login", {"type": "m.login.password", "identifier": who, "password": password}, token=None)

    def adopt(self, session):
        """Takes over what a login or a registration answered."""
        self.token, self.user, self.device = session["access_token"], session["user_id"], session["device_id"]

    def room(self, method, room, path, body=None, **more):
        """A request under `/rooms/{room}`."""
        return self.v3(method, f"/rooms/{quote(room)}/{path}", body, **more)

    def say(self, room, text, txn):
        """Sends a text; the same txn twice is the same message."""
        return self.room("PUT", room, f"send/m.room.message/{quote(txn)}", {"msgtype": "m.text", "body": text})

    def state(self, room, kind, key=""):
        """One state event's content, or the error."""
        return self.room("GET", room, f"state/{quote(kind)}/{quote(key)}")

    def sync(self, timeout_ms=0):
        """One sync from where we are; its news is kept in `timelines`, `invited`, `joined` and `left`."""
        query = {"timeout": timeout_ms, "filter": SYNC_FILTER}
        if self.since:
            query["since"] = self.since
        body = self.v3("GET", "/sync", query=query).ok()
        self.since = body["next_batch"]
        rooms = body.get("rooms", {})
        for room, news in rooms.get("invite", {}).items():
            self.invited[room] = news["invite_state"]["events"]
        for room, news in rooms.get("join", {}).items():
            self.invited.pop(room, None)
            self.left.pop(room, None)
            self.keep(room, news, self.joined)
        for room, news in rooms.get("leave", {}).items():
            self.invited.pop(room, None)
            self.joined.pop(room, None)
            self.keep(room, news, self.left)
        return body

    def keep(self, room, news, where):
        """Keeps what a sync said of a room."""
        state = where.setdefault(room, {})
        for event in news.get("state", {}).get("events", []) + news.get("timeline", {}).get("events", []):
            if "state_key" in event:
                state[event["type"], event["state_key"]] = event
        self.timelines.setdefault(room, []).extend(news.get("timeline", {}).get("events", []))

    def until(self, what, check, seconds=15.0):
        """Syncs until something holds."""
        deadline = time.monotonic() + seconds
        while True:
            answer = check()
            if answer:
                return answer
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"{self.user}: {what}: not within {seconds:.0f} s")
            self.sync(timeout_ms=int(min(left, 2.0) * 1000))

    def texts(self, room):
        """The text messages that the syncs brought, in their order."""
        return [event["content"]["body"] for event in self.timelines.get(room, []) if "body" in event.get("content", {})]

    def history(self, room, direction, step):
        """Every event of `/messages`, page by page: from the last one backwards, or from the first one forwards."""
        events, token = [], None
        for _ in range(200):
            query = {"dir": direction, "limit": step}
            if token:
                query["from"] = token
            page = self.room("GET", room, "messages", query=query).ok()
            expect(len(page["chunk"]) <= step, f"a page of {len(page['chunk'])} events where {step} were asked for")
            events += page["chunk"]
            # Forwards there is always a place to go on from, which is where the next event will be.
            if not page.get("end") or (direction == "f" and not page["chunk"]):
                return events
            expect(page["end"] != token, "a page that leads to itself")
            token = page["end"]
        raise Failure("/messages does not end within 200 pages")
