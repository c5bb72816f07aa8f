"""What a report to a domain's owner needs to know of one message, as texts that an event can carry (RFC 9990).

Kept only where the domain asks for reports (rua=). No local parts, no recipients: a report tells of servers and
domains (RFC 9990, privacy considerations).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from gateway.senderauth.dkim.verify import DkimResult
from gateway.senderauth.dmarc.evaluate import DmarcResult
from gateway.senderauth.spf.result import SpfResult
from gateway.senderauth.word import Word

# RFC 9990 takes a hundred signatures a row; ten are evaluated.
_SEPARATOR = " "


@dataclass(frozen=True, slots=True)
class DmarcFacts:
    """One message's facts; every field is text, ``signatures`` such as ``d.example/s1/pass`` parted by spaces."""

    policy_domain: str
    record: str
    author: str
    envelope_domain: str
    spf: str
    aligned_spf: str
    aligned_dkim: str
    result: str
    policy: str
    signatures: str

    @classmethod
    def of(cls, dmarc: DmarcResult, spf: SpfResult | None, dkim: Sequence[DkimResult]) -> "DmarcFacts | None":
        """Return the facts of an evaluated message, None where nobody wants them or nothing is certain."""
        if dmarc.record is None or not dmarc.record.rua or dmarc.result not in (Word.PASS, Word.FAIL):
            return None
        return cls(
            policy_domain=dmarc.policy_domain,
            record=dmarc.record.text,
            author=dmarc.author.domain,
            envelope_domain=spf.domain if spf else "",
            spf=spf.result.value if spf else "",
            aligned_spf="pass" if dmarc.aligned_spf else "fail",
            aligned_dkim="pass" if dmarc.aligned_dkim else "fail",
            result=dmarc.result.value,
            policy=dmarc.published.value,
            signatures=_SEPARATOR.join(_signature(one) for one in dkim if one.domain),
        )

    @classmethod
    def read(cls, texts: Sequence[str]) -> "DmarcFacts | None":
        """Return the facts that an event carries, None where it has none."""
        return cls(*texts) if len(texts) == len(cls.__slots__) else None

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields in order, for an event."""
        return astuple(self)

    @property
    def signature_parts(self) -> tuple[tuple[str, str, str], ...]:
        """Domain, selector and result of each signature."""
        parts = [one.split("/") for one in self.signatures.split(_SEPARATOR) if one.count("/") == 2]  # noqa: PLR2004
        return tuple((domain, selector, result) for domain, selector, result in parts)


def _signature(result: DkimResult) -> str:
    return "/".join(text.replace("/", "").replace(" ", "") for text in (result.domain, result.selector, result.result))
