"""A story as text: one mail on one screen, in the order in which it happened."""

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.admin.lines import printable
from gateway.admin.trace import Story
from gateway.journal.events import (
    DeliveryAttempted,
    Event,
    MessageJudged,
    NoticeQueued,
    QuarantineReleased,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)

# Recipients and attempts told one by one; more are counted, and --json has them all.
MAX_RECIPIENTS = 12
MAX_ATTEMPTS = 20
_LABEL = 10


def render(story: Story) -> str:
    """Return the story as lines; whatever came from outside is escaped."""
    title = f"{story.trace_id or 'no id'}  {_when(story.at)}  {story.state}"
    return "\n".join([printable(title), *(printable(line) for line in _lines(story))])


def _lines(story: Story) -> Iterator[str]:
    judged = story.judged
    if judged:
        yield from _message(judged, story.session)
    elif story.custody:
        envelope = story.custody.envelope
        yield _labelled(
            "envelope", f"from {envelope.reverse_path}, {story.custody.octets} octets, {story.custody.message_id}"
        )
    told = [(event.at, line) for event in story.events if event != story.session for line in _told(event)]
    for _, line in sorted([*told, *_attempts(story)], key=lambda pair: pair[0]):
        yield line
    for notice in story.notices:
        yield _labelled("notice", f"{_when(notice.at)} {notice.notice} to <{notice.recipient}>, id {notice.trace_id}")
    yield from _ends(story)


def _message(judged: MessageJudged, session: SessionClosed | None) -> Iterator[str]:
    client = (
        f"{judged.client_name or 'unknown'}[{judged.client}] as {judged.helo}, {judged.role}, {judged.tls or 'no TLS'}"
    )
    end = f"; session {judged.session_id}" + (
        f" ended by {session.end} after {session.seconds:.1f} s" if session else ""
    )
    yield _labelled("client", client + end)
    yield _labelled("envelope", f"from <{judged.reverse_path}> to {_recipients(judged)}")
    yield _labelled(
        "content", f"{judged.octets} octets, {judged.message_id or 'no Message-ID'}, subject {judged.subject!r}"
    )
    yield _labelled("stamps", _stamps(judged))
    grounds: dict[str, list[str]] = {}
    for address, ground in judged.grounds:
        grounds.setdefault(address, []).append(ground)
    scores = {(j[1], j[2]): f" → {j[4] or format(j[3], '+g')}" for j in judged.judgements}
    for name, result, reason in judged.findings:
        # A custom rule's reason begins with its name, which is its result.
        why = reason.removeprefix(f"{result}: ") if reason != result else ""
        yield _labelled("finding", f"{name} {result}{scores.get((name, result), '')}" + (f": {why}" if why else ""))
    for address, action, score, name, reason in judged.dispositions[:MAX_RECIPIENTS]:
        ground = f"grounds {' '.join(grounds[address])}" if address in grounds else ""
        # A reason begins with the deciding filter's name.
        why = ", ".join(filter(None, (reason or name, ground)))
        yield _labelled("verdict", f"<{address}> {action}, score {score:g}" + (f" ({why})" if why else ""))
    yield _labelled("reply", judged.reply)


def _recipients(judged: MessageJudged) -> str:
    shown = ", ".join(f"<{d[0]}>" for d in judged.dispositions[:MAX_RECIPIENTS])
    more = len(judged.dispositions) - MAX_RECIPIENTS
    return f"{shown} and {more} more" if more > 0 else shown


def _stamps(judged: MessageJudged) -> str:
    shares = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in judged.filter_seconds)
    durable = f", durable {judged.durable_seconds * 1000:.1f} ms later" if judged.durable_at else ""
    return (
        f"connected {_when(judged.connected_at)}, MAIL {_after(judged.connected_at, judged.enveloped_at)}, "
        f"final dot {_after(judged.connected_at, judged.received_at)}, "
        f"filtered in {judged.filtered_seconds * 1000:.1f} ms"
        f"{f' ({shares})' if shares else ''}{durable}"
    )


