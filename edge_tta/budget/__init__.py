"""Budgets: fits an adaptation into memory and time (views, saved bytes, depth, update interval).

`choices` says in which order things are given up, and picks the first that fits. What they cost is
measured by `measuring` for models that PyTorch runs, by `export.budget` for bundles.
"""
