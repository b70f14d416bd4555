"""Tables from run folders. Reads summaries and records; never models, never evaluation."""
