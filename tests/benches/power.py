#!/usr/bin/env python3
"""What two connected phones cost each other while nothing is said: unshare -n tests/benches/power.py target/release/hearth

For each power mode: packets between them (both ways, with their acknowledgements), how often the second one's process woke up,
and its processor time; then how long a message to a phone that rests takes. The loopback interface must be theirs alone, so it
wants a network namespace of its own, in which it brings that interface up. It measures and judges nothing.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))
from person import Person  # noqa: E402

HEARTH = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/hearth").resolve()
MODES = ["foreground", "background", "low"]
# Until connections that rest have ended, and what a change of the mode causes is over.
SETTLED_S = 12
IDLE_S = 120
MESSAGES = 7


def start(folder, name):
    command = [HEARTH, "chat", "--json", "--data", folder / name, "--name", name, "--discovery", "loopback"]
    return Person(name, command, folder / f"{name}.log")


def packets():
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.strip().startswith("lo:"))


def wakeups(person):
    """Times that a thread of the process went to sleep by itself: it was woken as often."""
    status = pathlib.Path(f"/proc/{person.process.pid}/task").glob("*/status")
    lines = [line for one in status for line in one.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def cpu_ms(person):
    fields = pathlib.Path(f"/proc/{person.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        ana, ben = start(pathlib.Path(folder), "ana"), start(pathlib.Path(folder), "ben")
        user = ben.do("who")["user"]
        while not ana.do("near")["servers"]:
            time.sleep(0.1)
        room = ana.do("create", name="Idle", invite=[user], encrypted=True, direct=True)["room"]
        ben.until("the invite", lambda: room in ben.invites)
        ben.do("join", room=room)
        ana.do("send", room=room, text="Hello")
        for mode in MODES:
            # Whoever does not rest answers one that does, so the first phone is as awake as a phone may be in a pocket.
            ana.do("power", power=mode if mode != "low" else "background")
            ben.do("power", power=mode)
            time.sleep(SETTLED_S)
            before = packets(), wakeups(ben), cpu_ms(ben)
            time.sleep(IDLE_S)
            moved, woken, busy = (now - then for now, then in zip((packets(), wakeups(ben), cpu_ms(ben)), before))
            print(f"{mode:12} {moved:5} packets {woken:5} wakeups {busy:5} ms of processor time in {IDLE_S} s", flush=True)
        times = []
        for number in range(MESSAGES):
            time.sleep(SETTLED_S)
            began = time.monotonic()
            event = ana.do("send", room=room, text=f"Message {number}")["event"]
            ben.until("the message", lambda: event in ben.items.get(room, {}))
            times.append((time.monotonic() - began) * 1000)
        print(f"a message to a phone that rests: {statistics.median(times):.0f} ms (p50 of {MESSAGES})")
        for person in (ana, ben):
            person.quit()


main()
