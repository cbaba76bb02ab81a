"""The peers of the benchmarks, each written as briefly as possible."""
