"""Complaints: mail to the abuse addresses, read, matched to what we know, ticketed and answered (contract.md §4).

``letter`` and ``reading`` say what a complaint is, in whatever form it came; ``matching`` what it is about; ``desk``
makes tickets of the folder that a copy of each such mail goes to; ``answering`` writes back, where ``automatic``
allows it.
"""
