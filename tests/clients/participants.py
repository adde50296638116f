"""Who takes part in encrypted.py: a person at a program, and the phone with the homeserver that the program needs.

`js` and `nio` are other people's clients, each on the loopback API of a `hearth run` of its own. `chat` is Hearth's own client:
one process, `hearth chat --json`, which is the homeserver too.
"""

import pathlib
import shutil

from matrix import Client, Failure, equal, expect
from person import Person
from phone import Phone

HERE = pathlib.Path(__file__).parent


class Participant:
    """What both kinds have in common."""

    # Whether the program knows cross-signing and can compare emoji.
    verifies = True
    # Whether there is a loopback API, for more devices and for a look at what the homeserver holds.
    has_api = False
    # Whether the program can scan a code.
    scans = False
    # Whether they make recovery keys, which other devices of theirs are verified by.
    recovers = False

    def __init__(self, binary, home, name):
        self.name = name
        self.home = pathlib.Path(home)
        self.phone = Phone(binary, home, name)
        self.person = None
        self.others = []

    @property
    def user(self):
        """The user id."""
        return self.person.user

    def persons(self):
        """The person, and who else was logged in at the same phone."""
        return [person for person in (self.person, *self.others) if person]

    def kill(self):
        """Ends everything; for cleaning up."""
        for person in self.persons():
            person.kill()
        self.phone.kill()

    def logs(self):
        """What to show when a step fails."""
        return [(person.name, person.last_lines(100) + person.refusals()) for person in self.persons()]

    def ends(self, person):
        """Ends a program as it should end."""
        equal(person.quit(), 0, f"the exit code of {person.name}")


class ApiParticipant(Participant):
    """Somebody with a client that speaks to the loopback API."""

    has_api = True

    def __init__(self, binary, home, name, command):
        super().__init__(binary, home, name)
        self.command = command

    def start(self):
        """Starts the phone and the client, and registers."""
        self.phone.start()
        self.person = self.another(self.name, register=True)

    def another(self, title, register=False):
        """A device of this user."""
        person = Person(title, self.command, self.home / f"{title}.log")
        # Known at once, so that its log is shown if it does not come to be.
        self.others.append(person)
        person.open(homeserver=self.phone.base, name=self.name, password=f"{self.name}'s password", register=register)
        if register:
            self.others.remove(person)
        return person

    def away(self):
        """The phone goes; the client stays, and finds it gone."""
        equal(self.phone.stop(), 0, f"the exit code of {self.name}'s phone")

    def back(self):
        """The phone returns where the client looks for it."""
        self.phone.start("--client-listen", self.phone.base.removeprefix("http://"))

    def raw(self):
        """Plain HTTP as this user: what a stranger would see who holds the phone's database."""
        client = Client(self.phone.base)
        client.token, client.user = self.person.token, self.user
        return client

    def end(self):
        """Ends all, as it should end."""
        for person in self.persons():
            self.ends(person)
        equal(self.phone.stop(), 0, f"the exit code of {self.name}'s phone")
        expect(not any("panicked" in line for line in self.phone.lines), f"{self.name}'s phone panicked")

    def logs(self):
        return [*super().logs(), (f"{self.name}'s phone", self.phone.lines)]


def js_command(cache):
    """The program that is matrix-js-sdk."""
    # Modules are looked for beside the file that names them.
    script = cache / "js" / "person.mjs"
    shutil.copyfile(HERE / "js" / "person.mjs", script)
    return [str(cache / "js" / "node_modules" / ".bin" / "node"), str(script)]


class JsParticipant(ApiParticipant):
    """Somebody with matrix-js-sdk."""

    def __init__(self, binary, home, name, cache):
        super().__init__(binary, home, name, js_command(cache))


class NioParticipant(ApiParticipant):
    """Somebody with matrix-nio, which has no cross-signing."""

    verifies = False

    def __init__(self, binary, home, name, cache):
        super().__init__(binary, home, name, [str(cache / "python" / "bin" / "python"), str(HERE / "nio_person.py")])


class ChatParticipant(Participant):
    """Somebody with Hearth's own client."""

    scans = True
    recovers = True

    def __init__(self, binary, home, name, cache):
        super().__init__(binary, home, name)
        self.cache = cache

    def another(self, title):
        """A second device of this user: matrix-js-sdk at this homeserver, whose client API is opened for it."""
        access = self.person.do("clients")
        person = Person(title, js_command(self.cache), self.home / f"{title}.log")
        self.others.append(person)
        person.open(homeserver=access["homeserver"], token=access["token"])
        return person

    def start(self):
        """Starts the program, which is somebody from the start."""
        self.person = Person(self.name, [*self.phone.on_loopback("chat"), "--json"], self.home / f"{self.name}.log")
        self.person.open()

    def away(self):
        """The program ends, and the homeserver with it."""
        self.ends(self.person)

    def back(self):
        """The program starts again from what it stored, and tells again what it shows."""
        user, device = self.person.user, self.person.device
        self.start()
        equal((self.person.user, self.person.device), (user, device), f"who {self.name} is after a restart")

    def end(self):
        """Ends all, as it should end, and the homeserver last."""
        for person in reversed(self.persons()):
            self.ends(person)
        lines = self.person.last_lines(100_000)
        expect(not any("panicked" in line for line in lines), f"{self.name} panicked")


KINDS = {"js": JsParticipant, "nio": NioParticipant, "chat": ChatParticipant}


def participant(kind, binary, home, name, cache):
    """One of the kinds above."""
    if kind not in KINDS:
        raise Failure(f'there is no participant called "{kind}"; there are {", ".join(KINDS)}')
    return KINDS[kind](binary, home, name, pathlib.Path(cache).resolve())
