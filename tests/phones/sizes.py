#!/usr/bin/env python3
"""Says how large a library for phones is, and which crates make it so.

    tests/phones/sizes.py libhearth_ffi.so [--max-mb N]

The library must still have its symbols; what ships has none, so its size is that of a stripped copy. A symbol counts for the
crate that its name speaks of first. A name says on what type a function of the standard library works only where it drops a
value or implements a trait; the rest of generic code counts for the crate that wrote it. What has no symbol (tables for
unwinding, relocations, most texts) is in the sections, not among the crates.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections import Counter, defaultdict

MB = 1_000_000
CRATES_SHOWN = 40
SYMBOLS_SHOWN = 15
STANDARD = {"core", "alloc", "std"}
# Prefixes of C symbols, which have no path.
C_PARTS = {"aws_lc_": "aws-lc-sys", "ring_core_": "ring", "blake3_": "blake3", "uniffi_": "hearth_ffi", "ffi_": "hearth_ffi"}


def lines_of(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def stripped_copy(library: str, folder: str) -> bytes:
    """The library as it ships, made by the tool that cargo itself strips with."""
    sysroot = lines_of("rustc", "--print", "sysroot")[0]
    host = lines_of("rustc", "--print", "host-tuple")[0]
    copy = os.path.join(folder, "stripped.so")
    strip = [f"{sysroot}/lib/rustlib/{host}/bin/rust-objcopy", "--strip-all", library, copy]
    # It does not find its LLVM by itself.
    subprocess.run(strip, check=True, env={**os.environ, "LD_LIBRARY_PATH": f"{sysroot}/lib"})
    with open(copy, "rb") as file:
        return file.read()


def sections(library: str) -> list[tuple[str, int]]:
    """Name and size of every section that is loaded and has bytes in the file."""
    found = []
    for line in lines_of("readelf", "-SW", library):
        match = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+(\S+)\s+\S+\s+\S+\s+(\S+)\s+\S+\s+(\S*A\S*)\s", line)
        if match and match[2] != "NOBITS":
            found.append((match[1], int(match[3], 16)))
    return sorted(found, key=lambda section: -section[1])


def symbols(library: str) -> list[tuple[int, str]]:
    """Size and demangled name, each address once: identical functions are folded into one that has many names."""
    at = {}
    for line in lines_of("nm", "--print-size", "--demangle", "--defined-only", library):
        match = re.match(r"([0-9a-f]+) ([0-9a-f]+) (\w) (.+)", line)
        if match and match[3] not in "bB":
            at[match[1]] = (int(match[2], 16), match[4])
    return sorted(at.values(), reverse=True)


def crate_of(name: str) -> str:
    """The first crate that a demangled name speaks of, preferably not one of the standard library."""
    crates = re.findall(r"(?<![\w:])([a-z]\w*)::", name)
    if crates:
        return next((crate for crate in crates if crate not in STANDARD), crates[0])
    for prefix, crate in C_PARTS.items():
        if name.startswith(prefix):
            return crate
    return "(C and assembler that name no crate)"


def main() -> int:
    parser = argparse.ArgumentParser(description="How large a library for phones is, and which crates make it so.")
    parser.add_argument("library")
    parser.add_argument("--max-mb", type=float, help="fail if the stripped library is larger than this many MB")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        content = stripped_copy(arguments.library, folder)
    print(f"stripped  {len(content) / MB:6.2f} MB")
    print(f"deflated  {len(zlib.compress(content, 9)) / MB:6.2f} MB  (about what it adds to a download)")

    print("\nsections")
    for name, size in sections(arguments.library):
        if size >= MB // 100:
            print(f"  {size / MB:6.2f} MB  {name}")

    found = symbols(arguments.library)
    crates = defaultdict(Counter)
    for size, name in found:
        crates[crate_of(name)].update(bytes=size, symbols=1)
    print("\ncrates, by the symbols that name them")
    for crate, counts in sorted(crates.items(), key=lambda crate: -crate[1]["bytes"])[:CRATES_SHOWN]:
        print(f"  {counts['bytes'] / 1000:8.1f} kB  {counts['symbols']:6d} symbols  {crate}")
    print("\nthe largest symbols")
    for size, name in found[:SYMBOLS_SHOWN]:
        print(f"  {size / 1000:8.1f} kB  {name[:120]}")

    if arguments.max_mb is not None and len(content) > arguments.max_mb * MB:
        print(f"{arguments.library} is larger than {arguments.max_mb} MB when stripped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
