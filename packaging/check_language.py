"""Check the words of the product: `make lint` runs it.

Identifiers and docstrings use the field's terms; docs/glossary.md defines them. No
class name is used twice, a docstring is a sentence, and a message names what happened.

    check_language.py [PATH ...]
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PRODUCT = ("twistlock_console", "plugins", "twistlock_defender", "demo", "app.py")
#: Metaphors and catch-all words: each stood for several things.
METAPHORS = frozenset(
    {
        "birth",
        "brain",
        "brains",
        "comfort",
        "desk",
        "desks",
        "keeper",
        "keepers",
        "ledger",
        "ledgers",
        "life",
        "look",
        "looks",
        "news",
        "papers",
        "parcel",
        "parcels",
        "room",
        "rooms",
        "round",
        "rounds",
        "tenure",
        "told",
        "untold",
        "visit",
        "visits",
        "wish",
        "wishes",
    }
)
#: Python's own names.
BUILT_IN = frozenset({"round"})
#: A docstring that begins so is a fragment, or an inverted sentence.
FRAGMENT = re.compile(
    r"(Anybody|At|By|For|From|Have|How|Nobody|Of|So|Those|What|When|Where|Whether|"
    r"Which|Who|Whoever|Whom|Whose|Why)\b"
)
#: Words of messages and docstrings that stand for processes and connections, or say
#: in an old way what has a plain word.
UNCLEAR = re.compile(
    r"\b(anew|anybody|in\s+vain|nobody|takeovers?|whoever|whomever|is\s+no\s+good)\b",
    re.I,
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Finding(NamedTuple):
    """A word that a stranger would not understand, and where it stands."""

    path: Path
    line: int
    problem: str

    def __str__(self) -> str:
        """Return the finding as compilers print theirs."""
        return f"{self.path}:{self.line}: {self.problem}"


def main(arguments: list[str]) -> int:
    """Print the findings; return 1 if there are any."""
    findings = list(check([Path(name) for name in arguments or PRODUCT]))
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    if findings:
        sys.stdout.write(f"{len(findings)} words to change\n")
    return 1 if findings else 0


def check(roots: list[Path]) -> Iterator[Finding]:
    """Yield what is wrong in the modules below *roots*."""
    classes: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for path in _modules(roots):
        tree = ast.parse(path.read_text(), path.name)
        docstrings = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append((path, node.lineno))
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ) and (found := _docstring(node)):
                docstrings.add(id(found))
                yield from _in_docstring(path, found)
            yield from _in_identifiers(path, node)
        yield from _in_messages(path, tree, docstrings)
    yield from _repeated(classes)


def _modules(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        yield from sorted(root.rglob("*.py")) if root.is_dir() else [root]


def _docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> ast.Constant | None:
    match node.body:
        case [ast.Expr(ast.Constant(str()) as constant), *_]:
            return constant
    return None


def _in_docstring(path: Path, node: ast.Constant) -> Iterator[Finding]:
    text = str(node.value)
    if begin := FRAGMENT.match(text):
        yield Finding(path, node.lineno, f"a docstring that begins with {begin[0]!r}")
    # Names of parameters and code are checked where they are defined.
    prose = re.sub(r"\*\w+\*|`[^`]*`", "", text).lower()
    for word in sorted(METAPHORS & set(re.findall(r"[a-z]+", prose))):
        yield Finding(path, node.lineno, f"{word!r} in a docstring")
    for unclear in UNCLEAR.findall(prose):
        yield Finding(path, node.lineno, f"{unclear!r} in a docstring")


def _in_identifiers(path: Path, node: ast.AST) -> Iterator[Finding]:
    match node:
        case (
            ast.FunctionDef(name=name)
            | ast.AsyncFunctionDef(name=name)
            | ast.ClassDef(name=name)
            | ast.arg(arg=name)
            | ast.Name(id=name, ctx=ast.Store())
            | ast.Attribute(attr=name, ctx=ast.Store())
        ):
            line = node.lineno
        case _:
            return
    words = {word.lower() for word in WORD.findall(name)}
    if name not in BUILT_IN:
        for word in sorted(METAPHORS & words):
            yield Finding(path, line, f"{word!r} in the name {name}")


def _in_messages(path: Path, tree: ast.AST, docstrings: set[int]) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) in docstrings or " " not in node.value.strip():
            continue
        for unclear in UNCLEAR.findall(node.value):
            yield Finding(path, node.lineno, f"{unclear!r} in a message")


def _repeated(classes: dict[str, list[tuple[Path, int]]]) -> Iterator[Finding]:
    for name, places in sorted(classes.items()):
        if len(places) > 1:
            others = ", ".join(str(path) for path, _ in places[1:])
            yield Finding(*places[0], f"class {name} is also in {others}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
