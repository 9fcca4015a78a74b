"""The settings as ``docs/settings.md`` has them, by group.

``python -m tests.documentation.settings`` writes them anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.config import Settings

PAGE: Final = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->"
#: Where a group begins: the settings stand in the order of ``app/config.py``.
GROUPS: Final = {
    "upstream_base_url": "The model's server",
    "sandbox": "Sandboxes",
    "timeout_s": "Limits of code",
    "preload": "The embedded sandbox",
    "docker_image": "Docker",
    "jupyter_url": "Jupyter",
    "egress_allow": "A way out for code",
    "api_keys": "Who may call",
    "gate_policy": "How code is run",
    "render": "What clients are shown, and models told",
    "request_limit": "Limits of requests",
    "secret_key": "What is kept",
    "slow_step_ms": "Logs",
}


def settings_by_group() -> str:
    """One table for each group."""
    rows: list[str] = []
    for name, setting in Settings.model_fields.items():
        if name in GROUPS:
            rows.append(f"\n## {GROUPS[name]}\n\n| variable | default | meaning |\n|---|---|---|\n")
        default = setting.default
        if isinstance(default, tuple):
            default = ",".join(default)
        text = "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `EAGER_{name.upper()}` | {text} | {setting.description} |\n")
    return "".join(rows) + "\n"


def documented() -> str:
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + settings_by_group() + END + rest.partition(END)[2], "utf-8")
