"""What is inside an archive: walked in a child process with limits, told as values.

An archive is the most hostile thing a gateway opens: it may claim anything about itself, unpack to a million times its
size, or be two archives at once, one for the scanner and one for the reader. So nothing here trusts a size that was not
counted, a name that was not escaped or a directory that the contents contradict; whatever cannot be looked into to its
end is said to be so, and that is never clean.
"""
