"""Contrast of the stylesheet's tokens, by WCAG 2.2's formula (1.4.3 text 4.5:1, 1.4.11 controls 3:1)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runbooks_app.web import pages

SHEET = (Path(pages.__file__).parent.parent / "static" / "app.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part))
    for part in SHEET.split("@media (prefers-color-scheme: dark)")[:2]
)
DARK = dict(list(DARK.items())[: len(LIGHT)])
SURFACES = ("ground", "paper", "sunk")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_text_of_every_tone_is_legible_on_every_surface(tokens):
    tones = ("good", "warn", "bad", "going")
    pairs = [(text, surface) for text in ("ink", "soft", "accent", "cyan", "magenta", *tones) for surface in SURFACES]
    pairs += [(text, f"{tone}-tint") for tone in tones for text in (tone, "ink")]
    pairs += [
        (text, diff) for text in ("ink", "soft", "accent", "good", "warn", "going") for diff in ("added", "removed")
    ]
    pairs += [("on-accent", "accent"), ("ink", "accent-tint"), ("ink", "line"), ("ground", "ink")]
    found = {pair: round(contrast(*(tokens[name] for name in pair)), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_controls_stand_out_from_what_is_around_them(tokens):
    for surface in SURFACES:
        assert contrast(tokens["edge"], tokens[surface]) >= 3
        assert contrast(tokens["accent"], tokens[surface]) >= 3
