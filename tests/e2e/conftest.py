"""Browser and server fixtures for this folder's tests."""

from tests.e2e.browser import browser_page, chromium
from tests.e2e.firefox import firefox
from tests.e2e.live_server import live_server, started_server

__all__ = ["browser_page", "chromium", "firefox", "live_server", "started_server"]
