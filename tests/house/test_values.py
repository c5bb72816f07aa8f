"""Values are made fast and stay values: compared and hashed by their fields, and no code may assign to one."""

from dataclasses import fields, replace

import pytest

from gateway.value import value


@value(kw_only=True, order=True)
class Point:
    x: int
    y: int = 0


def test_a_value_is_its_fields():
    assert Point(x=1) == Point(x=1, y=0) < Point(x=2)
    assert {Point(x=1): "found"}[replace(Point(x=1, y=7), y=0)] == "found"
    assert not hasattr(Point(x=1), "__dict__")
    assert [field.name for field in fields(Point)] == ["x", "y"]


def test_a_value_without_equality_is_itself_alone():
    @value(eq=False)
    class Thing:
        x: int

    thing = Thing(1)
    assert {thing, Thing(1)} >= {thing}
    assert thing != Thing(1)


def test_the_type_checker_refuses_to_change_one(tmp_path):
    """It is the only one who does: a filter that changed the transaction would change it for all others."""
    api = pytest.importorskip("mypy.api")
    code = tmp_path / "code.py"
    code.write_text("from gateway.clock import Stamp\nStamp(1.0, 2.0).utc = 3.0\n", encoding="utf-8")
    said, _, _ = api.run(["--cache-dir", str(tmp_path), "--follow-imports=silent", str(code)])
    assert 'Property "utc" defined in "Stamp" is read-only' in said
