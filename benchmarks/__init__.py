"""What things cost, measured side by side on lab hosts. Run it with ``scripts/benchmark``."""
