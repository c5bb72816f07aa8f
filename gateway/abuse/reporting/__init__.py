"""Reports about spam sources: to the Internet association, to their operators and networks (contract.md §4 a, i).

``case`` gathers what is known of an incident; ``arf``, ``xarf`` and ``csv`` write it down; ``contacts`` say whom to
tell; ``association``, ``operators`` and ``listings`` decide what is due; ``returns`` puts on record what came back.
Nothing leaves while ``[reporting] enabled`` is false.
"""
