"""One module per subject: each measures and returns a section of the report."""