def _told(event: Event) -> Iterator[str]:
    match event:
        case RecipientRefused():
            why = ", ".join(text for text in (event.filter, event.reason) if text and text not in event.reply)
            yield _labelled(
                "refused",
                f"{_when(event.at)} RCPT <{event.recipient}> from <{event.reverse_path}>, "
                f"client [{event.client}] as {event.helo}: {event.reply}" + (f" ({why})" if why else ""),
            )
        case TransactionAborted():
            yield _labelled(
                "aborted",
                f"{_when(event.at)} after {event.octets} octets from <{event.reverse_path}>, "
                f"client [{event.client}]: {event.reply or 'no reply'} ({event.reason})",
            )
        case SessionRefused():
            yield _labelled(
                "refused", f"{_when(event.at)} client [{event.client}], {event.role}: {event.reply} ({event.reason})"
            )
        case SessionClosed():
            yield _labelled(
                "session",
                f"{_when(event.at)} client [{event.client}] as {event.helo}: {event.end} after {event.seconds:.1f} s, "
                f"{event.commands} commands, {event.messages} messages, {event.errors} errors",
            )
        case QueueChanged():
            yield _labelled(
                "operator", f"{_when(event.at)} {event.operator}: {event.operation} {', '.join(event.recipients)}"
            )
        case QuarantineReleased():
            said = f"; although {event.objection}" if event.objection else ""
            yield _labelled(
                "operator",
                f"{_when(event.at)} {event.operator}: released from quarantine to {', '.join(event.recipients)}, "
                f"scan: {event.outcome or 'none'}{said}",
            )
        case NoticeQueued():
            about = f" about {event.about}" if event.about else ""
            yield _labelled("notice", f"{_when(event.at)} {event.notice}{about} to <{event.recipient}>")
        case MessageJudged() | DeliveryAttempted():
            return
        case _:
            yield _labelled(event.kind, _when(event.at))


def _attempts(story: Story) -> list[tuple[float, str]]:
    """Return the latest attempts as lines with their time: from the journal, else from custody and ledger."""
    lines = [
        (
            e.at,
            (
                f"{_when(e.at)} #{e.attempt} <{e.recipient}> {e.status} by {e.relay or e.next_hop} at {e.phase}, "
                f"{'/'.join(format(d, '.2g') for d in e.delays)} s: {e.reply}"
            ),
        )
        for e in story.events
        if isinstance(e, DeliveryAttempted)
    ] or [
        (a.at, f"{_when(a.at)} {a.status} by {a.relay or a.next_hop} at {a.phase}, {a.seconds:.2g} s: {a.reply}")
        for a in story.attempts()
    ]
    shown = [(at, _labelled("attempt", line)) for at, line in lines[-MAX_ATTEMPTS:]]
    more = len(lines) - len(shown)
    return [(shown[0][0], _labelled("attempt", f"{more} attempts before")), *shown] if more else shown


def _ends(story: Story) -> Iterator[str]:
    delays = {
        r.recipient: _delays(r.send_delay_seconds, r.receive_delay_seconds, r.held_seconds) for r in story.records
    }
    copies = story.custody.recipients if story.custody else ()
    due = {c.recipient.path.wire: f", next attempt {_when(c.due)}" for c in copies if c.state == "queued"}
    states = story.states()
    for address, state in list(states.items())[:MAX_RECIPIENTS]:
        yield _labelled("now", f"<{address}> {state}{delays.get(address, '')}{due.get(address, '')}")
    if len(states) > MAX_RECIPIENTS:
        yield _labelled("", f"and {len(states) - MAX_RECIPIENTS} more recipients")


def _delays(send: float | None, receive: float | None, held: float) -> str:
    parts = [
        f", send delay {send:.3f} s" if send is not None else "",
        f", receive delay {receive:.3f} s" if receive is not None else "",
        f", held {held:.0f} s" if held else "",
    ]
    return "".join(parts)


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"


def _after(start: float, end: float) -> str:
    return f"+{max(0.0, end - start):.3f} s"
