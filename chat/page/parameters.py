"""The system prompt and the parameters of a request, as people set them."""

from math import isfinite
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from chat.models.parameters import Asked

from .forms import SendForm, Typed

MAX_STOPS, MAX_STOP_CHARS = 4, 100
# OpenAI's words, which most gateways take; a model that doesn't know one says so.
EFFORTS = [
    ("", _("By default")),
    ("none", pgettext_lazy("effort", "None")),
    ("minimal", pgettext_lazy("effort", "Minimal")),
    ("low", pgettext_lazy("effort", "Low")),
    ("medium", pgettext_lazy("effort", "Medium")),
    ("high", pgettext_lazy("effort", "High")),
    ("xhigh", pgettext_lazy("effort", "Highest")),
]
LENGTHS = [
    ("", _("By default")),
    ("low", _("Short")),
    ("medium", _("Middling")),
    ("high", _("Detailed")),
]


class Number(forms.Field):
    """A number within bounds, None where there is none; with a decimal comma as well."""

    def __init__(
        self, low: float, high: float, hint: str = "", *, is_whole: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(
            required=False,
            widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": hint}),
            **kwargs,
        )
        self.low, self.high, self.is_whole = low, high, is_whole

    def to_python(self, value: Any) -> float | None:
        text = "".join(str(value or "").split()).replace(",", ".").replace("\N{MINUS SIGN}", "-")
        if not text:
            return None
        try:
            number = int(text) if self.is_whole else float(text)
        except ValueError:
            raise self._error() from None
        if not isfinite(number) or not self.low <= number <= self.high:
            raise self._error()
        return number

    def _error(self) -> forms.ValidationError:
        sentence = (
            _("%(name)s: enter a whole number from %(low)s to %(high)s.")
            if self.is_whole
            else _("%(name)s: enter a number from %(low)s to %(high)s.")
        )
        bounds = {"name": self.label, "low": self.low, "high": self.high}
        return forms.ValidationError(sentence, code="number", params=bounds)


class Choice(forms.ChoiceField):
    """One of a few words, or none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)


class ParametersForm(forms.Form):
    """What a conversation asks for beside its messages; `asked` once it is valid."""

    system_prompt = Typed(
        label=_("System prompt"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}),
    )
    temperature = Number(0, 2, "0…2", label=_("Temperature"))
    top_p = Number(0, 1, "0…1", label=_("Top P"))
    max_tokens = Number(1, 10_000_000, is_whole=True, label=_("Longest reply, tokens"))
    reasoning_effort = Choice(label=_("Reasoning effort"), choices=EFFORTS)
    verbosity = Choice(label=_("Length of replies"), choices=LENGTHS)
    top_k = Number(1, 10_000, is_whole=True, label=_("Top K"))
    frequency_penalty = Number(-2, 2, "−2…2", label=_("Frequency penalty"))
    presence_penalty = Number(-2, 2, "−2…2", label=_("Presence penalty"))
    seed = Number(-(2**53), 2**53, is_whole=True, label=_("Seed"))
    stop = Typed(
        label=_("Stop at"), required=False, widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"})
    )

    @classmethod
    def of(cls, asked: Asked, owner: str = "") -> "ParametersForm":
        """With what is set; with an `owner` its fields belong to the HTML form of that id."""
        stops = "\n".join(asked.parameters.get("stop", []))
        initial = {**asked.parameters, "stop": stops, "system_prompt": asked.system_prompt}
        form = cls(initial=initial, auto_id="parameter-%s")
        if owner:
            for field in form.fields.values():
                field.widget.attrs["form"] = owner
        return form

    def clean_system_prompt(self) -> str:
        text: str = self.cleaned_data["system_prompt"].strip()
        if len(text) > settings.MAX_MESSAGE_CHARS:
            raise forms.ValidationError(
                ngettext(
                    "The system prompt is too long: at most %(n)d character fits.",
                    "The system prompt is too long: at most %(n)d characters fit.",
                    settings.MAX_MESSAGE_CHARS,
                )
                % {"n": settings.MAX_MESSAGE_CHARS},
                code="too_long",
            )
        return text

    def clean_stop(self) -> list[str]:
        """One a line."""
        stops = [line for line in self.cleaned_data["stop"].split("\n") if line.strip()]
        if len(stops) > MAX_STOPS or any(len(each) > MAX_STOP_CHARS for each in stops):
            raise forms.ValidationError(
                _("Stop at: at most %(n)d lines of %(chars)d characters."),
                code="stop",
                params={"n": MAX_STOPS, "chars": MAX_STOP_CHARS},
            )
        return stops

    @property
    def asked(self) -> Asked:
        set_ = {k: v for k, v in self.cleaned_data.items() if v not in (None, "", [])}
        return Asked(set_.pop("system_prompt", ""), set_)

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("temperature", "top_p", "max_tokens", "reasoning_effort")]

    @property
    def further_fields(self) -> list[forms.BoundField]:
        names = ("verbosity", "top_k", "frequency_penalty", "presence_penalty", "seed", "stop")
        return [self[name] for name in names]

    @property
    def has_further(self) -> bool:
        return any(field.value() or field.errors for field in self.further_fields)


class StartForm(SendForm):
    """The first question; with `asked` also what its conversation shall ask for beside it."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self.asked: Asked | None = None
        if "asked" in self.data:
            form = ParametersForm(self.data)
            if form.is_valid():
                self.asked = form.asked
            else:
                self.add_error(
                    None, [e for errors in form.errors.as_data().values() for e in errors]
                )
        return cleaned
