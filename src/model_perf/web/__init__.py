"""The HTTP API as a FastAPI router, and the dashboard that calls it (extra ``fastapi``)."""

try:
    import fastapi  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError("model_perf.web needs FastAPI: pip install 'model-perf[fastapi]'") from error

from model_perf.web.dashboard import create_dashboard
from model_perf.web.router import create_router

__all__ = ["create_dashboard", "create_router"]
