"""Browser and server fixtures for this folder's tests."""

from tests.e2e.browser import browser_page, chromium
from tests.e2e.live_server import live_server

__all__ = ["browser_page", "chromium", "live_server"]
