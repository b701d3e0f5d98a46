"""What a person may still ask for: asked before a question is recorded, shown before it is used up."""

from chat.models import Allowance, Budget, Charge, Conversation, Notice, User
from chat.models.budgets import OverBudget, Weight
from chat.models.generations import TooManyRequests
from chat.models.language_models import Destination, first_listed
from chat.models.parameters import Asked
from chat.rendering import limits
from chat.rendering.limits import Level
from chat.replies import weights
from chat.replies.forecast import forecast

LIMITS = (OverBudget, TooManyRequests)
Over = OverBudget | TooManyRequests


def check(
    user: User,
    place: Destination,
    text: str = "",
    conversation: Conversation | None = None,
    asked: Asked | None = None,
) -> None:
    """Raises OverBudget where this question, the next of the conversation, can't be paid.

    The claim asks again, and holds: what runs until then may have used it up.
    """

    def weigh() -> Weight:
        wanted = asked or (conversation.asked if conversation else user.asked)
        tokens = forecast(user, place, text, conversation, wanted).prompt_tokens
        model = place.model or first_listed(place.gateway, user)
        return weights.of_forecast(place.gateway, model, tokens, wanted.parameters)

    if error := Charge.refusal(user, weigh):
        raise error


def told(error: Over) -> tuple[int, str, str, int | None]:
    """Status, sentence and advice; and after how many seconds it is worth trying again."""
    if isinstance(error, TooManyRequests):
        sentence, advice = limits.too_fast(error.wait_s)
        return 429, sentence, advice, error.wait_s
    Notice.refused(error)
    sentence, advice = limits.told(error.refusal)
    if error.refusal.reason == "price":
        return 422, sentence, advice, None
    return 429, sentence, advice, error.refusal.wait_s


def levels(user: User) -> list[Level]:
    """Of all that bounds this person, the fullest first."""
    budgets = list(Budget.objects.applying_to(user).select_related("group"))
    return limits.levels(Allowance.of(budgets, user)) if budgets else []


def near(user: User) -> list[Level]:
    """Those that are nearly used up."""
    return [level for level in levels(user) if level.is_near]
