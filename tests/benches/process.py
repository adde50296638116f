#!/usr/bin/env python3
"""Figures of whole `hearth run` processes, with real sockets: tests/benches/process.py target/release/hearth

Cold start to the first answered request, idle memory and processor time, send on one node to seen in the other's sync, and
catching up after an absence. Medians of several runs where a run is short. It measures and judges nothing.
"""

import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HEARTH = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/hearth").resolve()


class Node:
    def __init__(self, data, listen=True):
        self.data = data
        self.token = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [HEARTH, "run", "--data", self.data, "--client-listen", "127.0.0.1:0", "--discovery", "loopback",
             "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("server name: "):
                self.name = line.split()[-1]
            if line.startswith("client API: "):
                self.host = line.split("//")[1].strip()
                break
        self.connection = http.client.HTTPConnection(self.host)
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def ask(self, method, path, body=None, connection=None):
        connection = connection or self.connection
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        connection.request(method, path, json.dumps(body if body is not None else {}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"{method} {path}: {response.status} {answer}")
        return answer

    def register(self, user):
        body = {"username": user, "password": "bench", "auth": {"type": "m.login.dummy"}}
        answer = self.ask("POST", "/_matrix/client/v3/register", body)
        self.token, self.user = answer["access_token"], answer["user_id"]

    def say(self, room, txn, connection=None):
        path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}"
        return self.ask("PUT", path, {"msgtype": "m.text", "body": f"number {txn}"}, connection)["event_id"]

    def status(self):
        run = json.loads((pathlib.Path(self.data) / "run.json").read_text())
        connection = http.client.HTTPConnection(run["client"])
        connection.request("GET", "/_hearth/status", headers={"Authorization": "Bearer " + run["token"]})
        return json.loads(connection.getresponse().read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def kilobytes(self):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cold_start(data):
    times = []
    for _ in range(11):
        started = time.perf_counter()
        node = Node(data)
        node.ask("GET", "/_matrix/client/versions")
        times.append((time.perf_counter() - started) * 1000)
        node.stop()
    print(f"cold start to first answer: median {statistics.median(times):.1f} ms, "
          f"worst {max(times):.1f} ms (process creation and this script's HTTP included)")


def until(what, limit=60.0):
    started = time.perf_counter()
    while not what():
        if time.perf_counter() - started > limit:
            raise SystemExit("waited in vain")
        time.sleep(0.002)
    return time.perf_counter() - started


def seen(sender, reader, room):
    """From before the PUT on one node to the end of the long poll on the other that shows it."""
    since = reader.ask("GET", "/_matrix/client/v3/sync")["next_batch"]
    times = []
    for number in range(200):
        started = time.perf_counter()
        result = {}

        def poll():
            nonlocal since
            while "event" not in result:
                answer = reader.ask("GET", f"/_matrix/client/v3/sync?timeout=10000&since={since}")
                since = answer["next_batch"]
                joined = answer.get("rooms", {}).get("join", {}).get(room, {})
                for event in joined.get("timeline", {}).get("events", []):
                    if event.get("content", {}).get("body") == f"number seen{number}":
                        result["event"] = time.perf_counter()

        thread = threading.Thread(target=poll)
        thread.start()
        time.sleep(0.005)
        started = time.perf_counter()
        sender.say(room, f"seen{number}")
        thread.join()
        times.append((result["event"] - started) * 1000)
    times.sort()
    print(f"send to seen in the other's sync: p50 {times[100]:.1f} ms, p99 {times[197]:.1f} ms")


def last_body(node, room):
    chunk = node.ask("GET", f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1")["chunk"]
    return chunk[0].get("content", {}).get("body", "") if chunk else ""


def main():
    with tempfile.TemporaryDirectory() as directory:
        cold_start(directory + "/cold")
        ana, ben = Node(directory + "/ana"), Node(directory + "/ben")
        found = until(lambda: ben.name in ana.status()["near"])
        print(f"second node started to first connection by mDNS: {found * 1000:.0f} ms")
        ana.register("ana")
        ben.register("ben")
        room = ana.ask("POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat"})["room_id"]
        ben.ask("POST", f"/_matrix/client/v3/join/{room}?via={ana.name}")
        seen(ana, ben, room)
        ben.process.kill()
        ben.process.wait()
        for number in range(1000):
            ana.say(room, f"missed{number}")
        started = time.perf_counter()
        ben.start()
        up = time.perf_counter()
        until(lambda: last_body(ben, room) == "number missed999")
        done = time.perf_counter()
        print(f"1,000 missed events after SIGKILL: {done - up:.2f} s from its first answer, "
              f"{done - started:.2f} s from its start")
        time.sleep(5)
        before = ana.cpu_seconds(), ben.cpu_seconds()
        time.sleep(60)
        used = [(b - a) / 60 * 100 for a, b in zip(before, (ana.cpu_seconds(), ben.cpu_seconds()))]
        print(f"idle and converged: {used[0]:.2f} % and {used[1]:.2f} % of a core, "
              f"{ana.kilobytes() / 1024:.1f} and {ben.kilobytes() / 1024:.1f} MB resident")
        ana.stop()
        ben.stop()
        fresh = Node(directory + "/fresh")
        fresh.ask("GET", "/_matrix/client/versions")
        time.sleep(3)
        print(f"fresh and idle: {fresh.kilobytes() / 1024:.1f} MB resident")
        fresh.stop()


main()
