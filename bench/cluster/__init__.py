"""A cluster on one machine: nodes as processes behind a proxy, callers, and what is killed."""
