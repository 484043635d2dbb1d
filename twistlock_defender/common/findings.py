"""Findings as text: how they lie in the outbox, and how they travel.

A finding gets its number from the outbox; until then it is UNNUMBERED.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from twistlock_console.protocol import DroppedEvent, Event, TroubleEvent, encode_event
from twistlock_defender.common.clock import utc_now

UNNUMBERED: Final = 0
_HEAD: Final = f'{{"number":{UNNUMBERED},'
LONGEST_SENTENCE: Final = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding with its number; *body* is JSON without the number."""

    number: int
    body: str


@dataclass(frozen=True, slots=True)
class Lost:
    """So many findings were dropped, with numbers from *first* to *last*."""

    count: int
    first: int
    last: int


def body_of(finding: Event) -> str:
    """Write *finding* for the outbox."""
    return encode_event(replace(finding, number=UNNUMBERED))


def events_message(entries: Sequence[Entry]) -> str:
    """Write the message that takes *entries*, as they lie in the outbox.

    Nothing is read and written anew: thousands are sent after a long outage.
    """
    events = ",".join(
        f'{{"number":{entry.number},{entry.body.removeprefix(_HEAD)}'
        for entry in entries
    )
    return f'{{"type":"events","events":[{events}]}}'


def dropped(lost: Lost) -> str:
    """Write the finding that tells of findings that are lost."""
    event = DroppedEvent(UNNUMBERED, utc_now(), lost.count, lost.first, lost.last)
    return body_of(event)


def trouble(sentence: str, rule: str = "") -> TroubleEvent:
    """The finding that a part of *rule* cannot be enforced."""
    said = printable(sentence, LONGEST_SENTENCE)
    return TroubleEvent(UNNUMBERED, utc_now(), said, rule)


def printable(text: str, most: int) -> str:
    """*text* as the protocol takes it: no broken characters, *most* at most."""
    whole = text.encode(errors="surrogateescape").decode(errors="replace")
    return whole if len(whole) <= most else whole[: most - 1] + "…"
