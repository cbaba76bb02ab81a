"""Rows G1 to G4, which need a graphics card: `python -m benchmarks.gpu`."""
