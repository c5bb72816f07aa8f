"""A killed process loses nothing it acknowledged (invariant 1)."""

import subprocess
import sys
import textwrap

import pytest

from gateway.storage import open_readonly

WRITER = textwrap.dedent(
    """
    import asyncio, os, sys
    from pathlib import Path
    from gateway.storage import Database, Migration, insert_into

    MIGRATIONS = (Migration(1, "rows", lambda s: s.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB)")),)
    INSERT = insert_into("row", ("id", "body"))

    async def client(database, first):
        for n in range(first, 10_000_000, 20):
            await database.commit([(INSERT, (n, os.urandom(8192)))])
            os.write(1, f"{n}\\n".encode())

    async def main():
        database = Database(Path(sys.argv[1]), MIGRATIONS, synchronous="FULL")
        await asyncio.gather(*(client(database, n) for n in range(20)))

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("lines", [1, 50, 400])
def test_rows_acknowledged_before_a_kill_are_there(tmp_path, lines):
    path = tmp_path / "rows.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = {int(child.stdout.readline()) for _ in range(lines)}
        child.kill()
        # What stood in the pipe at the kill was acknowledged as well; a last line cut short was not.
        rest = child.stdout.read()
    acknowledged.update(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))
    with open_readonly(path) as reader:
        kept = {row[0] for row in reader.read("SELECT id FROM row WHERE length(body) = 8192")}
    assert len(acknowledged) >= lines
    assert acknowledged <= kept
