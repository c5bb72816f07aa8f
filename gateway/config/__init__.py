"""Files → one frozen ``Snapshot``, or every error at once with file:line (invariant 10).

``loader.load`` reads ``tidegate.toml`` and the policies folder, ``embedded.load_embedded`` what runs with no file at
all. Layers, lowest first: built-in defaults, ``policies/default.toml``, ``policies/<file>.toml``, its
``[mailbox."…"]`` tables; tables merge key by key, lists and scalars replace. Nothing is guessed and nothing is
skipped: an unknown key, a bad value, an unreadable list or two policies that claim one domain refuse the whole
configuration, and the caller keeps the snapshot it has.

Error tree: ``ConfigError`` (the files are wrong; carries ``Problem`` values). Everything else that escapes is a bug.

Reading order: ``source`` (one file) → ``linemap`` (its keys' lines) → ``layers`` (the merge) → ``models``,
``policy_table`` (the keys) → ``complaint`` (what is wrong, in an administrator's words) → ``policies`` (one
``PolicySet``) → ``snapshot`` → ``loader``.
"""
