"""test_sandbox.py: the processes of a running suite have given up what DESIGN section 7 says: each thread
of them, as root with users of their own, as root without, and as an ordinary user. What they could try
afterwards is in tests/unit/test_sandbox.c; that nothing they need is refused, all other tests show: they
run with ALDIS_SECCOMP=log, and a refused call in the log fails them."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from raw import body
from suite import SANITIZED, Broken, Suite, wait_until

ROLES = ("log", "router", "authd", "archived", "c2sd", "s2sd", "mucd")
KEEP_FILES = {"authd", "archived", "mucd"}
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root can have others run it")
NOBODY = 65534


def processes(suite):
    """Pids by name, the log role's among them."""
    found = {name: process["pid"] for name, process in suite.status().items()}
    children = Path("/proc/%d/task/%d/children" % ((suite.process.pid,) * 2)).read_text().split()
    found["log"] = next(int(pid) for pid in children if int(pid) not in found.values())
    return found


def threads(pid):
    """What /proc says of each thread of a process."""
    return [dict(re.findall(r"^(\w+):[ \t]*(.*)$", Path(entry, "status").read_text(), re.M))
            for entry in Path("/proc/%d/task" % pid).iterdir()]


def check_locked_up(suite):
    """Asserts what holds in every mode of running."""
    for name, pid in processes(suite).items():
        for thread in threads(pid):
            assert thread["NoNewPrivs"] == "1", name
            assert thread["Seccomp"] == "2", name
            assert int(thread["CapEff"], 16) == int(thread["CapPrm"], 16) == 0, name
        assert re.search(r"^Max core file size\s+0\s+0\s", Path("/proc/%d/limits" % pid).read_text(), re.M), name


def check_works(suite):
    """Two people chat, also after each daemon was killed."""
    juliet, romeo = suite.accounts(2)
    there = suite.login(romeo, available=0)
    client = suite.login(juliet, available=0)
    for name in ("router", "authd", "archived"):
        client.say(romeo, "before " + name)
        assert body(there.message()) == "before " + name
        suite.kill(name)
        client.say(romeo, "after " + name)
        assert body(there.message()) == "after " + name


def test_every_thread(suite):
    check_locked_up(suite)


@pytest.mark.skipif(SANITIZED, reason="the sanitizers' own calls are not in the lists")
def test_calls_are_refused_without_a_word(make_suite):
    suite = make_suite(environment={"ALDIS_SECCOMP": ""})
    check_works(suite)
    assert "system call" not in suite.log_text()


@pytest.mark.parametrize("version", range(6))
def test_older_landlock(make_suite, version):
    suite = make_suite(environment={"ALDIS_LANDLOCK": str(version)})
    juliet = suite.account()
    suite.login(juliet).end()
    if version == 0:
        wait_until(lambda: "no landlock" in suite.log_text())
    else:
        assert "no landlock" not in suite.log_text()


@contextlib.contextmanager
def users(prefix):
    """Makes a user for each role."""
    made = []
    try:
        for role in ROLES:
            subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin",
                            prefix + role], check=True, capture_output=True, timeout=60)
            made.append(prefix + role)
        yield
    finally:
        for name in made:
            subprocess.run(["userdel", name], check=True, capture_output=True, timeout=60)


def memory_is_readable(uid, pid):
    """Whether a process of this user could read the memory of another."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with open("/proc/%d/mem" % pid, "rb"):
                status = 0
        except PermissionError:
            status = 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 0


@only_root
def test_a_user_for_each(make_suite):
    prefix = "at%d-" % os.getpid()
    with users(prefix):
        suite = make_suite(top={"user-prefix": prefix})
        try:
            check_locked_up(suite)
            found = processes(suite)
            uids = {name: int(threads(pid)[0]["Uid"].split()[0]) for name, pid in found.items()}
            assert 0 not in uids.values()
            assert len({uid for name, uid in uids.items()}) == len(ROLES)
            for name, pid in found.items():
                role = name.partition(".")[0]
                root = os.readlink("/proc/%d/root" % pid)
                state = suite.directory / "state" / (role if role in KEEP_FILES else "empty")
                assert root == ("/" if role == "log" else str(state)), name
                assert not threads(pid)[0]["Groups"].split(), name
                if role in KEEP_FILES:
                    assert {entry.stat().st_uid for entry in [state, *state.iterdir()]} == {uids[name]}
                if not SANITIZED:
                    assert not memory_is_readable(uids["c2sd.0"], pid), name
            check_works(suite)
            suite.restart()
            check_works(suite)
        finally:
            suite.stop()


@only_root
def test_missing_user_is_named():
    suite = Suite(top={"user-prefix": "no-such-"})
    try:
        with pytest.raises(Broken, match="there is no user no-such-router"):
            suite.start()
    finally:
        suite.end_processes()
        suite.remove()


@only_root
def test_ordinary_user():
    """Without root: no users, no root directory, all else."""
    suite = Suite(user=NOBODY)
    try:
        suite.start()
        check_locked_up(suite)
        for name, pid in processes(suite).items():
            assert threads(pid)[0]["Uid"].split() == [str(NOBODY)] * 4, name
            if not SANITIZED:
                assert not memory_is_readable(NOBODY, pid), name
        check_works(suite)
        suite.stop()
    finally:
        suite.end_processes()
        suite.remove()


def test_log_role_comes_back(make_suite):
    """A log role that is killed is started again, locked up like the first."""
    suite = make_suite()
    old = processes(suite)["log"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: "log role restarted" in suite.log_text())
    assert processes(suite)["log"] != old
    check_locked_up(suite)
    check_works(suite)
