"""Custom rules: what administrators write under ``[[rule]]``, read, compiled and judged (policies/README.md).

``reading`` turns tables into ``Rule`` values or complaints; ``compile_layer`` (``group``) makes one file's rules fast
to judge; ``MailFacts`` (``facts``) gives each subject's values, lazily and once per message; ``judge`` and ``judged``
(``judging``) say which rules fired; ``explain`` (``story``) why each did or did not.

google-re2 is the authority on patterns, so none can take more than linear time. Nothing here raises because of a
mail; a message that exhausts its limits says so (``Outcome.limits``), one that exhausts its time is ``temperror``.
"""
