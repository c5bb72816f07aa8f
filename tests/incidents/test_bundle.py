"""An exported incident: proves itself at the receiver, tells nobody who our users are, and stands on record here."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.incidents import IncidentBook, Resolution, Source, SourceKind, State
from gateway.incidents.bundle import BundleError, Export, Exporter, _sha256, _tar, verify_bundle
from gateway.incidents.evidence import EvidenceBrokenError
from gateway.incidents.redaction import redaction_key
from tests.incidents.conftest import MESSAGE, NOW, Desk, sighting


def exported(desk: Desk, number: int = 1, *, redacted: bool = True, recorded: bool = True) -> Path:
    key = redaction_key(desk.data) if redacted else None
    with desk.reader() as reader:
        bundle = Exporter(reader, desk.store).export(number, Export(at=NOW, by="li", key=key))
    if recorded:
        with desk.book.change("li", "incident export") as change:
            change.record("exported", number, {"sha256": bundle.sha256, "redacted": redacted})
    path = desk.data / f"bundle-{redacted}.tar"
    path.write_bytes(bundle.octets)
    return path


def wrong(path: Path, data: Path | None = None) -> str:
    return "\n".join(map(str, verify_bundle(path, data).flaws))


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def packed(path: Path, files: dict[str, bytes]) -> None:
    """Write an archive as the exporter does, with a manifest's seal that fits."""
    files["manifest.sha256"] = f"{_sha256(files['manifest.json'])}\n".encode()
    path.write_bytes(_tar(files, int(NOW)))


def forged(path: Path, name: str, octets: bytes | None) -> None:
    """Replace or remove a file and make manifest and seal fit, as somebody would who knows the format."""
    files = members(path)
    manifest = json.loads(files["manifest.json"])
    if octets is None:
        del files[name], manifest["files"][name]
        manifest["evidence"].pop(name, None)
    else:
        files[name] = octets
        manifest["files"][name] = {"sha256": _sha256(octets), "octets": len(octets)}
    files["manifest.json"] = json.dumps(manifest, ensure_ascii=False, indent=1).encode() + b"\n"
    packed(path, files)


@pytest.mark.parametrize("redacted", [True, False])
def test_a_bundle_is_sound_by_itself_and_against_the_record(full: Desk, redacted):
    path = exported(full, redacted=redacted)
    found = verify_bundle(path, full.data)
    assert found.flaws == ()
    assert (found.incident, found.messages, found.redacted) == (1, 2, redacted)
    assert verify_bundle(path).flaws == ()
    # Rows that come later do not make it stale.
    full.fold([sighting(50)])
    assert wrong(path, full.data) == ""


def test_a_whole_bundle_has_the_messages_octet_by_octet(full: Desk):
    files = members(exported(full, redacted=False))
    assert files["evidence/1.eml"] == MESSAGE
    assert b"zhang@corp.test" in files["sightings.jsonl"]


def test_a_redacted_bundle_names_none_of_our_people(full: Desk):
    octets = exported(full).read_bytes()
    for name in (b"zhang", b"Zhang", "张".encode(), b'"li"', b"tty1", "已电话联系".encode(), b"because"):
        assert name not in octets, name
    assert b"@corp.test" in octets
    assert b"promo@bulk.example" in octets


def test_a_redacted_bundle_of_an_account_does_not_name_it(desk: Desk):
    account = Source(SourceKind.ACCOUNT, "wang@corp.test")
    desk.fold([sighting(1, source=account, reverse_path="wang@corp.test", recipients=("x@else.test",))])
    message = MESSAGE.replace(b"promo@bulk.example", b"wang@corp.test")
    desk.keep(1, 1, message)
    path = exported(desk)
    assert b"wang" not in path.read_bytes()
    assert wrong(path, desk.data) == ""


def test_pseudonyms_are_the_same_in_every_bundle(full: Desk):
    full.keep(6, 2)
    first, second = (members(exported(full, number)) for number in (1, 2))
    assert first["evidence/1.eml"] == second["evidence/3.eml"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), redacted=st.booleans())
def test_every_octet_of_a_bundle_counts(full: Desk, place: float, flip: int, redacted):
    path = full.data / f"bundle-{redacted}.tar"
    if not path.exists():
        exported(full, redacted=redacted)
    before = path.read_bytes()
    octets = bytearray(before)
    octets[int(place * len(octets))] ^= flip
    path.write_bytes(octets)
    found = wrong(path)
    path.write_bytes(before)
    assert found


