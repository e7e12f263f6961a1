"""Benchmarks, runs, scores and reports."""
