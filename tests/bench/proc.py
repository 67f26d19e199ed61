"""proc.py - what a tree of processes costs, read from /proc. compare.py and servers.py call it.

The Aldis developers
"""

import math
import os
import signal
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
PING_EVERY = 5  # seconds between the looks of the supervisor at its daemons
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def _stat(pid):
    """Fields of /proc/PID/stat from the state on, and the name; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]
    return name, text[text.rindex(")") + 2:].split()


def tree(root):
    """The pids of `root` and all that descend from it or share its session."""
    parent, session = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat:
                parent[int(entry)] = int(stat[1][1])
                session[int(entry)] = int(stat[1][3])
    found = {pid for pid in parent if pid == root or session[pid] == root}
    grown = True
    while grown:
        more = {pid for pid, of in parent.items() if of in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def name(pid):
    stat = _stat(pid)
    return stat[0] if stat else "?"


def _cpu(pid):
    """CPU seconds of all threads of a process, those that have ended too, by clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime(((~pid) << 3) | 2)
    except OSError:
        return None


def cpu_by_name(pids):
    """CPU seconds by process name, with those of reaped children: a restart loses nothing."""
    used = {}
    for pid in pids:
        stat = _stat(pid)
        if stat:
            own = _cpu(pid)
            ticks = sum(int(stat[1][i]) for i in ((13, 14) if own is not None else (11, 12, 13, 14)))
            used[stat[0]] = used.get(stat[0], 0.0) + ticks / TICK + (own or 0.0)
    return used


def memory_kb(pids):
    """(KB, how): the sum of Pss, or of Rss minus shared where Pss may not be read."""
    total, how = 0, "Pss"
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
            continue
        except (PermissionError, StopIteration):
            how = "Rss - shared"
        except OSError:
            continue
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as f:
                fields = f.read().split()
            total += (int(fields[1]) - int(fields[2])) * PAGE_KB
        except OSError:
            pass
    return total, how


def activity(pids):
    """Of each process its name, how often its threads have gone to sleep, and the CPU seconds it has used, by the
    scheduler's own count."""
    seen = {}
    for pid in pids:
        wakes = 0
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8", errors="replace") as f:
                    wakes += next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))
        except (OSError, StopIteration):
            continue
        seen[pid] = (name(pid), wakes, _cpu(pid) or 0.0)
    return seen


def asleep(before, after, seconds):
    """What processes did between two looks; and of that, what a watchdog that looks at each of them now and then does
    not explain: a child has to answer it, the first of the processes sets a timer and hears each answer."""
    rounds = math.ceil(seconds / PING_EVERY) + 1
    by_process, wakes, unexplained, used = [], 0, 0, 0.0
    for place, (pid, (name, count, cpu)) in enumerate(sorted(after.items())):
        _, count_before, cpu_before = before.get(pid, (name, 0, 0.0))
        woke = count - count_before
        allowed = rounds * len(after) if place == 0 else rounds
        by_process.append({"name": name, "wakes": woke, "allowed": allowed,
                           "cpu_ms": round((cpu - cpu_before) * 1e3, 2)})
        wakes += woke
        unexplained += max(0, woke - allowed)
        used += cpu - cpu_before
    return {"wakes": wakes * 60 / seconds, "unexplained": unexplained * 60 / seconds,
            "cpu_percent": used * 100 / seconds, "processes": by_process}


def fsync_ms(path, count=60):
    """(p50, p99) of appending 4 KB to a file under `path` and having it on stable storage."""
    times = []
    with tempfile.TemporaryFile(dir=path) as f:
        for _ in range(count):
            f.write(b"x" * 4096)
            f.flush()
            begin = time.monotonic()
            os.fdatasync(f.fileno())
            times.append((time.monotonic() - begin) * 1e3)
    times.sort()
    return times[count // 2], times[count * 99 // 100]


def disk_bytes(path):
    """What the files under `path` occupy on disk."""
    total = 0
    for where, _, files in os.walk(path):
        for file in files:
            try:
                total += os.lstat(os.path.join(where, file)).st_blocks * 512
            except OSError:
                pass
    return total


def _identity(pid):
    """Start time, which tells a process from a later one with its pid."""
    stat = _stat(pid)
    return stat[1][19] if stat and stat[1][0] != "Z" else None


def _session(pid):
    stat = _stat(pid)
    return int(stat[1][3]) if stat else None


def stop(process, first=None, patience=15):
    """Ends `process` (a Popen that leads its own session), all under it, and nothing else."""
    gone = process.poll() is not None  # then its pid may be another's, and only its session is ours
    members = {pid: _identity(pid) for pid in tree(process.pid)
               if not gone or _session(pid) == process.pid != pid}

    def send(pids, number):
        for pid in pids:
            if members.get(pid) and _identity(pid) == members[pid]:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass

    def alive():
        process.poll()
        return [pid for pid in members if members[pid] and _identity(pid) == members[pid]]

    send([first or process.pid], signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + patience
        while alive() and time.monotonic() < end:
            time.sleep(0.05)
        send(alive(), number)
    try:
        process.wait(5)
    except Exception:  # pylint: disable=broad-except
        pass
