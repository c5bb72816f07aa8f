"""Written guarantees: their tables in the incidents' database."""

from gateway.storage import Migration

MIGRATIONS: tuple[Migration, ...] = ()
