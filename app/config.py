"""Settings, read once from the environment (``EAGER_*``). Only ``main`` and ``cli`` import this module: everything else
takes plain named values. docs/settings.md holds them all, by group; a test compares them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.api.edge.auth import Keyring, split_keys
from app.sandbox.egress.rules import Rules

MiB = 1024 * 1024
#: 16 TiB. Above it, numbers of bytes are none to bubblewrap and the kernel.
MAX_MB = 16 * MiB
#: What Linux can count to.
MAX_PROCESSES = 4 * MiB

#: Variables of our tests and measurements begin so.
_OTHERS = ("TEST_", "BENCH_", "FULL")

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+")


class Settings(BaseSettings):
    """One attribute per environment variable. Lists are comma-separated."""

    model_config = SettingsConfigDict(env_prefix="EAGER_", frozen=True, extra="ignore", hide_input_in_errors=True)

    # upstream
    upstream_base_url: str | None = Field(None, description="Base URL of any OpenAI-compatible server, with its `/v1`.")
    upstream_api_key: SecretStr | None = Field(None, description="Key sent to the upstream.")
    pass_authorization: bool = Field(
        False, description="Send the client's own `Authorization` header to the upstream instead of our key."
    )
    upstream_first_byte_timeout_s: float = Field(
        120, gt=0, description="Longest wait for the upstream's answer to begin."
    )
    upstream_idle_timeout_s: float = Field(60, gt=0, description="Longest silence in the middle of an answer.")
    upstream_silence_timeout_s: float = Field(
        600, gt=0, description="Longest time in which an answer brings no new text, whatever else it sends."
    )
    upstream_answer_timeout_s: float = Field(
        3600, gt=0, description="Longest wait for all of one answer, without the time that clients and code take."
    )
    upstream_answer_mb: int = Field(128, ge=1, description="Largest answer, decompressed; 32 where it is not streamed.")
    upstream_answer_events: int = Field(1_000_000, ge=1, description="Most events of one answer.")

    # sandboxes
    sandbox: Literal["local", "docker", "jupyter"] = Field(
        "local", description="Where code runs: bubblewrap, Docker, or Jupyter kernels (not isolated by us)."
    )
    pool_size: int = Field(2, ge=1, description="Sandboxes kept warm ahead of need.")
    local_start: Literal["zygote", "exec"] = Field(
        "zygote",
        description="`local`: each sandbox is a fork of one process that has imported the libraries (some 35 ms), or "
        "imports them for itself (`exec`: some 1.4 s).",
    )
    zygote_per_key: bool = Field(
        True, description="`local`: sandboxes of one key are forks of a process that forks for no other key."
    )
    sandbox_limit: int | None = Field(
        None,
        ge=1,
        description="Most sandboxes alive at once; default 16, `local` what half of the memory holds, 4 to 256: 64 MB "
        "each, 192 MB with `exec`.",
    )
    start_silence_s: float = Field(
        60,
        gt=0,
        allow_inf_nan=False,
        description="Longest time in which a sandbox that starts tells no further step; then it is given up.",
    )
    checkout_timeout_s: float = Field(30, gt=0, description="Longest wait for a free sandbox; then 429.")
    session_limit: int | None = Field(
        None,
        ge=1,
        description="Most sessions of a key kept between requests; default half of `EAGER_SANDBOX_LIMIT`, at least 8.",
    )
    session_idle_s: float = Field(
        1200, gt=0, allow_inf_nan=False, description="A kept session expires after this long without use."
    )
    timeout_s: float = Field(120, gt=0, description="Wall time of all code of one request.")
    memory_mb: int = Field(1024, ge=64, le=MAX_MB, description="Memory of one sandbox.")
    cpus: float = Field(1.0, ge=0.01, allow_inf_nan=False, description="CPUs of one sandbox.")
    processes: int = Field(128, ge=8, le=MAX_PROCESSES, description="Processes and threads of one sandbox.")
    work_mb: int = Field(256, ge=1, le=MAX_MB, description="Size of the work folder `/mnt/data`, and again of `/tmp`.")
    output_limit_mb: int = Field(16, ge=1, description="Output of one execution; more interrupts it.")
    preload: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            *("numpy", "pandas", "matplotlib.pyplot", "scipy.stats", "sklearn.linear_model", "sklearn.ensemble"),
            *("sklearn.cluster", "IPython.core.interactiveshell"),
        ),
        description="Modules imported in a sandbox before it is handed out; those not installed are skipped.",
    )
    sandbox_env: Path = Field(
        Path(".eager/sandbox-env"), description="`local`: Python environment that user code sees."
    )
    unisolated: bool = Field(
        False,
        description="`local`: run code without isolation where bubblewrap cannot work. Never for strangers' code.",
    )
    docker_image: str = Field("eager-sandbox:latest", description="`docker`: image of the sandboxes.")
    docker_host: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="`docker`: engine addresses; sandboxes go where most is free. Default as the Docker client's."
    )
    docker_engine_limit: int | None = Field(
        None,
        ge=1,
        description="`docker`: most sandboxes of one engine; default no limit with one, what its memory holds with "
        "several.",
    )
    docker_runtime: str | None = Field(
        None, description="`docker`: OCI runtime, such as `runsc`; default the engine's."
    )
    docker_transport: Literal["auto", "unix", "attach"] = Field(
        "auto", description="`docker`: how sandboxes are spoken to: a Unix socket on a shared file system, or attach."
    )
    jupyter_url: str | None = Field(
        None, description="`jupyter`: a Jupyter Server or Enterprise Gateway; empty = kernels of this machine."
    )
    jupyter_token: SecretStr | None = Field(None, description="`jupyter`: token of that server.")
    jupyter_kernel: str = Field("python3", description="`jupyter`: name of the kernelspec.")

    egress_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="What code may reach, through a proxy: `host`, `*.host`, `*`, address or network, `:port`; empty = "
        "no network.",
    )
    egress_limit_mb: int = Field(1024, ge=1, description="Bytes of one sandbox through that proxy, both ways.")
    pip_index: str | None = Field(
        None,
        description="URL of the package index that `pip install` in a sandbox uses, through that proxy. Its host is "
        "allowed; others that its files lie on go into `EAGER_EGRESS_ALLOW`.",
    )

    # the gateway
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Keys clients must present: plain, `sha256:<hex>`, or a JSON list with limits per key; "
        "empty = open, on loopback only.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="More keys: a file with one on each line, or a JSON list. It is read again when it changes, and on "
        "SIGHUP.",
    )
    wrong_keys_per_minute: int = Field(
        20, ge=1, description="Most wrong keys from one address; then 429 for keys not used from there before."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose web pages may call, such as `https://app.example`, or `*`; empty = none."
    )
    gate_policy: Literal["paper", "permissive", "off"] = Field(
        "permissive", description="Which chunks wait: see ARCHITECTURE.md, Gate."
    )
    code_tools: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Names of tools whose calls are run here; empty = the usual names."
    )
    turn_limit: int = Field(16, ge=1, description="Most upstream calls of one request.")
    max_repairs: int = Field(3, ge=0, description="Failed pieces of code in a row that the model may repair.")
    sources: Annotated[tuple[Literal["tool", "fence", "tag"], ...], NoDecode] = Field(
        ("tool",), description="Where the OpenAI endpoints look for code, unless a request says: `tool,fence,tag`."
    )
    events: bool = Field(False, description="Send execution events on the OpenAI endpoints to who did not ask, too.")
    render: Literal["none", "markdown", "interleaved"] = Field(
        "none",
        description="Chat completions show code and what it did in their text: `markdown` below the code, "
        "`interleaved` behind each statement.",
    )
    code_tool: Literal["declared", "always"] = Field(
        "declared",
        description="The model is offered the interpreter if the client declares it, or `always`.",
    )
    pass_on: Annotated[tuple[Literal["audio", "completions", "embeddings", "images", "moderations"], ...], NoDecode] = (
        Field(
            ("audio", "completions", "embeddings", "images", "moderations"),
            description="Further endpoints of OpenAI's that are passed on to the upstream; empty = none.",
        )
    )
    hosted_tools: Literal["omit", "refuse"] = Field(
        "omit",
        description="Tools of `/v1/responses` that are services which are not here (`web_search`, `mcp`): left out, "
        "with a warning in the answer, or refused.",
    )
    hint: Literal["auto", "off"] = Field(
        "auto", description="Tell the model in the interpreter's description how to write code that runs early."
    )
    model_suffix: str = Field(
        ":eager",
        max_length=32,
        description="A model's name with this behind it is an alias that renders, and has the interpreter; "
        "empty = no aliases.",
    )
    public_url: str | None = Field(
        None, description="Where clients reach the gateway, for links in answers; default as each request was sent."
    )
    shared_s: float = Field(
        7 * 24 * 3600, ge=60, description="How long links to figures and files in rendered answers last."
    )
    request_limit: int = Field(256, ge=1, description="Requests served at once; as many again wait in line.")
    queue_timeout_s: float = Field(10, gt=0, description="Longest wait in line; then 429.")
    max_body_mb: int = Field(32, ge=1, description="Largest request body.")
    max_upload_mb: int = Field(512, ge=1, description="Largest uploaded file.")
    body_timeout_s: float = Field(30, gt=0, description="Longest wait for a request body, plus 1 s per 32 KiB.")
    secret_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Signs what clients bring back (reasoning of `/v1/responses`); several gateways share one. Unset: "
        "made once, and kept in the data folder.",
    )
    data_dir: Path = Field(Path(".eager/data"), description="Folder of what outlives the process.")
    database_url: str | None = Field(None, description="Any async SQLAlchemy URL; default SQLite in `EAGER_DATA_DIR`.")
    files_url: str | None = Field(
        None, description="Where file contents are kept: any fsspec URL; default `EAGER_DATA_DIR`."
    )
    stored_mb: int = Field(
        65536, ge=1, description="Most bytes kept for all keys together: uploads, links, items of stored responses."
    )
    audit_days: int = Field(
        30,
        ge=0,
        description="How long a record of each execution is kept, in `audit` of `EAGER_DATA_DIR`; 0 = none is made.",
    )
    slow_step_ms: float = Field(
        100, ge=20, description="A step that holds the event loop for longer is logged, with its stack."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log level.")

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir}/eager.db"

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return not self.api_keys and self.api_keys_file is None

    @property
    def database_setting(self) -> str:
        """The variable that says where the database is."""
        return "EAGER_DATABASE_URL" if self.database_url else "EAGER_DATA_DIR"

    @field_validator(
        "preload", "code_tools", "sources", "pass_on", "docker_host", "egress_allow", "cors_origins", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value

    @field_validator("egress_allow")
    @classmethod
    def _understand(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Rules.parse(value)
        return value

    @field_validator("pip_index")
    @classmethod
    def _is_index(cls, value: str | None) -> str | None:
        if not value:
            return None
        place = urlsplit(value)
        if place.scheme not in ("http", "https") or not place.hostname or "*" in place.netloc or place.query:
            raise ValueError("it is no http or https URL of an index")
        if place.username is not None:
            raise ValueError("a user or password in it could be read by all code")
        Rules.parse([_rule_for(value)])
        return value

    @property
    def egress_rules(self) -> tuple[str, ...]:
        """What code may reach, the package index included."""
        return self.egress_allow if self.pip_index is None else (*self.egress_allow, _rule_for(self.pip_index))

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return split_keys(value) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _parse_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Keyring(value)
        return value

    @field_validator("upstream_api_key", "jupyter_token", mode="before")
    @classmethod
    def _strip_secret(cls, value: object) -> object:
        """Secrets that come from files end with a newline, which no header can hold."""
        if not isinstance(value, str):
            return value
        value = value.strip()
        if not value.isprintable():
            raise ValueError("it has control characters in it")
        return value

    @field_validator("docker_host")
    @classmethod
    def _name_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("an engine is named twice")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """As browsers send them, since nothing else is ever equal to them."""
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, such as 'https://app.example' (without a path)")
        return value

    @field_validator(
        "upstream_base_url",
        "docker_engine_limit",
        "docker_runtime",
        "jupyter_url",
        "database_url",
        "files_url",
        "api_keys_file",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("upstream_base_url", "jupyter_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        """Paths are put behind it."""
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                raise ValueError("a URL is needed that begins with http:// or https:// and a host")
            if parts.query or parts.fragment:
                raise ValueError("a base URL has no '?' or '#' in it")
        return value


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Variables that look like settings and are none, each with the setting that was meant, if one is near."""
    prefix = "EAGER_"
    known = [name.upper() for name in Settings.model_fields]
    unknown = []
    for variable in sorted(names):
        name = variable.upper().removeprefix(prefix)
        if not variable.upper().startswith(prefix) or name in known or name.startswith(_OTHERS):
            continue
        near = get_close_matches(name, known, n=1, cutoff=0.75)
        unknown.append(f"{variable} (did you mean {prefix}{near[0]}?)" if near else variable)
    return unknown


def _rule_for(url: str) -> str:
    """What lets code reach the server of a URL, and no other port of it."""
    place = urlsplit(url)
    host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname
    return f"{host}:{place.port or (443 if place.scheme == 'https' else 80)}"
