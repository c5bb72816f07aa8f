"""SPF (RFC 7208): may this client use this domain as HELO or MAIL FROM? ``check_mail_from``, ``check_helo``.

``macro`` and ``record`` parse, once per distinct record text; ``evaluate`` is check_host() (§4); ``received`` writes
``Received-SPF`` (§9.1).
"""
