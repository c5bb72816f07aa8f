"""From a transaction to a verdict: discover, compile, run, split by policy, fold, reply (invariants 2 to 9).

``gate.Gate`` is the room's door: compiled once from a configuration snapshot, immutable, asked at CONNECT, at each
RCPT and after the final dot. It does no input or output of its own; filters and the recipient verifier do.

Reading order: ``plan`` (a policy's filters, shared between policies) → ``admission`` (who may send to whom) →
``examiner`` (asks the filters, within the time budget) → ``weighing`` (finding → judgement → disposition) → ``reply``
(one answer for all) → ``entry`` (what the spool keeps) → ``gate``. ``explain`` tells the same story in words, without
sending.
"""
