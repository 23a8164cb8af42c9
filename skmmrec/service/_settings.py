"""Settings of the service, from Python or from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

PREFIX = "SKMMREC_SERVICE_"
# The folder that is served, for a server that is started by its own command.
REPO = f"{PREFIX}REPO"


class ServiceSettings(BaseModel):
    """Who may ask the service, for how much, and how long it may take.

    Parameters
    ----------
    tokens_file : path, optional
        Who may ask: a file with a line ``name:role:token`` for each. The role is "read"
        or "write"; who may write may read. Names are for logs and limits. Lines that
        begin with ``#`` do not count. It is read when the service starts.
    tokens : str, optional
        The same, in place of a file, separated by commas.
    anonymous : bool, default=False
        Let `serve` answer everybody beyond this machine, without tokens.
    unknown : {"error", "popular", "skip"}, default="error"
        What users without a vector get, as in `OnlineRecommender`. An error is answered
        by status 404.
    search : {"auto", "exact"}, default="auto"
        Whether many items are searched by an approximate index, as in
        `OnlineRecommender`.
    model : path, optional
        Folder of the saved model that is published: `/explain` then also gives a
        sentence and the share of each modality, and users whom the store cannot make of
        their histories, as those of a `SequenceTower`, are made by it. It is read again
        when another model is served and was saved there.
    max_request_bytes : int, default=1048576
        Largest body of a request, in bytes; 1 MiB is 50,000 ids.
    max_upload_bytes : int, default=16777216
        Largest body with files, in bytes: 16 MiB hold a photo or a minute of sound.
    max_k : int, default=1000
        Longest list.
    max_ids : int, default=1000
        Most users, items or pairs that one request may ask about.
    max_rows : int, default=100000
        Most rows of an answer: lists times their length, or events; 100,000 are 8 MB.
    rate : float, optional
        Requests per second that each token, or each address without one, may make in
        the long run, of each worker. None: as many as there are.
    burst : int, default=50
        Requests that it may make at once.
    deadline : float, default=10.0
        Seconds after which a request is answered by status 504.
    n_threads : int, default=4
        Requests that a worker answers at the same time; each thread has a connection to
        the store.
    n_encoder_threads : int, default=1
        Files and words that it encodes at the same time.
    max_waiting : int, default=64
        Requests that wait for a thread; further ones are answered by status 503.
    refresh : float, default=1.0
        Seconds between looks for a new publication.

    Raises
    ------
    ValueError
        For a setting that there is none of, or that has another type or range.

    Notes
    -----
    ``ServiceSettings.from_environment()`` reads the same from variables: ``max_k`` from
    ``SKMMREC_SERVICE_MAX_K``.

    Examples
    --------
    >>> from skmmrec.service import ServiceSettings
    >>> settings = ServiceSettings(rate=20, deadline=2)
    >>> settings.rate
    20.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens_file: Path | None = None
    tokens: SecretStr | None = None
    anonymous: bool = False
    unknown: Literal["error", "popular", "skip"] = "error"
    search: Literal["auto", "exact"] = "auto"
    model: Path | None = None
    max_request_bytes: int = Field(default=2**20, ge=1)
    max_upload_bytes: int = Field(default=2**24, ge=1)
    max_k: int = Field(default=1000, ge=1)
    max_ids: int = Field(default=1000, ge=1)
    max_rows: int = Field(default=100_000, ge=1)
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: int = Field(default=50, ge=1)
    deadline: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    n_threads: int = Field(default=4, ge=1)
    n_encoder_threads: int = Field(default=1, ge=1)
    max_waiting: int = Field(default=64, ge=0)
    refresh: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, /, **given: Any
    ) -> ServiceSettings:
        """Read settings from variables that begin with ``SKMMREC_SERVICE_``.

        Parameters
        ----------
        environment : mapping of str to str, optional
            By default, that of this process.
        **given
            Settings by their names, which go before those of the environment.

        Returns
        -------
        ServiceSettings

        Raises
        ------
        ValueError
            For what is no setting, or a value that cannot be read.

        Examples
        --------
        >>> from skmmrec.service import ServiceSettings
        >>> ServiceSettings.from_environment({"SKMMREC_SERVICE_MAX_K": "20"}).max_k
        20
        """
        variables = os.environ if environment is None else environment
        values: dict[str, Any] = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in variables.items()
            if name.startswith(PREFIX) and name != REPO
        }
        try:
            return cls(**(values | given))
        except ValidationError as error:
            raise ValueError(_told(error, given)) from None

    def to_environment(self) -> dict[str, str]:
        """Write what differs from the defaults as variables.

        Returns
        -------
        dict of str to str
        """
        given = self.model_dump(exclude_defaults=True)
        return {f"{PREFIX}{name.upper()}": _text(each) for name, each in given.items()}


def _text(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _told(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Name what is wrong as it was given, and not the values: they may be tokens."""
    wrong = error.errors(include_input=False, include_url=False)
    named = ((str(each["loc"][0]), each["msg"]) for each in wrong)
    return "; ".join(
        f"{name if name in given else PREFIX + name.upper()}: {message}"
        for name, message in named
    )