@pytest.mark.parametrize("how", ["cut", "longer", "empty", "zeros"])
def test_a_bundle_cut_or_lengthened_is_found(full: Desk, how: str):
    path = exported(full)
    octets = path.read_bytes()
    path.write_bytes({"cut": octets[:-600], "longer": octets + b"\0", "empty": b"", "zeros": bytes(len(octets))}[how])
    assert wrong(path)


def test_a_message_replaced_with_manifest_and_seal_made_to_fit_is_found(full: Desk):
    path = exported(full, redacted=False)
    forged(path, "evidence/1.eml", MESSAGE.replace(b"buy", b"bye"))
    assert "evidence/1.eml: it is not the message on record" in wrong(path)


def test_a_message_removed_with_its_entry_is_found(full: Desk):
    for redacted in (True, False):
        path = exported(full, redacted=redacted)
        forged(path, "evidence/2.eml", None)
        assert "evidence 2: the message is missing" in wrong(path)


@pytest.mark.parametrize("redacted", [True, False])
def test_a_row_changed_with_the_manifest_made_to_fit_is_found(full: Desk, redacted):
    path = exported(full, redacted=redacted)
    chain = members(path)["chain.jsonl"]
    forged(path, "chain.jsonl", chain.replace(b'"confirmed"', b'"closed"', 1))
    assert "was altered" in wrong(path)


def test_a_row_removed_or_sealed_over_is_found(full: Desk):
    path = exported(full)
    lines = members(path)["chain.jsonl"].splitlines(keepends=True)
    forged(path, "chain.jsonl", b"".join(lines[:-2] + lines[-1:]))
    assert "links.bin: rows are missing" in wrong(path)


def test_a_redacted_message_changed_to_fit_is_found_with_the_record(full: Desk):
    """The chain has the digest of the message as received, so that only the export's own record tells."""
    path = exported(full)
    forged(path, "evidence/1.eml", b"Subject: harmless\r\n\r\n")
    assert wrong(path) == ""
    assert "this record never exported it" in wrong(path, full.data)


def test_a_bundle_of_another_house_is_not_ours(full: Desk, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with IncidentBook(other, clock=FakeClock()).change("x", "y") as change:
        change.fold([sighting(1)])
    assert "it is not the row of the record" in wrong(exported(full), other)


def test_an_incident_that_retention_took_messages_from_is_exported_without_them(full: Desk):
    full.move(1, State.LIFTED, State.CLOSED, resolution=Resolution.STOPPED)
    full.clock.advance(200 * 86_400.0)
    full.prune()
    found = verify_bundle(exported(full), full.data)
    assert (found.flaws, found.messages) == ((), 0)


def test_what_is_not_as_it_was_kept_is_not_exported(full: Desk):
    next((full.data / "incidents/evidence").rglob("*.zst")).write_bytes(b"x")
    with pytest.raises(EvidenceBrokenError):
        exported(full, redacted=False)


def test_an_incident_that_is_not_there_is_not_exported(full: Desk):
    with pytest.raises(BundleError):
        exported(full, 99)


@settings(max_examples=100)
@given(st.binary(max_size=3000))
def test_whatever_is_called_a_bundle_is_judged_not_raised(tmp_path_factory, octets: bytes):
    path = tmp_path_factory.getbasetemp() / "any.tar"
    path.write_bytes(octets)
    assert verify_bundle(path).flaws


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"files": []}',
        b'{"files": {}, "format": "tidegate-incident-bundle", "version": 1}',
        b"\xff",
    ],
)
def test_a_manifest_that_says_nothing_is_judged_not_raised(tmp_path: Path, manifest: bytes):
    packed(tmp_path / "x.tar", {"manifest.json": manifest})
    assert verify_bundle(tmp_path / "x.tar", tmp_path).flaws


def test_a_link_or_folder_in_the_archive_is_no_file(tmp_path: Path, full: Desk):
    path = exported(full)
    out = io.BytesIO(path.read_bytes())
    with tarfile.open(fileobj=out, mode="a") as archive:
        entry = tarfile.TarInfo("evidence/../../x")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    path.write_bytes(out.getvalue())
    assert "it was added" in wrong(path)
