"""The oracle can fail: a storm that went well passes, and each thing that must not be is seen."""

import pytest

import oracle
from oracle import (ACKED, ANSWERED, ASKED, BOUNCED, BROKEN, DOWN, FAILED, GIVEN_UP, GOT, LOST, NEW, REFUSED,
                    RESUMED, SENT, SHOWN, STUCK, UP, Archive, check)

C2SD, OTHER = 100, 200      # pids
PORTS = {1: 4001, 2: 4002}
LATER = 1 << 62             # when the owner of a port was seen last


class Tale:
    """A small storm: clients 1 and 2, of which 1 sends."""

    def __init__(self):
        self.records = []
        self.archive = Archive()
        self.owners = {port: [(LATER, pid)] for port, pid in ((4001, C2SD), (4002, OTHER), (4003, OTHER))}
        self.deaths = {}
        self.time = 0
        for client, port in PORTS.items():
            self.tell(UP, client, port, self.time, how=NEW)

    def tell(self, kind, client, peer=0, number=0, how=0):
        self.time += 1000
        self.records.append((self.time, kind, how, client, peer, number))
        return self

    def store(self, number):
        id = "%016x" % (len(self.archive.messages) + 1)
        self.archive.messages.append((id, 1, 2, number))
        self.archive.copies[1, id] += 1
        self.archive.copies[2, id] += 1

    def message(self, number, stored=1, got=1, acked=True):
        self.tell(SENT, 1, 2, number)
        for _ in range(stored):
            self.store(number)
        if acked:
            self.tell(ACKED, 1, 0, number)
        for _ in range(got):
            self.tell(GOT, 2, 1, number)
        return self

    def reconnect(self, client, how, expected=True):
        """Client 2 loses its connection, and perhaps its c2sd was killed."""
        if expected:
            self.deaths[OTHER] = self.time + 1
        self.tell(DOWN, client, PORTS[client], how=LOST)
        if how == NEW:
            self.tell(REFUSED, client, 4003)
        self.tell(UP, client, 4003, self.time, how=how)
        return self

    def wrong(self):
        verdict = check(self.records, [self.archive], self.owners, self.deaths)
        assert bool(verdict.problems()) == bool(any(verdict.wrong.values()))
        return {what: len(examples) for what, examples in verdict.wrong.items() if examples}


@pytest.fixture
def tale():
    return Tale().message(1).message(2)


def test_all_well(tale):
    assert tale.message(3).tell(ASKED, 1, number=1).tell(ANSWERED, 1, number=1).wrong() == {}


def test_lost(tale):
    assert tale.message(3, got=0).wrong() == {"lost": 1}


def test_lost_though_never_acknowledged(tale):
    assert tale.message(3, got=0, acked=False).tell(GIVEN_UP, 1, number=3).wrong() == {"lost": 1}


def test_not_stored(tale):
    assert tale.message(3, stored=0).wrong() == {"not in the archive": 1}


def test_of_unknown_fate(tale):
    assert tale.message(3, stored=0, got=0, acked=False).tell(GIVEN_UP, 1, number=3).wrong() == {}


def test_doubled(tale):
    assert tale.message(3, got=2).wrong() == {"doubled": 1}


def test_doubled_later(tale):
    assert tale.message(3).tell(GOT, 2, 1, 1).wrong() == {"doubled": 1}


def test_doubled_after_a_resumption(tale):
    tale.reconnect(2, RESUMED).tell(GOT, 2, 1, 2)
    assert tale.wrong() == {"doubled": 1}


def test_doubled_after_the_c2sd_was_killed(tale):
    assert tale.reconnect(2, NEW).tell(GOT, 2, 1, 2).wrong() == {}


def test_doubled_in_a_new_session(tale):
    tale.reconnect(2, NEW).message(3, got=2)
    assert tale.wrong() == {"doubled": 1}


def test_doubled_in_the_archive(tale):
    assert tale.message(3, stored=2).wrong() == {"doubled in the archive": 1}


def test_disordered(tale):
    tale.message(3, got=0).message(4).tell(GOT, 2, 1, 3)
    assert tale.wrong() == {"disordered": 1}


def overtaken(tale, full=1, wait=0, shown=False):
    """Client 2 begins a new session, and message 4 comes in it before message 3."""
    tale.reconnect(2, NEW)
    tale.message(3, got=0).tell(SENT, 1, 2, 4, how=full)
    tale.store(4)
    tale.time += wait
    if shown:
        tale.tell(SHOWN, 2)
    return tale.tell(GOT, 2, 1, 4).tell(GOT, 2, 1, 3)


def test_overtaken_by_one_to_the_full_address(tale):
    assert overtaken(tale).wrong() == {"disordered": 1}


def test_overtaken_without_presence(tale):
    assert overtaken(tale, wait=2 * oracle.SEEN_TIME).wrong() == {}


def test_overtaken_with_presence(tale):
    assert overtaken(tale, wait=2 * oracle.SEEN_TIME, shown=True).wrong() == {"disordered": 1}


def test_overtaken_by_one_to_the_account(tale):
    assert overtaken(tale, full=0, wait=2 * oracle.SEEN_TIME).wrong() == {"disordered": 1}


def test_disordered_in_the_archive(tale):
    tale.tell(SENT, 1, 2, 3).tell(SENT, 1, 2, 4)
    tale.store(4)
    tale.store(3)
    tale.tell(GOT, 2, 1, 3).tell(GOT, 2, 1, 4)
    assert tale.wrong() == {"disordered in the archive": 1}


