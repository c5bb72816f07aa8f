"""Look-ups against a naive model: every entry that holds an address, the narrowest speaks. If these fail, mail is
judged by entries that do not hold its sender, or not judged by those that do.
"""

import os
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.compiling import Origin, compile_list
from gateway.blocklist.local.mapped import Found, MappedList
from gateway.blocklist.local.question import ask_address, ask_name
from gateway.blocklist.local.reading import Source, read_source
from gateway.storage import DurableFiles

NOW = 1_790_000_000.0
QUICK = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
# A small corner of each family, so that random entries meet; the mapped addresses are IPv4 written as IPv6.
CORNERS = {4: int(IPv4Address("198.51.100.0")), 6: int(IPv6Address("2001:db8::"))}


def compiled(text: str, folder: Path, kind: str = "lines", now: float = NOW) -> MappedList:
    collected = read_source(Source(name="list", octets=text.encode(), format=kind), now)
    assert collected.problems == []
    path = folder / "list.compiled"
    compile_list(collected, Origin(sha256="", recipe=""), path, DurableFiles(os.fsync))
    return MappedList.open(path)


@st.composite
def entries(draw: st.DrawFn, version: int) -> list[tuple[int, int, bool, str]]:
    """Return (first, last, excluded, reason) of random addresses, networks and ranges, 64 addresses wide."""
    base, most = CORNERS[version], 63
    found = []
    for index in range(draw(st.integers(1, 12))):
        first = draw(st.integers(0, most))
        last = draw(st.integers(first, most))
        if draw(st.booleans()):
            bits = draw(st.integers(0, 6))
            first = first >> bits << bits
            last = first | ((1 << bits) - 1)
        found.append((base + first, base + last, draw(st.booleans()), f"r{index}"))
    return found


def written(entry: tuple[int, int, bool, str], version: int) -> str:
    first, last, excluded, reason = entry
    kind = IPv4Address if version == 4 else IPv6Address
    nets = list(summarize_address_range(kind(first), kind(last)))
    text = str(nets[0]) if len(nets) == 1 else f"{kind(first)}-{kind(last)}"
    return f"{'!' if excluded else ''}{text} # {reason}"


def reason(answer: Found | None) -> str | None:
    return None if answer is None or answer.fact.excluded else answer.reason


def model(found: list[tuple[int, int, bool, str]], address: int) -> str | None:
    """Return the reason of the entry that speaks."""
    holding = [
        (last - first, not excluded, i)
        for i, (first, last, excluded, _) in enumerate(found)
        if first <= address <= last
    ]
    if not holding:
        return None
    narrowest = min(holding)
    return None if not narrowest[1] else found[narrowest[2]][3]


@given(st.sampled_from([4, 6]).flatmap(lambda v: st.tuples(st.just(v), entries(v))))
@QUICK
def test_the_narrowest_entry_speaks_for_every_address(tmp_path: Path, drawn):
    version, found = drawn
    mapped = compiled("\n".join(written(e, version) for e in found), tmp_path)
    kind = IPv4Address if version == 4 else IPv6Address
    for offset in range(-1, 66):
        address = kind(CORNERS[version] + offset)
        answer = mapped.find(ask_address(Identity.CLIENT, address), NOW)
        assert reason(answer) == model(found, int(address)), address


@given(entries(4))
@QUICK
def test_an_ipv4_entry_speaks_for_the_mapped_address_and_the_reverse(tmp_path: Path, found):
    lines = [written(e, 4) for e in found]
    plain = compiled("\n".join(lines), tmp_path)
    for offset in range(64):
        address = IPv4Address(CORNERS[4] + offset)
        mapped = IPv6Address(f"::ffff:{address}")
        ask = ask_address(Identity.CLIENT, mapped)
        assert plain.find(ask, NOW) == plain.find(ask_address(Identity.CLIENT, address), NOW)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(16, 32), st.integers(-5, 5), st.booleans()), max_size=8))
@QUICK
def test_what_has_expired_gives_way_to_the_next_wider_entry(tmp_path: Path, drawn):
    """As the model: at every moment, of the entries not expired the narrowest."""
    rows, kept = ["entry,until,reason"], []
    for index, (octet, bits, days, excluded) in enumerate(drawn):
        network = ip_network(f"10.1.2.{octet}/{bits}", strict=False)
        until = NOW + days * 86_400
        rows.append(f"{'!' if excluded else ''}{network},{until:.0f},r{index}")
        kept.append((network, until, excluded, f"r{index}"))
    rows.append("10.0.0.0/8,,always")
    kept.append((ip_network("10.0.0.0/8"), float("inf"), False, "always"))
    collected_now = NOW - 6 * 86_400
    mapped = compiled("\n".join(rows), tmp_path, "csv", collected_now)
    for day in range(-6, 7):
        now = NOW + day * 86_400
        for octet in {0, 255, *(octet for octet, *_ in drawn)}:
            address = ip_address(f"10.1.2.{octet}")
            live = [(n.num_addresses, not e, i) for i, (n, u, e, _) in enumerate(kept) if address in n and u > now]
            best = min(live)
            expected = kept[best[2]][3] if best[1] else None
            answer = mapped.find(ask_address(Identity.CLIENT, address), now)
            assert reason(answer) == expected


LABELS = st.sampled_from(["a", "b", "mail", "example", "test"])


@given(
    st.lists(st.tuples(st.sampled_from(["", "*.", "."]), st.lists(LABELS, min_size=1, max_size=3), st.booleans())),
    st.lists(LABELS, min_size=1, max_size=4),
)
@QUICK
def test_the_longest_name_speaks_and_the_name_itself_before_wildcards(tmp_path: Path, drawn, asked):
    name = ".".join(asked)
    mapped = compiled("\n".join(f"{'!' if x else ''}{w}{'.'.join(n)}" for w, n, x in drawn), tmp_path)
    candidates = []
    for wildcard, labels, excluded in drawn:
        listed = ".".join(labels)
        if name == listed and wildcard != "*.":
            candidates.append((0, not excluded))
        elif name.endswith(f".{listed}") and wildcard:
            candidates.append((len(asked) - len(labels), not excluded))
    answer = mapped.find(ask_name(Identity.HELO, name), NOW)
    assert (answer is not None and not answer.fact.excluded) == (bool(candidates) and min(candidates)[1])
