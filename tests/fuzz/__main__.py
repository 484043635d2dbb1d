"""Run the harnesses under atheris: `make fuzz`, or `python -m tests.fuzz --help`.

Each runs in a process of its own, one after the other; a finding ends it and is kept
in `build/fuzz`. What a harness learned stays there too: the next run begins with it.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.harnesses import NAMES
from tests.fuzz.parsers import MEMORY

BUILD = Path("build/fuzz")
#: A parser that takes longer, or more memory, on some KB is a finding.
TIMEOUT_S = 20
MAX_MEMORY_MB = 1536
MAX_INPUT_BYTES = 64 * 1024
EXECUTED = re.compile(r"^(?:#|Done )(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a harness: inputs that were tried, and what was found."""

    name: str
    executions: int
    finding: str


def main() -> int:
    """Run what the command line names; 1 if there is a finding."""
    options = _options()
    if options.one:
        from tests.fuzz.under_atheris import run

        run(options.one, BUILD / options.one, options.rest)
        return 0
    found = [_run(name, options.minutes, options.rest) for name in options.only]
    _say(f"\n{'harness':<18}{'minutes':>8}{'inputs':>12}  finding")
    for each in found:
        count, finding = each.executions, each.finding or "none"
        _say(f"{each.name:<18}{options.minutes:>8g}{count:>12,}  {finding}")
    return int(any(each.finding for each in found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=list(NAMES))
    parser.add_argument("--minutes", type=float, default=1.0, help="of each harness")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help="words for libFuzzer, after --")
    return parser.parse_args()


def _run(name: str, minutes: float, rest: list[str]) -> Outcome:
    corpus = BUILD / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    log = BUILD / name / "log"
    words = [
        f"-max_total_time={max(1, round(minutes * 60))}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-artifact_prefix={BUILD / name}/",
        "-print_final_stats=1",
        *rest,
        str(corpus),
    ]
    _say(f"{name}: {minutes:g} minutes, log {log}")
    with log.open("wb") as output, TemporaryDirectory(dir=_memory()) as scratch:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--one", name, "--", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            # libFuzzer ends a process as it stands.
            env={**os.environ, "TMPDIR": scratch},
            check=False,
        )
    text = log.read_text(errors="replace")
    counts = map(int, EXECUTED.findall(text))
    finding = "" if ended.returncode == 0 else _finding(text, log)
    return Outcome(name, max(counts, default=0), finding)


def _memory() -> Path | None:
    return MEMORY if MEMORY.is_dir() else None


def _finding(text: str, log: Path) -> str:
    raised = re.search(r"Uncaught Python exception: ===\n(.*)", text)
    kind = re.search(r"ERROR: libFuzzer: (.*)", text)
    what = raised[1] if raised else kind[1] if kind else "it failed"
    return f"{what[:100]}; see {log}"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
