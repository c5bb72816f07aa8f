"""What administrators see and do.

Log lines, metrics, health, the control socket, the queue, the trace, the status.
"""
