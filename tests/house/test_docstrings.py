"""Public names say what they promise: shapes, units, errors, where it comes from (style.md, habit 14).

ruff asks it of public classes only; in these packages a class of one module's own is read by the next person as well.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.house.conftest import ROOT

PACKAGES = ("abuse", "admin", "cli", "incidents")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def silent(node: ast.AST, names: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what has a public name and no docstring; what stands within a function is that function's own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            if not child.name.startswith("_") and not ast.get_docstring(child):
                yield ".".join((*names, child.name))
        elif isinstance(child, ast.ClassDef):
            if not child.name.startswith("_") and not ast.get_docstring(child):
                yield ".".join((*names, child.name))
            yield from silent(child, (*names, child.name))
        else:
            yield from silent(child, names)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_says_what_it_promises(package: str):
    files = sorted((ROOT / "gateway" / package).rglob("*.py"))
    found = {f"{path.relative_to(ROOT)}: {name}" for path in files for name in silent(ast.parse(path.read_text()))}
    assert found == set()


def test_the_look_finds_what_it_looks_for():
    source = 'class _A:\n def b(self): ...\n def _c(self): ...\n def d(self):\n  """Do."""\n  def e(): ...\n'
    assert list(silent(ast.parse(source))) == ["_A.b"]
