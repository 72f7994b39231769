"""The gradient flow as a matplotlib figure: magnitudes along depth, gains, dead and saturated shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gradclinic import flow
from gradclinic.errors import ExtraMissing
from gradclinic.flow import Mark
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gradclinic.records import Diagnosis, Site, Statistics

_WIDTH_INCHES: Final = 11.0
_HEIGHTS_INCHES: Final = {"magnitude": 3.4, "gain": 1.7, "share": 1.4}
_COLOURS: Final = {"gradient": "#1d5fd0", "activation": "#7a8597", "dead": "#9a4fb5", "flat": "#0f8b8d"}
_SEVERITY_COLOURS: Final = {"CRITICAL": "#b3261e", "WARNING": "#b87a00", "INFO": "#1d5fd0"}
_GLYPHS: Final = {Mark.ZERO: "o", Mark.MISSING: "x", Mark.NON_FINITE: "^"}
_ROWS: Final = {Mark.NON_FINITE: ("NaN/Inf", 0.96), Mark.ZERO: ("zero", 0.09), Mark.MISSING: ("none", 0.03)}
_NAMES_SHOWN: Final = 24
_DOTS_SHOWN: Final = 150
_LOWEST_EXPONENT: Final = -300.0  # below it, a limit would be zero
_NAME_CHARACTERS: Final = 28


def plot(diagnosis: Diagnosis) -> Figure:
    """The figure; it belongs to no window and to no global state: show it in a notebook, or save it.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise  # it is there, but broken
        raise ExtraMissing("plot", "Diagnosis.plot()") from error
    shown = _shown(diagnosis)
    sites = [diagnosis.sites[position] for position in shown]
    if not sites:
        figure = Figure(figsize=(_WIDTH_INCHES, 1.5))
        figure.text(0.5, 0.5, f"This diagnosis has no gradient flow ({diagnosis.state}).", ha="center", va="center")
        return figure
    panels: dict[str, Callable[[Axes, Sequence[Site]], None]] = {"magnitude": _draw_magnitudes}
    if any(site.gradient_gain is not None for site in sites):
        panels["gain"] = _draw_gains
    if any(site.dead_unit_share or site.flat_share for site in sites):
        panels["share"] = _draw_shares
    heights = [_HEIGHTS_INCHES[name] for name in panels]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + 1.2), layout="constrained")
    stacked = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, draw in zip(stacked, panels.values(), strict=True):
        draw(axes, sites)
        axes.grid(axis="y", alpha=0.25)
    _draw_findings(stacked, diagnosis, shown)
    _name_modules(stacked[-1], sites)
    figure.suptitle(_title(diagnosis))
    return figure


def _shown(diagnosis: Diagnosis) -> list[int]:
    told = {position for spot in flow.spots(diagnosis) for position in spot.at}
    return [p for p, site in enumerate(diagnosis.sites) if p in told or flow.is_measured(site)]


def _title(diagnosis: Diagnosis) -> str:
    codes = ", ".join(dict.fromkeys(finding.code for finding in diagnosis.findings))
    return _plain(f"{diagnosis.verdict or diagnosis.state}: {codes or 'nothing found'}")


def _draw_magnitudes(axes: Axes, sites: Sequence[Site]) -> None:
    marks_seen: set[Mark] = set()
    drawn: list[float] = []
    for name, mark_of in (("activation", flow.activation_mark), ("gradient", flow.gradient_mark)):
        statistics: list[Statistics | None] = [getattr(site, name) for site in sites]
        marks = [mark_of(site) for site in sites]
        style = "-" if name == "gradient" else "--"
        places, values = _line(statistics, marks)
        dot = "." if len(sites) <= _DOTS_SHOWN else None
        axes.plot(places, values, style, marker=dot, markersize=4, color=_COLOURS[name], label=f"{name} RMS")
        drawn += [value for value in values if value > 0]
        for mark, (_, height) in _ROWS.items():
            found = [place for place, each in enumerate(marks) if each is mark]
            if found:
                _draw_marks(axes, found, height, mark, _COLOURS[name])
                marks_seen.add(mark)
    axes.set_yscale("log")
    axes.set_ylim(*_whole_decades(drawn))
    axes.set_ylabel("RMS")
    for mark in marks_seen:
        word, height = _ROWS[mark]
        axes.text(1.005, height, word, transform=axes.transAxes, va="center", fontsize=8)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)


