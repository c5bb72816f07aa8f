"""Reports sent, answers to them, and the view ``reports_sent``: their tables in the incidents' database."""

from gateway.storage import Migration

MIGRATIONS: tuple[Migration, ...] = ()
