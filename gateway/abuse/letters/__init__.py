"""The written guarantee's letter, in Chinese and English: texts with ``$name`` where the case is filled in."""
