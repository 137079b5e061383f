"""``python -m pyinfra_hermes.cli``."""

from .main import main

main()
