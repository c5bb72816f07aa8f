"""Where the messages written by others lie."""

from pathlib import Path

import pytest

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "mime"


@pytest.fixture(scope="session")
def material() -> Path:
    if not MATERIAL.is_dir():
        pytest.skip("needs ../shared/material/mime, which a clone does not have")
    return MATERIAL
