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
    checks = report.get("checks")
    if not isinstance(checks, list) or not checks:
        wrong.append("`checks` is empty")
    else:
        wrong += [f"not so: {check.get('claim')}" for check in checks if check.get("holds") is not True]
    if not report.get("steps"):
        wrong.append("`steps` is empty")
    took = report.get("total_ms")
    if not isinstance(took, (int, float)) or not 0 < took < SECONDS_MAX * 1000:
        wrong.append(f"`total_ms` is {took!r}, which is not below {SECONDS_MAX * 1000}")
    phones = {phone.get("person"): phone for phone in report.get("phones") or []}
    if set(phones) != {"ana", "ben", "chi"}:
        return wrong + [f"`phones` lists {sorted(phones)}"]
    # Ana's phone ends where she left the room; the two who stayed must hold the same.
    for field in ("events", "state"):
        if not phones["ben"].get(field) or phones["ben"][field] != phones["chi"].get(field):
            wrong.append(f"ben and chi differ in `{field}`: {phones['ben'].get(field)!r}, {phones['chi'].get(field)!r}")
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
        print(f"demo: {len(report['steps'])} steps in {report['total_ms'] / 1000:.1f} s, {len(report['checks'])} claims checked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
