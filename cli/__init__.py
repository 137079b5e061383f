"""The person at the terminal: ``clm``, which keeps state and secrets and drives the deploys."""
