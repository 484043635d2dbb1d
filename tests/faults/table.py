"""The table of what was measured."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.faults.result import Result

COLUMNS = (
    "fault",
    "service s",
    "outage s",
    "two ms",
    "stored",
    "unknown",
    "lost",
    "doubled",
    "epochs",
    "whole s",
    "verdict",
)


def show(results: Sequence[Result]) -> None:
    """Print one row a scenario, and below what was broken."""
    console = Console(width=150)
    table = Table(*COLUMNS)
    for result in results:
        table.add_row(
            result.name,
            _seconds(result.service),
            _seconds(result.outage),
            f"{result.dual_ms:.0f}",
            str(result.acknowledged),
            str(result.unknown),
            str(result.lost),
            str(result.doubled),
            str(result.epochs),
            _seconds(result.converged),
            "broken" if result.broken else "kept",
        )
    console.print(table)
    for result in results:
        for sentence in result.broken:
            console.print(f"{result.name}: {sentence}", markup=False, soft_wrap=True)


def told(result: Result) -> str:
    """The same in one line."""
    return (
        f"{result.name:44} service {_seconds(result.service):>5} s, "
        f"two serving {result.dual_ms:.0f} ms, {result.acknowledged} writes stored, "
        f"{result.lost} lost, rules {'broken' if result.broken else 'kept'}"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
