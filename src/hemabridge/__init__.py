"""Re-stain blood-cell images of any hospital into the look of yours, and measure what that does."""

__version__ = "0.1.0"
