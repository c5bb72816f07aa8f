"""What is done to the record beside the mail: pruned in steps, anchored; and networks looked up in a file."""

import os

import pytest

from gateway.abuse.upkeep import PRUNE_SECONDS, Upkeep
from gateway.incidents import Anchor, IncidentBook, Resolution, State
from gateway.incidents.networks import Networks, NetworkTableError, read_networks
from gateway.incidents.retention import Keeping
from gateway.incidents.schema import database_path, head_path
from tests.incidents.conftest import DAY, Desk, sighting

TABLE = """\
network,asn,name
# a comment
192.0.2.0/24,64500,Example Networks
192.0.2.0/28,AS64501,"Example, Inc."
2001:db8::/32,64502,六
"""


@pytest.fixture
def upkeep(desk: Desk) -> Upkeep:
    return Upkeep(desk.data, clock=desk.clock, book=desk.book)


def test_a_gateway_without_incidents_gets_no_record(desk: Desk, upkeep: Upkeep):
    desk.clock.advance(DAY)
    assert upkeep.look(Keeping()) == []
    assert not database_path(desk.data).exists()


def test_the_head_is_told_when_it_has_moved_and_finds_what_is_cut_off(full: Desk, upkeep: Upkeep):
    [event] = upkeep.look(Keeping())
    assert Anchor(event.number, event.digest) == full.reader().head()
    assert upkeep.look(Keeping()) == []
    full.clock.advance(2 * PRUNE_SECONDS)
    assert upkeep.look(Keeping()) == []
    full.tamper("DELETE FROM chain WHERE number = (SELECT max(number) FROM chain)", "DELETE FROM note WHERE id = 2")
    head_path(full.data).write_text(f"{full.reader().head()}\n", encoding="ascii")
    assert "was anchored" in full.wrong(anchors=[Anchor(event.number, event.digest)])


def test_what_is_old_goes_step_by_step(full: Desk, upkeep: Upkeep):
    full.move(1, State.LIFTED, State.CLOSED, resolution=Resolution.STOPPED)
    full.clock.advance(900 * DAY)
    for _ in range(5):
        upkeep.look(Keeping())
        full.clock.advance(10)
    assert full.reader().incident(1) is None
    assert full.reader().rows("SELECT count(*) FROM sighting") == [(0,)]
    assert full.reader().rows("SELECT count(*) FROM activity") == [(0,)]
    assert full.wrong() == ""


def test_the_longest_prefix_names_a_sources_network(tmp_path):
    path = tmp_path / "networks.csv"
    path.write_text(TABLE, encoding="utf-8")
    networks = Networks(path)
    assert networks("192.0.2.200/32") == (64500, "Example Networks")
    assert networks("192.0.2.7/32") == (64501, "Example, Inc.")
    assert networks("2001:db8:1:2::/64") == (64502, "六")
    assert networks("198.51.100.1/32") is None
    assert networks("anna@corp.test") is None
    assert Networks(None)("192.0.2.7/32") is None


def test_a_changed_table_is_taken_over_and_a_bad_one_is_not(tmp_path):
    path = tmp_path / "networks.csv"
    path.write_text(TABLE, encoding="utf-8")
    networks = Networks(path)
    assert networks("192.0.2.200/32") == (64500, "Example Networks")
    path.write_text("192.0.2.0/24,1,New\n", encoding="utf-8")
    os.utime(path, (1, 1))
    assert networks("192.0.2.200/32") == (1, "New")
    path.write_text("192.0.2.0/24,2,Newer\n192.0.2.1/24,3,Bad\n", encoding="utf-8")
    assert networks("192.0.2.200/32") == (1, "New")
    assert f"{path}:2:" in networks.problem
    path.unlink()
    assert networks("192.0.2.200/32") == (1, "New")


@pytest.mark.parametrize(
    "line", ["x,1,a", "192.0.2.0/24", "192.0.2.0/24,AS,a", "192.0.2.0/24,-1,a", "192.0.2.0/24,9999999999,a"]
)
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "n.csv").write_text(f"{TABLE}{line}\n", encoding="utf-8")
    with pytest.raises(NetworkTableError, match=r"n\.csv:6: "):
        read_networks(tmp_path / "n.csv")


def test_an_incident_has_its_sources_network(desk: Desk, tmp_path):
    (tmp_path / "n.csv").write_text(TABLE, encoding="utf-8")
    desk.book = IncidentBook(desk.data, clock=desk.clock, lookup=Networks(tmp_path / "n.csv"))
    desk.fold([sighting(1), sighting(2, "198.51.100.9")])
    found = [desk.reader().incident(number) for number in (1, 2)]
    assert [(each.asn, each.network) for each in found] == [(64501, "Example, Inc."), (None, "")]
