"""This machine's clock, against those of whoever tells the time."""

from collections.abc import Mapping

from django.utils.translation import gettext as _

from .finding import Finding, error, ok, warning

# A Date header counts whole seconds, and may be a second old.
LATE_S, WRONG_S = 5.0, 60.0


def judge(offsets_s: Mapping[str, float]) -> Finding:
    """offsets_s: by whom, how far their clock is ahead of ours."""
    if not offsets_s:
        return ok("clock", _("There is nobody to compare the clock with."))
    # One that is wrong alone is that one's; where all agree, it is ours.
    by_size = sorted(offsets_s.items(), key=lambda each: abs(each[1]))
    nearest, offset_s = by_size[0]
    farthest, most_s = by_size[-1]
    advice = _("Have the clock set over the network (chrony, systemd-timesyncd).")
    if abs(offset_s) >= LATE_S:
        told = _("This machine's clock differs by %(s).0f s from that of %(whom)s.") % {
            "s": abs(offset_s),
            "whom": nearest,
        }
        return (error if abs(offset_s) >= WRONG_S else warning)("clock", told, advice)
    if abs(most_s) >= LATE_S:
        return warning(
            "clock",
            _("The clock of %(whom)s differs by %(s).0f s.") % {"s": abs(most_s), "whom": farthest},
            _("Have the clock there set over the network."),
        )
    return ok(
        "clock", _("The clock agrees with that of %(whom)s.") % {"whom": ", ".join(offsets_s)}
    )
