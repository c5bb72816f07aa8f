"""The mail of the whole pipeline's benchmark is what it says: no defects, signed by its author; judging is fair."""

from email import message_from_bytes, policy

import dkim
import filtering
import pytest
from throughput import Run, Scenario

from gateway.policy.signing import generate_key, read_signing_key

KEY = read_signing_key(generate_key("rsa"), filtering.AUTHOR, "s1")


@pytest.mark.parametrize("picture", [0, 1000], ids=["text", "picture"])
def test_the_newsletter_is_a_mail_that_others_verify(picture: int):
    octets = filtering.newsletter(KEY, picture)
    records = filtering.records(KEY)

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get((name.decode().rstrip("."), "TXT"), "").encode()

    assert dkim.verify(octets, dnsfunc=answer)
    parsed = message_from_bytes(octets, policy=policy.SMTP)
    kinds = [part.get_content_type() for part in parsed.walk() if not part.is_multipart()]
    assert not parsed.defects
    assert kinds == ["text/plain", "text/html"] + ["image/jpeg"] * bool(picture)


def test_smtp_source_gets_line_ends_it_can_send(tmp_path):
    for scenario in filtering.scenarios(tmp_path, KEY, 0.01):
        assert scenario.mail is not None
        assert b"\r" not in scenario.mail.read_bytes()


def test_only_rspamd_is_judged(capsys):
    sizes = [Scenario(label="8 KB", octets=1, messages=100, target=filtering.TIMES_RSPAMD)]
    runs = [
        Run(
            system=name,
            scenario="8 KB",
            round=1,
            messages=100,
            seconds=seconds,
            accepted_seconds=seconds,
            cpu_seconds=0.1,
            other_load=0.0,
        )
        for name, seconds in (("tidegate", 1.0), ("rspamd", 2.5), ("postfix", 0.5))
    ]
    assert [line.split(" 2.5")[0] for line in filtering.show(runs, sizes)] == ["8 KB: tidegate / rspamd"]
    assert "8 KB: tidegate / postfix 0.50" in capsys.readouterr().out