def _whole_decades(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis around the values, with room for the rows of marks below and above."""
    low = math.floor(math.log10(min(values, default=0.1)))
    high = max(low + 1, math.ceil(math.log10(max(values, default=1.0))))
    room = 0.16 * (high - low)
    return 10 ** max(_LOWEST_EXPONENT, low - room), 10 ** (high + room)


def _draw_marks(axes: Axes, places: Sequence[int], height: float, mark: Mark, colour: str) -> None:
    """Marks in a row of their own, for what has no place on a logarithmic scale."""
    alarm = mark is not Mark.ZERO
    axes.plot(
        places,
        [height] * len(places),
        _GLYPHS[mark],
        transform=axes.get_xaxis_transform(),
        color=_SEVERITY_COLOURS["CRITICAL"] if alarm else colour,
        markerfacecolor="none",
        markersize=5,
        clip_on=False,
    )


def _line(statistics: Sequence[Statistics | None], marks: Sequence[Mark]) -> tuple[list[int], list[float]]:
    """Points of a line, which goes on past what has nothing to expect and breaks where there is no number above 0."""
    found = [
        (place, each.rms if each is not None and flow.has_point(each) else math.nan)
        for place, (each, mark) in enumerate(zip(statistics, marks, strict=True))
        if mark is not Mark.ABSENT
    ]
    return [place for place, _ in found], [value for _, value in found]


def _draw_gains(axes: Axes, sites: Sequence[Site]) -> None:
    gains = [(place, site.gradient_gain) for place, site in enumerate(sites) if site.gradient_gain is not None]
    finite = [(place, gain) for place, gain in gains if math.isfinite(gain) and gain > 0]
    axes.set_yscale("log")
    axes.axhline(1, color=_COLOURS["activation"], linewidth=0.8)
    if finite:
        places, values = [place for place, _ in finite], [gain for _, gain in finite]
        axes.vlines(places, 1, values, colors=_COLOURS["gradient"], linewidth=1)
        axes.plot(places, values, ".", markersize=4, color=_COLOURS["gradient"])
    for mark, wanted in ((Mark.ZERO, _is_zero), (Mark.NON_FINITE, _is_broken)):
        found = [place for place, gain in gains if wanted(gain)]
        if found:
            _draw_marks(axes, found, 0.05 if mark is Mark.ZERO else 0.95, mark, _COLOURS["gradient"])
    reach = max((abs(math.log10(gain)) for _, gain in finite), default=0.0)
    decades = max(1.0, 1.2 * reach)
    axes.set_ylim(10**-decades, 10**decades)
    axes.set_ylabel("gain")


def _is_zero(gain: float) -> bool:
    return gain == 0


def _is_broken(gain: float) -> bool:
    return not math.isfinite(gain)


def _draw_shares(axes: Axes, sites: Sequence[Site]) -> None:
    both = any(site.dead_unit_share for site in sites) and any(site.flat_share for site in sites)
    width = 0.4 if both else 0.6
    for name, words, side in (("dead_unit_share", "units off", -0.5), ("flat_share", "flat region", 0.5)):
        shares = [(place, share) for place, site in enumerate(sites) if (share := getattr(site, name))]
        if shares:
            places = [place + side * width * both for place, _ in shares]
            colour = _COLOURS["dead" if name == "dead_unit_share" else "flat"]
            axes.bar(places, [100 * share for _, share in shares], width, color=colour, label=words)
    axes.set_ylim(0, 100)
    axes.set_ylabel("share, %")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)


def _draw_findings(stacked: Iterable[Axes], diagnosis: Diagnosis, shown: Sequence[int]) -> None:
    slots = {position: slot for slot, position in enumerate(shown)}
    for number, (finding, spot) in enumerate(zip(diagnosis.findings, flow.spots(diagnosis), strict=True), start=1):
        colour = _SEVERITY_COLOURS.get(finding.severity, _SEVERITY_COLOURS["INFO"])
        at = [slots[position] for position in spot.at if position in slots]
        edges = {"start": -0.5, "end": len(shown) - 0.5}
        place = at[0] if at else edges.get(spot.edge or "")
        if place is None:
            continue
        for row, axes in enumerate(stacked):
            axes.axvline(place, color=colour, linestyle=":", linewidth=1.4)
            if row == 0:
                axes.annotate(
                    _plain(f"{number} {finding.code}"),
                    (place, 1),
                    xycoords=axes.get_xaxis_transform(),
                    xytext=(3, -18 - 11 * (number - 1)),
                    textcoords="offset points",
                    va="top",
                    fontsize=8,
                    color=colour,
                )


def _name_modules(axes: Axes, sites: Sequence[Site]) -> None:
    """Names below the axis, at most `_NAMES_SHOWN` of them."""
    step = math.ceil(len(sites) / _NAMES_SHOWN)
    places = list(range(0, len(sites), step))
    names = [sites[place].location.module or "(root)" for place in places]
    axes.set_xticks(places, [_plain(name[-_NAME_CHARACTERS:]) for name in names], rotation=45, ha="right", fontsize=8)
    axes.set_xlim(-0.8, len(sites) - 0.2)


def _plain(text: str) -> str:
    """Text as it is; between two dollar signs matplotlib would read mathematics."""
    return safe(text).replace("$", r"\$")
