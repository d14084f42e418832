"""Tools that the server carries out for a call: HTTP requests, and tools of MCP servers."""
