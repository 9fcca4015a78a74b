"""``/mcp``: sessions, their code and their files as tools of the Model Context Protocol."""
