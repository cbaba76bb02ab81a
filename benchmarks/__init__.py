"""Benchmarks of hermes against peers, both sides in one run: `python -m benchmarks`, or `make bench`."""
