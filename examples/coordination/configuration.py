"""Publish and subscribe: settings below a prefix, and everyone who uses them hears of changes.

    configuration.py publish app timeout 30s
    configuration.py subscribe app
"""

import sys

from store import Store


def publish(store, app, name, value):
    print("published at", store.put(f"config/{app}/{name}", value))


def subscribe(store, app):
    prefix = f"config/{app}/"
    rows, revision = store.list(prefix)
    settings = {row.key.removeprefix(prefix): row.value for row in rows}
    print("settings", settings, flush=True)
    # From the next revision on: nothing is missed between the reading and the watching.
    for event in store.watch(prefix, prefix=True, since=revision + 1):
        name = event.key.removeprefix(prefix)
        if event.kind == "PUT":
            settings[name] = event.value
        else:
            settings.pop(name, None)
        print("settings", settings, flush=True)


if __name__ == "__main__":
    {"publish": publish, "subscribe": subscribe}[sys.argv[1]](Store(), *sys.argv[2:])
