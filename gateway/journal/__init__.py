"""What happened: typed events, kept for the trace of every message (architecture.md, "beside the path")."""
