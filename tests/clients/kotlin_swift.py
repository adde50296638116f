#!/usr/bin/env python3
"""A Kotlin process and a Swift process find each other by mDNS on the loopback interface, and chat, encrypted, both ways.

    python3 tests/clients/kotlin_swift.py "android/jvm.sh org.hearth.cli.ChatKt" "ios/trixie.sh ios/.build/debug/hearth-chat"

Each command gets a name and a folder, prints what it hears line by line, and takes orders line by line; the first lines of
android's Chat.kt and of ios' Tools/chat/main.swift say which. Prints each step and its time.
"""

import pathlib
import shlex
import subprocess
import sys
import tempfile
import threading
import time

from matrix import Failure, equal, eventually, expect
from steps import Steps

START_S = 60
ANSWER_S = 30
END_S = 30


class Chat:
    """One of the two programs."""

    def __init__(self, name, command, home):
        self.name = name
        self.command = [*shlex.split(command), name, str(pathlib.Path(home) / name)]
        self.lines = []
        self.process = None
        self.user = None

    def start(self):
        """Starts it; `user` tells when it runs."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Keeps what it prints."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def hears(self, beginning, what, seconds=ANSWER_S):
        """Waits for a line, and answers what follows its beginning."""

        def found():
            for line in self.lines:
                if line.startswith(beginning):
                    return line.removeprefix(beginning) or "-"
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with exit code {self.process.returncode}, before: {what}")
            return None

        return eventually(what, found, seconds)

    def asked(self, order):
        """Gives it an order."""
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def end(self):
        """Ends it in order, and answers its exit code."""
        self.process.stdin.close()
        return self.process.wait(END_S)

    def kill(self):
        """Ends it whatever it does."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Story:
    """What the steps share."""

    def __init__(self, kotlin, swift, home):
        self.kotlin = Chat("kotlin", kotlin, home)
        self.swift = Chat("swift", swift, home)

    def both(self):
        return (self.kotlin, self.swift)

    def logs(self):
        """What to show when a step fails."""
        return [(chat.name, chat.lines) for chat in self.both()]


step = Steps()


@step("both start")
def start(story):
    for chat in story.both():
        chat.start()
    for chat in story.both():
        chat.user = chat.hears("user ", f"{chat.name} runs", START_S)
        expect(chat.user.startswith(f"@{chat.name}:"), f"{chat.user} is no user id of {chat.name}")


@step("they find each other by mDNS")
def meet(story):
    for chat, other in (story.both(), story.both()[::-1]):
        server = other.user.partition(":")[2]
        chat.hears(f"peer {server}", f"{chat.name} sees {other.name}")


def talk(host, guest, words):
    """One asks the other into a new room, and both say something there."""
    before = [len([line for line in chat.lines if line.startswith("room ")]) for chat in (host, guest)]
    host.asked(f"invite-to-new-room {guest.user}")
    for chat, count in zip((host, guest), before):
        eventually(
            f"{chat.name} is in the room", lambda: sum(line.startswith("room ") for line in chat.lines) > count, ANSWER_S
        )
    for chat, other in ((guest, host), (host, guest)):
        said = f"{words}, says {chat.name} — ß 你好 🔥"
        chat.asked(f"say {said}")
        other.hears(f"said {chat.user} {said}", f"{other.name} hears {chat.name}")


@step("Kotlin asks Swift into a room, and they talk both ways")
def from_kotlin(story):
    talk(story.kotlin, story.swift, "Kotlin's tea")


@step("Swift asks Kotlin into a room, and they talk both ways")
def from_swift(story):
    talk(story.swift, story.kotlin, "Swift's coffee")


@step("a hundred messages arrive, each once and in order")
def many(story):
    wanted = [f"number {number}" for number in range(100)]
    for text in wanted:
        story.swift.asked(f"say {text}")
    beginning = f"said {story.swift.user} number "
    eventually(
        "all of them",
        lambda: sum(line.startswith(beginning) for line in story.kotlin.lines) >= len(wanted),
        ANSWER_S,
    )
    time.sleep(0.5)
    heard = [line.removeprefix(f"said {story.swift.user} ") for line in story.kotlin.lines if line.startswith(beginning)]
    equal(heard, wanted, "what Kotlin heard")


@step("both end in order, and nothing went wrong meanwhile")
def end(story):
    for chat in story.both():
        equal(chat.end(), 0, f"{chat.name}'s exit code")
        equal([line for line in chat.lines if line.startswith("error ")], [], f"{chat.name}'s errors")


def main():
    """Runs the story with the two commands that are named."""
    if len(sys.argv) != 3:
        print("usage: kotlin_swift.py KOTLIN-COMMAND SWIFT-COMMAND", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="hearth-two-") as home:
        story = Story(sys.argv[1], sys.argv[2], home)
        try:
            return 0 if step.tell(story) else 1
        finally:
            for chat in story.both():
                chat.kill()


if __name__ == "__main__":
    sys.exit(main())
