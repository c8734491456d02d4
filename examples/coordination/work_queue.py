"""A distributed queue: first in, first out, each item done at least once.

    work_queue.py put QUEUE ITEM...
    work_queue.py work QUEUE NAME SECONDS      takes items for ever, SECONDS of work each
    work_queue.py list QUEUE

An item stays in the queue until it is done. Whoever works on one holds a claim on a lease: a
worker that dies loses it, and the item is there for others.
"""

import sys
import time
import uuid

from store import Store, absent, delete, held, put, unchanged


class Queue:
    def __init__(self, store, name):
        self.store = store
        self.all, self.items = f"queue/{name}/", f"queue/{name}/items/"
        self.claims = f"queue/{name}/claims/"

    def put(self, item):
        # The order is that of creation, so that a name needs to be nothing but new.
        self.store.put(self.items + uuid.uuid4().hex, item)

    def claim(self, worker, lease):
        """The oldest item that nobody is at; waits for one."""
        while True:
            rows, revision = self.store.list(self.all)
            taken = {row.key for row in rows if row.key.startswith(self.claims)}
            for row in rows:
                item = row.key.removeprefix(self.items)
                if row.key.startswith(self.items) and self.claims + item not in taken:
                    free = [absent(self.claims + item), unchanged(row)]
                    if self.store.txn(free, put(self.claims + item, worker, lease)):
                        return item, row.value
                    break  # somebody was faster: look again
            else:
                next(self.store.watch(self.all, prefix=True, since=revision + 1))

    def done(self, item, lease):
        """Takes the item out, if the claim is still this worker's."""
        mine = [held(self.claims + item, lease)]
        return self.store.txn(mine, delete(self.items + item), delete(self.claims + item))


def put_all(store, name, *items):
    for item in items:
        Queue(store, name).put(item)


def work(store, name, worker, seconds):
    queue = Queue(store, name)
    with store.lease(3) as lease:
        while True:
            item, value = queue.claim(worker, lease)
            print("took", value, flush=True)
            time.sleep(float(seconds))  # the work itself
            print("did" if queue.done(item, lease) else "lost", value, flush=True)


def show(store, name):
    rows, _ = store.list(Queue(store, name).items)
    print(*(row.value for row in rows))


if __name__ == "__main__":
    {"put": put_all, "work": work, "list": show}[sys.argv[1]](Store(), *sys.argv[2:])
