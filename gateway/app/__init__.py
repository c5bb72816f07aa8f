"""The composition root: the only rooms that know all others, and the only readers of the world outside.

``supervisor`` keeps one worker process per core alive and answers the operator; ``worker`` puts one gateway together
from its parts.
"""
