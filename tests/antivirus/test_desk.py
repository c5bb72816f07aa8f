"""If one of these fails, one message is scanned for each policy, or nobody's scan holds up everybody's."""

import asyncio

import pytest

from gateway.antivirus.desk import Antivirus, AntivirusSettings
from gateway.antivirus.history import read_changes
from gateway.antivirus.result import Outcome
from gateway.antivirus.scanner import ScannerLimits
from gateway.clock import SystemClock
from gateway.mail.content import Content
from tests.antivirus.conftest import EICAR, Events, eventually, session_answer

MAIL = Content(b"From: a@sender.test\r\n\r\nhello\r\n")
INFECTED = Content(b"Subject: x\r\nContent-Type: application/octet-stream\r\n\r\n" + EICAR)


def settings(*addresses, **more) -> AntivirusSettings:
    return AntivirusSettings(scanners=addresses, limits=ScannerLimits(timeout_seconds=5), **more)


def antivirus(given: AntivirusSettings) -> Antivirus:
    return Antivirus(given, clock=SystemClock(), events=Events())


@pytest.mark.real
async def test_a_worker_scans_watches_and_writes_the_history(shared_clamd, tmp_path):
    desk = antivirus(settings(shared_clamd.unix, history=tmp_path))
    await desk.start()
    assert (await desk.scan("1", INFECTED)).result.outcome is Outcome.INFECTED
    assert (await desk.scan("2", MAIL)).result.clean
    assert desk.is_well
    await desk.stop()
    [change] = read_changes(tmp_path, 10)
    assert change.scanner == str(shared_clamd.unix)


async def test_the_filters_of_several_policies_share_one_scan(fake):
    desk = antivirus(settings(fake.address))
    scans = await asyncio.gather(*(desk.scan("one", MAIL) for _ in range(5)))
    assert fake.sessions == 1
    assert all(scan is scans[0] for scan in scans)
    assert desk.under_way == 0
    await desk.stop()


async def test_a_scan_nobody_waits_for_ends(fake):
    fake.hold = asyncio.Event()
    desk = antivirus(settings(fake.address))
    waiting = [asyncio.ensure_future(desk.scan("one", MAIL)) for _ in range(2)]
    await eventually(lambda: fake.sessions)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    assert desk.scanners[0].under_way == 1, "somebody still waits"
    waiting[1].cancel()
    await asyncio.wait([waiting[1]])
    await eventually(lambda: desk.scanners[0].under_way == 0)
    await desk.stop()


async def test_without_scanners_nothing_is_clean_and_nothing_is_watched():
    desk = antivirus(settings())
    await desk.start()
    assert not desk.is_configured
    assert (await desk.scan("one", MAIL)).result.outcome is Outcome.TEMPERROR
    await desk.stop()


async def test_other_settings_take_over_while_a_scan_is_under_way(fake, tmp_path):
    fake.hold = asyncio.Event()
    fake.answer = lambda streams: session_answer([b"stream: OK"] * len(streams))
    desk = antivirus(settings(fake.address, history=tmp_path))
    waiting = asyncio.ensure_future(desk.scan("one", MAIL))
    await eventually(lambda: fake.sessions)
    await desk.use(settings(history=tmp_path))
    assert desk.scanners == ()
    fake.hold.set()
    assert (await waiting).result.clean
    await desk.stop()
