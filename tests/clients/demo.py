#!/usr/bin/env python3
"""Checks what `hearth demo --json` printed: one JSON object that says that all it shows is so.

    python3 tests/clients/demo.py FILE
"""

import json
import pathlib
import sys

# The demo promises less.
SECONDS_MAX = 30


def faults(report):
    """What is wrong with a report."""
    if not isinstance(report, dict):
        return ["the report is no object"]
    wrong = []
    if report.get("ok") is not True:
        wrong.append(f"`ok` is {report.get('ok')!r}")
    phones = report.get("phones")
    if not isinstance(phones, list) or len(phones) != 3:
        return wrong + ["`phones` does not list three phones"]
    for field in ("events_hash", "state_hash"):
        hashes = {phone.get("name"): phone.get(field) for phone in phones if phone.get("in_room")}
        if len(hashes) < 2 or len(set(hashes.values())) != 1 or None in hashes.values():
            wrong.append(f"`{field}` differs or is missing among those who are in the room: {hashes}")
    steps = report.get("steps")
    if not isinstance(steps, list) or not steps:
        wrong.append("`steps` is empty")
    took = report.get("seconds")
    if not isinstance(took, (int, float)) or not 0 < took < SECONDS_MAX:
        wrong.append(f"`seconds` is {took!r}, which is not below {SECONDS_MAX}")
    return wrong


def main():
    """Reads the file that is named."""
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    try:
        report = json.loads(text)
    except ValueError as error:
        print(f"the demo printed no JSON ({error}): {text[:300]!r}")
        return 1
    wrong = faults(report)
    for fault in wrong:
        print(f"demo: {fault}")
    if not wrong:
        print(f"demo: {len(report['steps'])} steps in {report['seconds']:.1f} s, all three phones as shown")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
