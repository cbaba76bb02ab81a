"""Rows G1 to G4, which need a GPU: `python -m benchmarks.gpu`."""
