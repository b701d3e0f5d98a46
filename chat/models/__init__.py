"""Rows and their rules: synchronous and transactional. Nothing here knows a view, a socket or a loop."""

from .people import User

from .gateways import Gateway  # isort: skip  (foreign keys read top to bottom)
from .language_models import Favourite, LanguageModel  # isort: skip
from .allowances import Allowance
from .balances import Balance
from .budgets import Budget
from .calls import Call
from .charges import Charge
from .commands import Command
from .conversations import Conversation
from .day_tallies import DayTally, FirstToken
from .erasure import Backup, Erasure
from .feedback import Feedback, Scale, Score
from .generations import Generation
from .holds import Hold
from .identities import Identity, IdentityProvider
from .invitations import AccountPolicy, Invitation
from .logins import LoginAttempt
from .messages import Message
from .notices import Notice
from .passkeys import Passkey
from .pictures import Picture
from .prices import Listed, Price
from .rates import Rate
from .read_log import ReadLog
from .retention import Purge, Retention
from .revisions import Revision
from .second_factors import RecoveryCode, SecondFactor
from .sessions import Session
from .tallies import Tally

__all__ = [
    "AccountPolicy",
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
    "Identity",
    "IdentityProvider",
    "Invitation",
    "LanguageModel",
    "Listed",
    "LoginAttempt",
    "Message",
    "Notice",
    "Passkey",
    "Picture",
    "Price",
    "Purge",
    "Rate",
    "ReadLog",
    "RecoveryCode",
    "Retention",
    "Revision",
    "Scale",
    "Score",
    "SecondFactor",
    "Session",
    "Tally",
    "User",
]
