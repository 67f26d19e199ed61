"""Storms: what the clients of a suite see when it is struck. README.md says what is checked."""

import os
import signal
import statistics
import time

import pytest

import oracle
from disk import MB, fill, small_disk
from harness import LONG, Storm, form, memory
from suite import wait_until


# -- kills ------------------------------------------------------------------------------------------


def test_random_kills():
    """a. A random process is killed every few hundred milliseconds."""
    with Storm() as storm:
        storm.chat(800)
        storm.kill_at_random(form(8, 300, "SECONDS"))
        verdict = storm.end("random kills")
        assert verdict.count["acked"] > 1000


def test_power_cut():
    """b. Everything is killed at once, and started again with the same state."""
    with Storm() as storm:
        storm.chat(800)
        for _ in range(form(2, 20)):
            time.sleep(storm.random.uniform(0.6, 1.4))
            storm.power_cut()
        time.sleep(0.5)
        verdict = storm.end("power cuts")
        assert verdict.count["lost with c2sd"] > storm.clients


# -- the disk ---------------------------------------------------------------------------------------


def is_full(storm):
    return "messages not stored" in storm.suite.log_text()


def goes_on(storm, before):
    """Waits until more is acknowledged than before."""
    wait_until(lambda: storm.acknowledged() > before, 20, 0.2, "acknowledgements")


def test_disk_full():
    """c. The disk is full for a while: nothing is acknowledged that is not stored, and it goes on by itself."""
    storm = Storm(archive={"size": "256M"})
    with small_disk(storm.suite.directory / "state", 48 * MB), storm:
        archived = storm.processes()["archived"]
        for _ in range(form(1, 5)):
            storm.chat(800)
            time.sleep(0.5)
            ballast = storm.suite.directory / "state" / "ballast"
            fill(ballast)
            wait_until(lambda: is_full(storm), 20, message="archived notices")
            before = storm.acknowledged()
            time.sleep(form(2, 10))
            storm.note("acknowledged while the disk was full", storm.acknowledged() - before)
            ballast.unlink()
            goes_on(storm, storm.acknowledged())
        assert storm.processes()["archived"] == archived
        storm.end("disk full")


def test_archive_full():
    """c. The same, by the option that says how large the archive may be."""
    with Storm(archive={"size": "2M"}) as storm:
        storm.chat(1500)
        wait_until(lambda: is_full(storm), 30, message="archived notices")
        storm.suite.options["archive"]["size"] = "1G"
        storm.suite.write_config()
        storm.suite.ctl("reload")
        storm.suite.killed["archived"] = 1
        goes_on(storm, storm.acknowledged())
        storm.end("archive full")


# -- what does not answer ---------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", form([5], [5, 30]))
def test_archived_stops(seconds):
    """d. archived does nothing for a while: after some time it is aborted."""
    with Storm() as storm:
        if seconds > 15:
            storm.allowed.add("logins stuck")   # clients that resume, which waits, and give up and ask again
        storm.chat(800)
        time.sleep(0.5)
        archived = storm.processes()["archived"]
        os.kill(archived, signal.SIGSTOP)
        time.sleep(seconds)
        if storm.processes()["archived"] == archived:
            os.kill(archived, signal.SIGCONT)
        else:
            storm.suite.killed["archived"] = 1
        goes_on(storm, storm.acknowledged())
        storm.end("archived stopped for %d s" % seconds)
        assert (seconds > 20) == ("archived" in storm.suite.killed)


def test_slow_reader():
    """e. A client does not read while many messages are sent to it: they wait on disk, not in memory."""
    messages = form(3000, 10000)
    with Storm(clients=12, body=150, archive={"spool-messages": 20000}) as storm:
        before = {name: memory(pid) for name, pid in storm.processes().items()}
        end = time.monotonic() + form(10, 60)
        storm.tell("pause", 0)
        storm.tell("target", 0)
        storm.tell("limit", messages)
        storm.chat(messages // 3, breaks=0)
        most = dict(before)
        while time.monotonic() < end:
            most = {name: max(most[name], memory(pid)) for name, pid in storm.processes().items()}
            time.sleep(0.1)
        assert storm.acknowledged() == messages
        storm.tell("read", 0)
        verdict = storm.end("a client that does not read")
        for name in before:
            storm.note("memory of %s, MB, before and at most" % name,
                       "%.1f %.1f" % (before[name] / MB, most[name] / MB))
        assert verdict.count["delivered"] == messages
        grown = {name: most[name] - before[name] for name in before}
        assert not [name for name in grown if grown[name] > 16 * MB], grown


# -- pauses -----------------------------------------------------------------------------------------


def worst_message(records, since, until):
    """The longest time that a message took which was on its way in this time, in ns."""
    sent = {}
    worst = 0
    for time_, kind, how, client, peer, number in records:
        if kind == oracle.SENT and since - oracle.SECOND < time_ < until:
            sent[client, number] = time_
        elif kind == oracle.GOT and (peer, number) in sent and time_ > since:
            worst = max(worst, time_ - sent.pop((peer, number)))
    return worst


def worst_login(records, since, until):
    """The longest login that was begun in this time."""
    return max((time_ - began for time_, kind, how, client, peer, began in records
                if kind == oracle.UP and since <= began < until), default=0)


def worst_return(records, since, until):
    """The longest time without a connection of a client that lost its own in this time."""
    lost = {}
    worst = 0
    for time_, kind, how, client, peer, number in records:
        if kind == oracle.DOWN and how == oracle.LOST and since <= time_ < until:
            lost[client] = time_
        elif kind == oracle.UP and client in lost:
            worst = max(worst, time_ - lost.pop(client))
    return worst


PAUSES = {"router": worst_message, "archived": worst_message, "authd": worst_login, "c2sd.0": worst_return}
GOAL = 0.5      # seconds
SPACED = 1.6    # from one kill to the next: a daemon is started once a second at most


def test_pauses():
    """f. What a client notices of the restart of a daemon."""
    struck = []
    with Storm() as storm:
        storm.chat(400, breaks=0)
        time.sleep(0.5)
        for _ in range(form(2, 20)):
            for name in PAUSES:
                time.sleep(SPACED - 1.0)
                struck.append((name, storm.kill(name)[1]))
                if name == "authd":
                    for client in range(10):
                        storm.tell("leave", storm.random.randrange(storm.clients))
                time.sleep(1.0)
        records = storm.records()
        storm.end("pauses")
    seconds = {name: [PAUSES[name](records, at, at + oracle.SECOND) / oracle.SECOND
                      for other, at in struck if other == name] for name in PAUSES}
    print("  pause, s   %8s %8s" % ("median", "worst"))
    for name, values in seconds.items():
        print("  %-10s %8.3f %8.3f" % (name, statistics.median(values), max(values)))
    for name in ("router", "archived", "authd"):
        assert statistics.median(seconds[name]) < GOAL, name
        assert max(seconds[name]) < (GOAL if LONG else 3 * GOAL), name
