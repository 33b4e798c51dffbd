"""The HTTP API as a FastAPI router (extra ``fastapi``): ``from model_perf.web import create_router``."""

try:
    import fastapi  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError("model_perf.web needs FastAPI: pip install 'model-perf[fastapi]'") from error

from model_perf.web.router import create_router

__all__ = ["create_router"]
