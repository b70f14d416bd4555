"""Files that arrive: mirrors, resume, checks, safe archives. Knows cards and dataset formats, never models or the command line."""
