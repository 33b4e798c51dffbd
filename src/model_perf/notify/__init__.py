"""Channels that tell people of alerts (extra ``notify``), and what a receiver of webhooks needs.

Give them to the tracker: ``ModelPerformanceTracker(pool, channels=[WebhookChannel("https://...", secret="...")])``, and
have `ModelPerformanceTracker.deliver_notifications` called again and again.
"""

from model_perf.notify._apprise import AppriseChannel
from model_perf.notify._callable import CallableChannel
from model_perf.notify._channel import Channel, DeliveryError
from model_perf.notify._message import MESSAGE_SCHEMA, Message
from model_perf.notify._signature import verify_signature
from model_perf.notify._webhook import WebhookChannel

__all__ = [
    "MESSAGE_SCHEMA",
    "AppriseChannel",
    "CallableChannel",
    "Channel",
    "DeliveryError",
    "Message",
    "WebhookChannel",
    "verify_signature",
]
