"""drive.py - runs xmppload against a server and sees what the server used meanwhile.

The Aldis developers

compare.py and growth.py call it.
"""

import json
import subprocess
import threading

import proc
import servers

LOAD = servers.ROOT / "build" / "tests" / "bench" / "xmppload"
CIPHER = "AES-128-GCM"


class LoadFailed(Exception):
    """The load generator found an error; the text says which."""


def _start(server, words, timeout):
    command = [str(LOAD), "--sync", "-T", str(timeout), "-p", str(server.port), "-w", servers.PASSWORD]
    return subprocess.Popen(command + [str(word) for word in words], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(child):
    if child.poll() is None:
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        try:
            pipe.close()
        except OSError:
            pass


def _go_on(child):
    child.stdin.write("\n")
    child.stdin.flush()


def _result(child, said):
    text = child.stdout.read()
    child.wait(60)
    if not text.startswith("{"):
        raise LoadFailed(f"xmppload ended with {child.returncode}: " + "; ".join(said[-3:]))
    result = json.loads(text)
    if result["tls"] != "none" and result["logged_in"] and CIPHER not in result["cipher"]:
        raise LoadFailed(f"all are measured with {CIPHER}, this one spoke {result['cipher']}")
    result["errors"] = said
    result["exit"] = child.returncode
    return result


def drive(server, words, at_ready=None, timeout=120):
    """Runs xmppload; returns its result with what the server used between "ready" and "done"."""
    child = _start(server, words, timeout)
    timer = threading.Timer(2.5 * timeout, child.kill)
    timer.start()
    said, used, disk = [], {}, 0
    before, disk_before = {}, 0
    try:
        for line in child.stderr:
            if line == "ready\n":
                if at_ready:
                    at_ready()
                disk_before = proc.disk_bytes(server.data())
                before = proc.cpu_by_name(server.pids())
            elif line == "done\n":
                after = proc.cpu_by_name(server.pids())
                used = {name: round(after[name] - before.get(name, 0.0), 4) for name in after}
                disk = proc.disk_bytes(server.data()) - disk_before
            else:
                said.append(line.strip())
                continue
            _go_on(child)
        result = _result(child, said)
    finally:
        timer.cancel()
        _end(child)
    result["server_cpu_seconds"] = round(sum(used.values()), 4)
    result["server_cpu_by_process"] = {name: seconds for name, seconds in used.items() if seconds >= 0.001}
    result["disk_bytes"] = disk
    if result["exit"] != 0:
        result["server_log"] = server.last_words()[-600:]
        print(f"    xmppload found faults: {'; '.join(said[-2:])} exit {result['exit']}", flush=True)
    return result


class Held:
    """Idle connections that stay while something else is measured."""

    def __init__(self, server, words, timeout=600):
        self.child = _start(server, [*words, "idle"], timeout)
        self.said = []
        for line in self.child.stderr:
            if line == "ready\n":
                return
            self.said.append(line.strip())
        _end(self.child)
        raise LoadFailed("no idle connections: " + "; ".join(self.said[-3:]))

    def release(self):
        """Closes them; returns the result, which tells whether one was dropped."""
        try:
            _go_on(self.child)
            self.said += [line.strip() for line in self.child.stderr]
            return _result(self.child, self.said)
        finally:
            _end(self.child)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.release()
        else:
            _end(self.child)


def talk(server, words, timeout=120):
    """A run of messages, with what one of them cost."""
    disk = proc.fsync_ms(server.data())
    result = drive(server, words, timeout=timeout)
    count = max(result["received"], 1)
    return {"fsync_ms": disk[0], "fsync_p99_ms": disk[1], "cpu_us": result["server_cpu_seconds"] * 1e6 / count,
            "messages_per_second": result["messages_per_second"],
            "p50_ms": result["latency_us"]["p50"] / 1e3, "p99_ms": result["latency_us"]["p99"] / 1e3,
            "disk_bytes": result["disk_bytes"] / count, "rate": result["rate"], "raw": result}


def presence(server, contacts, seconds, *more, timeout=300):
    """Changes of presence of one account to its online contacts."""
    figures = talk(server, ["-n", contacts + 1, "-W", 2, "-t", seconds, *more, "presence"], timeout)
    changes = max(figures["raw"]["changes"], 1)
    return {**figures, "change_us": figures["raw"]["server_cpu_seconds"] * 1e6 / changes,
            "changes_per_second": figures["messages_per_second"] / contacts}


def logins(server, number, *more):
    result = drive(server, ["-n", number, *more, "logins"])
    return {"cpu_us": result["server_cpu_seconds"] * 1e6 / max(result["logged_in"], 1),
            "logins_per_second": result["logins_per_second"],
            "p50_ms": result["login_us"]["p50"] / 1e3, "p99_ms": result["login_us"]["p99"] / 1e3, "raw": result}
