"""ARC (RFC 8617): what those who handled a mail before us said of it. ``validate_arc``, ``seal_arc``.

``sets`` collects the three fields of each instance, ``validate`` holds the chain (§5.2), ``seal`` adds our own set
(§5.1).
"""
