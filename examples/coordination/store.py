"""A small client of etcd's JSON gateway, which every Remora agent serves. Standard library only.

    store = Store("http://127.0.0.1:8500")
    store.put("greeting", "hello")
    with store.lease(10) as lease:          # kept alive by a thread, revoked at the end
        store.put("here", "me", lease)      # goes when the lease does
    for event in store.watch("greeting"):
        print(event.kind, event.key, event.value)
"""

import base64
import json
import os
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass

DEFAULT = "http://" + os.environ.get("REMORA_HTTP_ADDR", "127.0.0.1:8500")


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(text):
    return base64.b64decode(text or "").decode()


def end_of(prefix):
    """The first key after all that start with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


@dataclass
class Row:
    """A key as it is."""

    key: str
    value: str
    created: int
    modified: int
    lease: int

    @staticmethod
    def of(kv):
        number = lambda name: int(kv.get(name, 0))
        key, value = decode(kv["key"]), decode(kv.get("value"))
        return Row(key, value, number("create_revision"), number("mod_revision"), number("lease"))


@dataclass
class Event:
    """What happened to a key: PUT or DELETE."""

    kind: str
    key: str
    value: str
    revision: int


class Refused(Exception):
    """The agent's own words."""


class Store:
    def __init__(self, agent=DEFAULT):
        self.agent = agent

    def open(self, call, body, timeout=30):
        request = urllib.request.Request(f"{self.agent}/v3/{call}", json.dumps(body).encode())
        try:
            return urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error).get("message", str(error))) from None

    def call(self, call, body):
        with self.open(call, body) as answer:
            return json.load(answer)

    def put(self, key, value, lease=0):
        body = {"key": encode(key), "value": encode(value), "lease": lease}
        return int(self.call("kv/put", body)["header"]["revision"])

    def delete(self, key):
        return int(self.call("kv/deleterange", {"key": encode(key)}).get("deleted", 0))

    def get(self, key):
        rows, _ = self.rows({"key": encode(key)})
        return rows[0] if rows else None

    def list(self, prefix):
        """Rows from the oldest to the newest, and the revision that they were read at."""
        body = {"key": encode(prefix), "range_end": encode(end_of(prefix))}
        return self.rows(body | {"sort_target": "CREATE", "sort_order": "ASCEND"})

    def rows(self, body):
        answer = self.call("kv/range", body)
        rows = [Row.of(kv) for kv in answer.get("kvs", [])]
        return rows, int(answer["header"]["revision"])

    def txn(self, compare, *operations):
        """Does all of it if every comparison holds, and says whether it did."""
        body = {"compare": list(compare), "success": list(operations)}
        return self.call("kv/txn", body).get("succeeded", False)

    def watch(self, key, prefix=False, since=0):
        """Events for ever; `since` is the first revision that is told of, 0 from now on."""
        create = {"key": encode(key), "start_revision": since}
        if prefix:
            create["range_end"] = encode(end_of(key))
        with self.open("watch", {"create_request": create}, timeout=None) as lines:
            for line in lines:
                result = json.loads(line).get("result", {})
                if result.get("canceled"):
                    raise Refused(f"history begins at {result.get('compact_revision')}")
                for event in result.get("events", []):
                    row = Row.of(event["kv"])
                    yield Event(event.get("type", "PUT"), row.key, row.value, row.modified)

    def lease(self, ttl):
        return Lease(self, ttl)


def absent(key):
    return {"key": encode(key), "target": "CREATE", "create_revision": 0}


def unchanged(row):
    return {"key": encode(row.key), "target": "MOD", "mod_revision": row.modified}


def held(key, lease):
    return {"key": encode(key), "target": "LEASE", "lease": lease}


def put(key, value, lease=0):
    return {"request_put": {"key": encode(key), "value": encode(value), "lease": lease}}


def delete(key):
    return {"request_delete_range": {"key": encode(key)}}


class Lease:
    """Lives as long as the block that it is for, and the process that runs it."""

    def __init__(self, store, ttl):
        self.store, self.ttl, self.ended = store, ttl, threading.Event()

    def __enter__(self):
        self.id = int(self.store.call("lease/grant", {"TTL": self.ttl})["ID"])
        threading.Thread(target=self.keep, daemon=True).start()
        return self.id

    def keep(self):
        while not self.ended.wait(self.ttl / 3):
            try:
                answer = self.store.call("lease/keepalive", {"ID": self.id})
            except OSError:
                continue  # the agent may come back before the lease has ended
            if "TTL" not in answer["result"]:
                print("the lease was lost: others may do this work by now", file=sys.stderr)
                os._exit(1)

    def __exit__(self, *_):
        self.ended.set()
        self.store.call("lease/revoke", {"ID": self.id})