def test_invented(tale):
    assert tale.tell(GOT, 2, 1, 99).wrong() == {"invented": 1}


def test_at_the_wrong_client(tale):
    assert tale.message(3, got=0).tell(GOT, 1, 1, 3).wrong() == {"invented": 1, "lost": 1}


def test_copy_missing(tale):
    del tale.archive.copies[2, "%016x" % 1]
    assert tale.wrong() == {"copies missing": 1}


def test_left_on_the_spool(tale):
    tale.archive.spool.append((2, "%016x" % 2))
    assert tale.wrong() == {"left on the spool": 1}


def test_bounced(tale):
    assert tale.tell(BOUNCED, 1, 2, 2).wrong() == {"bounced": 1}


def test_unanswered(tale):
    assert tale.tell(ASKED, 1, number=7).wrong() == {"requests unanswered": 1}


def test_disconnected(tale):
    assert tale.reconnect(2, RESUMED, expected=False).wrong() == {"unexpected disconnects": 1}


def test_disconnected_when_another_was_killed(tale):
    tale.deaths[C2SD] = tale.time + 1
    assert tale.reconnect(2, RESUMED, expected=False).wrong() == {"unexpected disconnects": 1}


def test_disconnected_long_after(tale):
    tale.deaths[OTHER] = tale.time + 1
    tale.time += 5 * oracle.SECOND
    assert tale.reconnect(2, RESUMED, expected=False).wrong() == {"unexpected disconnects": 1}


def test_session_lost(tale):
    tale.tell(DOWN, 2, 4002, how=BROKEN).tell(REFUSED, 2, 4003).tell(UP, 2, 4003, tale.time, how=NEW)
    assert tale.wrong() == {"sessions lost for no reason": 1}


def test_session_lost_on_its_way(tale):
    """The c2sd at which it was to be resumed was killed before it had the session."""
    tale.tell(DOWN, 2, 4002, how=BROKEN)
    began = tale.time
    tale.deaths[C2SD] = tale.time + 1
    tale.tell(DOWN, 2, 4001, began, how=FAILED)
    tale.tell(REFUSED, 2, 4003).tell(UP, 2, 4003, tale.time, how=NEW).tell(GOT, 2, 1, 2)
    assert tale.wrong() == {}


def test_stuck(tale):
    assert tale.tell(DOWN, 2, 4003, how=STUCK).wrong() == {"logins stuck": 1}


class Federation(Tale):
    """The same between two servers: client 1 is at the second one, client 2 at the first."""

    def __init__(self):
        super().__init__()
        self.archives = [Archive(), Archive()]

    def store(self, number, sides=(0, 1)):
        for side in sides:
            archive = self.archives[side]
            archive.messages.append(("%016x" % (len(archive.messages) + 1), 1, 2, number))
            archive.copies[2 - side, archive.messages[-1][0]] += 1
        return self

    def wrong(self):
        verdict = check(self.records, self.archives, self.owners, self.deaths)
        return {what: len(examples) for what, examples in verdict.wrong.items() if examples}


@pytest.fixture
def between():
    return Federation().message(1).message(2)


def test_between_servers(between):
    assert between.message(3).wrong() == {}


@pytest.mark.parametrize("side", [0, 1])
def test_between_servers_lost(between, side):
    """Acknowledged, and stored at one of them only; client 2 has it in one case."""
    between.message(3, stored=0, got=1 - side).store(3, [side])
    assert between.wrong() == {"not in the archive": 1, **({"lost": 1} if side else {})}


def test_between_servers_lost_though_never_acknowledged(between):
    between.message(3, stored=0, got=0, acked=False).tell(GIVEN_UP, 1, number=3).store(3, [1])
    assert between.wrong() == {"not in the archive": 1, "lost": 1}


@pytest.mark.parametrize("side", [0, 1])
def test_between_servers_doubled(between, side):
    assert between.store(2, [side]).wrong() == {"doubled in the archive": 1}


def test_between_servers_repeated(between):
    assert between.tell(GOT, 2, 1, 2).wrong() == {"doubled": 1}


def test_between_servers_disordered(between):
    between.tell(SENT, 1, 2, 3).tell(SENT, 1, 2, 4).tell(GOT, 2, 1, 3).tell(GOT, 2, 1, 4)
    between.store(3, [1]).store(4).store(3, [0])
    assert between.wrong() == {"disordered in the archive": 1}


def test_between_servers_copies(between):
    """Each archive has the copy of its own account, and not that of the other side."""
    between.archives[0].copies[1, "%016x" % 1] += 1
    del between.archives[1].copies[1, "%016x" % 2]
    assert between.wrong() == {"copies missing": 2}


def test_between_servers_left_on_the_spool(between):
    between.archives[1].spool.append(("a.test", "%016x" % 2))
    assert between.wrong() == {"left on the spool": 1}


def test_dump_is_read():
    archive = oracle.read_dump(
        "message 000a storm00001@localhost/storm storm00002@localhost <body>storm 00000001 00000002 0000001f</body>\n"
        "copy storm00001@localhost 000a\ncopy storm00002@localhost 000a\nspool storm00002@localhost 000a\n"
        "spool b.test 000b\nend\n")
    assert archive.messages == [("000a", 1, 2, 31)]
    assert archive.copies == {(1, "000a"): 1, (2, "000a"): 1}
    assert archive.spool == [(2, "000a"), ("b.test", "000b")]
    with pytest.raises(ValueError):
        oracle.read_dump("copy storm00001@localhost 000a\n")
