"""Say how many of the mutants that mutmut made the unit tests have killed.

`make mutants` calls it after mutmut. It prints the score of each part and the change
of each mutant that survived, and fails where a part has a score below the goal. One
that was not tried counts as one that survived. With arguments, which mutmut got as
well, only some were tried: it prints their scores, and demands nothing.
"""

import sys
from collections import Counter
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

PARTS = (
    "plugins/ha/consensus",
    "plugins/ha/membership/rules.py",
    "twistlock_console/backups/format",
    "twistlock_console/protocol",
)
#: Percent of the mutants of each part that must be killed.
GOAL = 90
#: A mutant that never ends, or ends the process, is noticed as well.
KILLED = frozenset({"killed", "timeout", "segfault"})
UNCHECKED = "not checked"


def main() -> int:
    """Print the survivors, then the scores; return 1 if one is too low."""
    statuses = {part: _statuses_of(Path(part)) for part in PARTS}
    for of_part in statuses.values():
        for (name, path), status in sorted(of_part.items()):
            if status not in KILLED | {UNCHECKED}:
                _say(f"{name}: {status}\n{_change(name, path)}")
    scores = [_score(part, Counter(found.values())) for part, found in statuses.items()]
    return int(len(sys.argv) == 1 and any(score < GOAL for score in scores))


def _say(line: str) -> None:
    print(line)  # noqa: T201


def _statuses_of(part: Path) -> dict[tuple[str, Path], str]:
    """Return what became of each mutant of the files of *part*."""
    found = {}
    for path in [part] if part.suffix else sorted(part.rglob("*.py")):
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            found[name, path] = status_by_exit_code[code]
    return found


def _change(name: str, path: Path) -> str:
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    return "\n".join(f"    {line}" for line in lines if line.startswith(("-", "+")))


def _score(part: str, counts: Counter[str]) -> float:
    """Print the score of *part* in percent, and return it."""
    total, untried = counts.total(), counts[UNCHECKED]
    killed = sum(counts[status] for status in KILLED)
    score = 100 * killed / total if total else 0.0
    without = f", {untried} not tried" if untried else ""
    _say(f"{part:34} {killed:4} of {total:4} mutants killed: {score:5.1f} %{without}")
    return score


if __name__ == "__main__":
    sys.exit(main())
