"""The checkout's paths, for every test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests" / "audio"
"""Recorded speech; ``manifest.json`` has its texts. None of the engines made that in English."""

CONTRACT = ROOT / "tests" / "support" / "rest" / "contract" / "openapi.json"
CHROMIUM_OFFER = ROOT / "tests" / "support" / "gateway" / "data" / "chromium_offer.sdp"
STATIC = ROOT / "static"
DOCS_PAGE = ROOT / "static" / "docs"
