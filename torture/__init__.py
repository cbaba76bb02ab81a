"""Long runs that try to break what must not break; their figures are in docs/measurements.md."""
