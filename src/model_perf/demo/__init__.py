"""``model-perf demo``: a real model degrades on real data, is found out, retrained and compared."""

from model_perf.demo._run import run

__all__ = ["run"]
