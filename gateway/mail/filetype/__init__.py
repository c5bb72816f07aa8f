"""What a file is, by its content and by its name: facts, never verdicts.

``inspect`` looks at decoded octets (an attachment's, an archive member's) and at the name the sender gave it.
"""

from gateway.mail.filetype.facts import FileFacts
from gateway.mail.filetype.inspecting import inspect

__all__ = ["FileFacts", "inspect"]
