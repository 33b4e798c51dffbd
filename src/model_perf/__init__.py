"""Performance, trend, drift, retraining runs, A/B tests and alerts of deployed models, kept in your PostgreSQL."""

__version__ = "0.1.0"
