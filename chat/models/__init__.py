"""Rows and their rules: synchronous and transactional. Nothing here knows a view, a socket or a loop."""

from .people import User

from .gateways import Gateway  # isort: skip  (foreign keys read top to bottom)
from .language_models import Favourite, LanguageModel  # isort: skip
from .commands import Command
from .conversations import Conversation, Message
from .feedback import Feedback, Score
from .generations import Call, Generation
from .logins import LoginAttempt
from .pictures import Picture
from .prices import Listed, Price
from .read_log import ReadLog
from .revisions import Revision
from .tallies import Tally

__all__ = [
    "Call",
    "Command",
    "Conversation",
    "Favourite",
    "Feedback",
    "Gateway",
    "Generation",
    "LanguageModel",
    "Listed",
    "LoginAttempt",
    "Message",
    "Picture",
    "Price",
    "ReadLog",
    "Revision",
    "Score",
    "Tally",
    "User",
]
