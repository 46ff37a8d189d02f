"""The benchmark suite: problems, one adapter for each simulator, comparison, tables, figures."""
