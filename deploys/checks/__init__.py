"""What must be true of an agent on its host, as tests that pytest runs with testinfra: ``--pyargs`` finds them here."""
