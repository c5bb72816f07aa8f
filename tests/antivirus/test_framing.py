"""If one of these fails, a scanner sees other octets than the mail has."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.address import ScannerAddress
from gateway.antivirus.framing import BEGIN, VERSION, stream


def read_streams(octets: bytes) -> tuple[list[str], list[bytes]]:
    """Read a session as clamd does."""
    commands, streams, at = [], [], 0
    while at < len(octets):
        end = octets.index(b"\0", at)
        commands.append(octets[at:end].decode())
        at = end + 1
        if commands[-1] == "zINSTREAM":
            content = b""
            while length := struct.unpack_from(">I", octets, at)[0]:
                content += octets[at + 4 : at + 4 + length]
                at += 4 + length
            at += 4
            streams.append(content)
    return commands, streams


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_scanner_gets_exactly_the_pieces_between_two_questions_for_the_version(contents):
    octets = b"".join([BEGIN, *(buffer for content in contents for buffer in stream(content)), VERSION])
    commands, streams = read_streams(octets)
    assert streams == contents
    assert commands == ["zIDSESSION", "zVERSION", *["zINSTREAM"] * len(contents), "zVERSION"]


def test_a_piece_is_sent_as_it_lies():
    content = bytes(1000)
    assert any(buffer is content for buffer in stream(content))


@pytest.mark.parametrize("text", ["unix:/run/clamav/clamd.ctl", "127.0.0.1:3310", "[::1]:3310", "clamav:3310"])
def test_an_address_is_shown_as_it_is_written(text):
    assert str(ScannerAddress.parse(text)) == text


@pytest.mark.parametrize("text", ["", "unix:", "unix:clamd.ctl", "/run/clamd.ctl", "host", "host:", ":3310", "host:0"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is wanted"):
        ScannerAddress.parse(text)


@pytest.mark.parametrize("text", ["host:99999", "::1:3310", "host:x", "host:３３１０"])
def test_what_is_no_port_is_refused(text):
    with pytest.raises(ValueError, match="is wanted"):
        ScannerAddress.parse(text)
