"""Work reports by ephemeral keys: a worker's report goes when the worker does.

    work_report.py work NAME STEPS     reports each step, one a second
    work_report.py show                who is at work, and how far
"""

import sys
import time

from store import Store

REPORTS = "work/reports/"


def work(store, name, steps):
    with store.lease(5) as lease:
        for step in range(1, int(steps) + 1):
            store.put(REPORTS + name, f"{step}/{steps}", lease)
            time.sleep(1)  # the work itself


def show(store):
    rows, _ = store.list(REPORTS)
    for row in rows:
        print(row.key.removeprefix(REPORTS), row.value)


if __name__ == "__main__":
    {"work": work, "show": show}[sys.argv[1]](Store(), *sys.argv[2:])
