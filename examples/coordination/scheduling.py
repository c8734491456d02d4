"""Scheduling: whoever changes a job's key has one of the workers act, once for each change.

    scheduling.py work NAME                 any number of workers
    scheduling.py run JOB ARGUMENT          schedules, and waits for what came of it
"""

import sys

from store import Store, absent, put, unchanged

ALL = "schedule/"
JOBS, DONE, CLAIMS = ALL + "jobs/", ALL + "done/", ALL + "claims/"


def work(store, name):
    rows, revision = store.list(JOBS)
    print("working", flush=True)
    for row in rows:
        act(store, name, row.key.removeprefix(JOBS))
    for event in store.watch(ALL, prefix=True, since=revision + 1):
        if event.kind == "PUT" and event.key.startswith(JOBS):
            act(store, name, event.key.removeprefix(JOBS))
        if event.kind == "DELETE" and event.key.startswith(CLAIMS):
            # Done, or its worker died over it.
            act(store, name, event.key.removeprefix(CLAIMS))


def act(store, name, job):
    """Does what the job asks for now, unless it was done: the same change is never done twice."""
    wish, done = store.get(JOBS + job), store.get(DONE + job)
    if wish is None or (done and done.value.split(" ", 1)[0] == str(wish.modified)):
        return
    claim = CLAIMS + job
    with store.lease(10) as lease:
        if not store.txn([absent(claim)], put(claim, name, lease)):
            return  # another worker is at it
        result = wish.value.upper()  # the work itself
        before = unchanged(done) if done else absent(DONE + job)
        if store.txn([before], put(DONE + job, f"{wish.modified} {name} {result}")):
            print("did", job, wish.value, flush=True)


def run(store, job, argument):
    revision = store.put(JOBS + job, argument)
    done = store.get(DONE + job)
    if done and done.value.startswith(f"{revision} "):
        print(done.value.split(" ", 1)[1])
        return
    for event in store.watch(DONE + job, since=revision + 1):
        if event.value.startswith(f"{revision} "):
            print(event.value.split(" ", 1)[1])
            return


if __name__ == "__main__":
    {"work": work, "run": run}[sys.argv[1]](Store(), *sys.argv[2:])
