"""The guard: it compares morphology and empty glass before and after re-staining, and gives a verdict and a fallback.

`morphology` measures the changes, `thresholds` learns the limits from the target's own cells, `verdict` compares the
measures with the limits, and `guarded.GuardedStandardizer` replaces refused cells by those of a fallback.
"""
