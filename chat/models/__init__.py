"""Rows and their rules: synchronous and transactional. Nothing here knows a view, a socket or a loop."""

from .people import User

from .gateways import Gateway  # isort: skip  (foreign keys read top to bottom)
from .language_models import Favourite, LanguageModel  # isort: skip
from .balances import Balance
from .budgets import Allowance, Budget
from .charges import Charge
from .commands import Command
from .conversations import Conversation, Message
from .day_tallies import DayTally, FirstToken
from .erasure import Backup, Erasure
from .feedback import Feedback, Score
from .generations import Call, Generation
from .holds import Hold
from .logins import LoginAttempt
from .notices import Notice
from .pictures import Picture
from .prices import Listed, Price
from .rates import Rate
from .read_log import ReadLog
from .retention import Purge, Retention
from .revisions import Revision
from .tallies import Tally

__all__ = [
    "Allowance",
    "Backup",
    "Balance",
    "Budget",
    "Call",
    "Charge",
    "Command",
    "Conversation",
    "DayTally",
    "Erasure",
    "Favourite",
    "Feedback",
    "FirstToken",
    "Gateway",
    "Generation",
    "Hold",
    "LanguageModel",
    "Listed",
    "LoginAttempt",
    "Message",
    "Notice",
    "Picture",
    "Price",
    "Purge",
    "Rate",
    "ReadLog",
    "Retention",
    "Revision",
    "Score",
    "Tally",
    "User",
]
