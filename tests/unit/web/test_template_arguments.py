"""What a view passes to a template is used there: Jinja takes any name in silence."""

import ast
from functools import cache
from pathlib import Path

import pytest
from jinja2 import Environment, meta

ROOT = Path(__file__).parents[3]
PRODUCT = ("twistlock_console", "plugins", "demo")
TEMPLATES = {
    str(path).split("templates/", 1)[1]: path
    for root in PRODUCT
    for path in (ROOT / root).rglob("templates/**/*.html")
}


def rendered() -> list[tuple[str, str, frozenset[str]]]:
    """Return where a template is rendered, which one, and with which arguments."""
    found = []
    for root in PRODUCT:
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Name(id="render_template"),
                        args=[ast.Constant(str() as name)],
                    ):
                        given = frozenset(k.arg for k in node.keywords if k.arg)
                        found.append((f"{path.name}:{node.lineno}", name, given))
    return found


@cache
def names_in(template: str) -> frozenset[str]:
    """Return the names that *template*, and those that it includes, look up."""
    environment = Environment(autoescape=True)
    environment.filters |= dict.fromkeys(("sentence", "moment"), str)
    if template not in TEMPLATES:
        return frozenset()
    tree = environment.parse(TEMPLATES[template].read_text())
    parts = [part for part in meta.find_referenced_templates(tree) if part]
    return frozenset(meta.find_undeclared_variables(tree)).union(*map(names_in, parts))


@pytest.mark.parametrize(
    ("template", "given"),
    [pytest.param(name, given, id=where) for where, name, given in rendered()],
)
def test_every_argument_is_used(template: str, given: frozenset[str]) -> None:
    """One with another name would leave a part of the page empty."""
    assert given <= names_in(template)
