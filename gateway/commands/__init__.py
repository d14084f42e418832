"""The commands of the command line, one per file; see ``gateway.cli``."""
