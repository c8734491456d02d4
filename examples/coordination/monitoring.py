"""Cluster monitoring: machines say how they are for as long as they live; a monitor tells who
comes, goes and changes.

    monitoring.py report NAME        says how this machine is, every two seconds
    monitoring.py monitor
"""

import json
import os
import sys
import time

from store import Store

MACHINES = "monitoring/machines/"


def report(store, name):
    with store.lease(4) as lease:
        while True:
            load, _, _ = os.getloadavg()
            store.put(MACHINES + name, json.dumps({"load": round(load, 2)}), lease)
            time.sleep(2)


def monitor(store):
    rows, revision = store.list(MACHINES)
    known = {row.key.removeprefix(MACHINES) for row in rows}
    print("up:", *sorted(known), flush=True)
    for event in store.watch(MACHINES, prefix=True, since=revision + 1):
        name = event.key.removeprefix(MACHINES)
        if event.kind == "DELETE":
            known.discard(name)
            print(name, "is gone", flush=True)
        elif name not in known:
            known.add(name)
            print(name, "is there", event.value, flush=True)


if __name__ == "__main__":
    {"report": report, "monitor": monitor}[sys.argv[1]](Store(), *sys.argv[2:])
