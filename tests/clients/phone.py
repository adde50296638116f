"""One `hearth run` process with a data directory of its own, on the loopback interface only."""

import pathlib
import re
import signal
import subprocess
import threading

from matrix import Failure, eventually

# The mesh listens where other machines cannot reach it, and looks for others there only.
LISTEN = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
START_S = 15
STOP_S = 10


class Phone:
    """A homeserver that can be stopped and started again."""

    def __init__(self, binary, home, name):
        self.binary = str(binary)
        self.data = pathlib.Path(home) / name
        self.name = name
        self.lines = []
        self.process = None
        self.base = None

    def on_loopback(self, verb):
        """A command of Hearth that takes part in the mesh, as this phone."""
        listen = [word for address in LISTEN for word in ("--listen", address)]
        return [self.binary, verb, "--data", str(self.data), "--name", self.name, "--discovery", "loopback", *listen]

    def command(self, *more):
        """The arguments of `hearth run` for this phone."""
        return [*self.on_loopback("run"), *(more or ("--client-listen", "127.0.0.1:0"))]

    def start(self, *more):
        """Starts it and waits for the address of its client API."""
        first = len(self.lines)
        self.process = subprocess.Popen(
            self.command(*more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        reader.start()

        def address():
            for line in self.lines[first:]:
                if match := re.search(r"client API: (http://127\.0\.0\.1:\d+)", line):
                    return match.group(1)
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended at once with exit code {self.process.returncode}")
            return None

        self.base = eventually(f"{self.name} prints the address of its client API", address, START_S)
        return self.base

    def read(self, pipe):
        """Keeps what it prints."""
        for line in pipe:
            self.lines.append(line.rstrip("\n"))

    def stop(self, how=signal.SIGTERM):
        """Ends it as a supervisor does, and answers its exit code."""
        self.process.send_signal(how)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within {STOP_S} s of {how.name}") from None

    def kill(self):
        """Ends it in any case; for cleaning up."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run_to_end(command, seconds=20):
    """Runs a command that must end by itself: exit code, stdout, stderr."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"`{' '.join(command)}` does not end within {seconds} s") from None
    return done.returncode, done.stdout, done.stderr
