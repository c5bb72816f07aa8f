"""The commands of one mail transaction, as a next hop's extensions allow (RFC 5321, 1870, 6152, 6531, 3461)."""

from gateway.delivery import causes
from gateway.delivery.transfer import Transfer
from gateway.mail.envelope import Envelope, Recipient
from gateway.smtp.reply import Reply
from gateway.smtp.response import Extensions

_DATA = b"DATA\r\n"


def mail_refusal(transfer: Transfer, extensions: Extensions) -> Reply | None:
    """Return why this next hop cannot have the message at all, or None."""
    if extensions.size_limit is not None:
        size = transfer.rendition.size(transfer.content)
        if size > extensions.size_limit:
            return causes.TOO_BIG.saying(f"the message has {size} octets, the next hop takes {extensions.size_limit}")
    # RFC 6531 §3.2 (3) and §3.5: what needs SMTPUTF8 is not sent without it.
    if transfer.envelope.smtputf8 and not extensions.smtputf8 and needs_smtputf8(transfer):
        return causes.SMTPUTF8_NEEDED
    return None


def needs_smtputf8(transfer: Transfer) -> bool:
    """Tell whether an address or the header section is not ASCII; a client may have declared SMTPUTF8 without need."""
    return (
        not transfer.envelope.reverse_path.wire.isascii()
        or any(not recipient.path.wire.isascii() for recipient in transfer.recipients)
        or not transfer.content.header.octets.isascii()
    )


class TransferCommands:
    """MAIL, each RCPT, DATA: in one group, or one after the other."""

    __slots__ = ("_extensions", "_transfer", "count", "sent")

    def __init__(self, transfer: Transfer, extensions: Extensions) -> None:
        self._transfer = transfer
        self._extensions = extensions
        self.count = len(transfer.recipients) + 2
        self.sent = 0

    def group(self) -> bytes:
        """Return all of them."""
        dsn = self._extensions.dsn
        lines = [self._mail(), *[_rcpt(r) if not dsn else _rcpt_dsn(r) for r in self._transfer.recipients], "DATA\r\n"]
        # RFC 6531 §3.1 (8): with SMTPUTF8 addresses are UTF-8; without, they are ASCII.
        return "".join(lines).encode("utf-8")

    def next(self) -> bytes:
        """Return the next one."""
        at, self.sent = self.sent, self.sent + 1
        if at == 0:
            return self._mail().encode("utf-8")
        if at == self.count - 1:
            return _DATA
        recipient = self._transfer.recipients[at - 1]
        return (_rcpt_dsn(recipient) if self._extensions.dsn else _rcpt(recipient)).encode("utf-8")

    def _mail(self) -> str:
        envelope, extensions = self._transfer.envelope, self._extensions
        size = f" SIZE={self._transfer.rendition.size(self._transfer.content)}" if extensions.size else ""
        body = " BODY=8BITMIME" if extensions.eightbitmime and envelope.body == "8BITMIME" else ""
        utf8 = " SMTPUTF8" if envelope.smtputf8 and extensions.smtputf8 else ""
        return (
            f"MAIL FROM:<{envelope.reverse_path.wire}>{size}{body}{utf8}{_ret(envelope) if extensions.dsn else ''}\r\n"
        )


def _ret(envelope: Envelope) -> str:
    # RFC 3461 §5.2.1: RET and ENVID are passed on as they came.
    ret = f" RET={envelope.ret}" if envelope.ret else ""
    return f"{ret} ENVID={envelope.envid}" if envelope.envid else ret


def _rcpt(recipient: Recipient) -> str:
    return f"RCPT TO:<{recipient.path.wire}>\r\n"


def _rcpt_dsn(recipient: Recipient) -> str:
    # RFC 3461 §5.2.1: NOTIFY and ORCPT too.
    notify = f" NOTIFY={','.join(sorted(recipient.notify))}" if recipient.notify else ""
    orcpt = f" ORCPT={recipient.orcpt}" if recipient.orcpt else ""
    return f"RCPT TO:<{recipient.path.wire}>{notify}{orcpt}\r\n"
