"""The table of what honest clients saw of an attack."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from tests.hostile.records import Answer
from tests.hostile.verdict import (
    Outcome,
    broken_rules,
    by_kind,
    percentile_ms,
)

COLUMNS = ("honest requests", "sent", "within 2 s", "median ms", "p99 ms", "worst ms")


def show(outcome: Outcome) -> None:
    """Print one row for each kind of request, then the rest in sentences."""
    console = Console(width=120)
    table = Table(*COLUMNS, title=outcome.name)
    for kind, answers in by_kind(outcome.answers):
        table.add_row(*_row(outcome, kind, answers))
    table.add_row(*_row(outcome, "all", outcome.answers))
    console.print(table)
    for sentence in [*sentences(outcome), *broken_rules(outcome)]:
        console.print(sentence, markup=False, soft_wrap=True)


def told(outcome: Outcome) -> str:
    """Return the same in one line."""
    return (
        f"{outcome.name}: {outcome.percent_in_time:.1f} % of {len(outcome.answers)} "
        f"answered within 2 s, p99 {percentile_ms(outcome.answers, 0.99)} ms, "
        f"{outcome.role_changes} role changes, {len(outcome.closings)} closed ports, "
        f"{len(outcome.cuts)} sessions cut, {outcome.largest_mib} MiB at most"
    )


def sentences(outcome: Outcome) -> Iterator[str]:
    """Return what the table does not show, in sentences."""
    yield (
        f"role changes: {outcome.role_changes}; closed ports: {len(outcome.closings)}; "
        f"honest sessions cut: {len(outcome.cuts)}"
    )
    yield f"largest server process: {outcome.largest_mib} MiB"
    for what, count in sorted(outcome.attack.items()):
        yield f"attack: {what}: {count:,}"


def _row(outcome: Outcome, kind: str, answers: Sequence[Answer]) -> tuple[str, ...]:
    good = sum(map(outcome.is_good, answers))
    part = 100 * good / len(answers) if answers else 0.0
    times = [percentile_ms(answers, part) for part in (0.5, 0.99, 1.0)]
    return kind, f"{len(answers):,}", f"{part:.2f} %", *map(str, times)
