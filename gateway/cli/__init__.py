"""The ``tidegate`` command: ``tidegate noun verb``, ``--json`` on every reading command.

Exit status: 0 ok, 1 a negative result, 2 usage, 65 bad data, 69 the gateway is not there, 75 try again, 78 the
configuration does not load (sysexits.h). Commands import what they need when they run, so that ``--help`` is quick.
"""
