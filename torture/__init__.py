"""Long stress tests of storage and of persona files; their figures are in docs/measurements/."""
