"""Speed beside a peer, both sides in one run: `python -m benchmarks`, or `make bench`."""
