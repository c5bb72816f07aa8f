"""A judged month as people and programs read it: one content, rendered as text, CSV, JSON, HTML and PDF (contract.md).

``document`` makes plain lines and lists of an ``Evaluation`` in one language; the renderers only set them. Nothing is
computed here that the evaluation does not say.
"""
