"""Block and allow lists from files of any usual format, compiled and mapped by all workers."""
