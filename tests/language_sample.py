"""Draw docstrings and messages for a reader who has not seen the code.

`python -m tests.language_sample --seed 7` prints 70 docstrings, each with the name that
it documents, and 40 messages that users see. The reader says which are unclear.
"""

import argparse
import ast
import random
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PRODUCT = ("twistlock_console", "plugins", "twistlock_defender", "demo")
DOCSTRINGS, MESSAGES = 70, 40
#: What shows its text to an administrator: errors, logs, and pages' messages.
SHOWN_BY = frozenset(
    {"error", "warning", "info", "exception", "flash", "echo", "abort"}
)
MIN_WORDS = 4


def main() -> int:
    """Print both samples."""
    parser = argparse.ArgumentParser(prog="tests.language_sample")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311  it must be repeatable
    trees = [
        (path.relative_to(PROJECT), ast.parse(path.read_text()))
        for root in PRODUCT
        for path in sorted((PROJECT / root).rglob("*.py"))
    ]
    docstrings = [found for path, tree in trees for found in _docstrings(path, tree)]
    messages = [found for path, tree in trees for found in _messages(path, tree)]
    for title, texts, count in (
        ("Docstrings", docstrings, DOCSTRINGS),
        ("Messages", messages, MESSAGES),
    ):
        sys.stdout.write(f"\n{title}, {count} of {len(texts)}\n")
        for number, text in enumerate(chance.sample(texts, count), 1):
            sys.stdout.write(f"\n{number}. {text}\n")
    return 0


def _docstrings(path: Path, tree: ast.Module) -> Iterator[str]:
    yield f"{path}\n{ast.get_docstring(tree)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            kind = "class" if isinstance(node, ast.ClassDef) else "def"
            signature = (
                ""
                if isinstance(node, ast.ClassDef)
                else f"({', '.join(each.arg for each in node.args.args)})"
            )
            yield f"{path}: {kind} {node.name}{signature}\n{text}"


def _messages(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(args=arguments)):
                pass
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if (
                name in SHOWN_BY
            ):
                arguments = node.args
            case _:
                continue
        for argument in arguments:
            if (text := _text(argument)) and len(text.split()) >= MIN_WORDS:
                yield f"{path}: {text}"


def _text(node: ast.expr) -> str:
    """Return the text of a literal; the values in an f-string stand in braces."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                _text(part)
                if isinstance(part, ast.Constant)
                else f"{{{ast.unparse(part.value)}}}"
                for part in parts
                if isinstance(part, ast.Constant | ast.FormattedValue)
            )
    return ""


if __name__ == "__main__":
    sys.exit(main())
