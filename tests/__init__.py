"""Tests, and the lab of throwaway hosts they run on; none of this is installed."""
