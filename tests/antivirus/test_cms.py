"""If one of these fails, what a mail client shows of an S/MIME mail is not scanned."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.cms import Opaque, unwrap

MOST = 10_000_000
INNER = b"Content-Type: application/octet-stream\r\n\r\n" + b"virus" * 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("cms")
    (folder / "inner").write_bytes(INNER)
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "key", "-out", "cert")
    return folder


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.real
@pytest.mark.parametrize("streaming", ["-stream", "-indef", "-noindef"])
def test_the_content_of_an_opaque_signature_is_unwrapped(folder, streaming):
    openssl(
        folder, "cms", "-sign", "-nodetach", "-binary", streaming, "-outform", "DER", "-signer", "cert",
        "-inkey", "key", "-in", "inner", "-out", "signed",
    )  # fmt: skip
    assert unwrap((folder / "signed").read_bytes(), MOST) == Opaque(content=INNER)


@pytest.mark.real
def test_what_is_encrypted_for_its_recipient_is_said_to_be(folder):
    openssl(folder, "cms", "-encrypt", "-aes256", "-outform", "DER", "-in", "inner", "-out", "shut", "cert")
    assert unwrap((folder / "shut").read_bytes(), MOST) == Opaque(encrypted=True)


@pytest.mark.parametrize("octets", [b"", b"0", b"0\x80", b"hello", b"%PDF-1.4", b"0\x82\x01\x00\x06\x09*\x86H"])
def test_what_is_no_cms_is_none(octets):
    assert unwrap(octets, MOST) is None


@given(st.binary(max_size=120))
def test_any_octets_are_an_answer(octets):
    unwrap(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + octets, MOST)
    unwrap(b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80" + octets, MOST)


def test_a_deep_nest_is_no_recursion_error():
    assert unwrap(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + b"\xa0\x80" * 100_000, MOST) is None
