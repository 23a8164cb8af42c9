"""Who may read, push and publish through a Feast server with authentication."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from feast import FeatureService, FeatureView, OnDemandFeatureView
from feast.feast_object import FeastObject
from feast.permissions.action import READ, WRITE, AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

from skmmrec.feature_store.backends.base import EVENT_VIEW

_TYPES: list[Any] = [FeatureView, OnDemandFeatureView, FeatureService]


def embedding_permissions(
    definitions: Iterable[FeastObject],
    *,
    readers: Sequence[str] = ("reader",),
    writers: Sequence[str] = ("writer",),
    publishers: Sequence[str] = ("publisher",),
) -> list[Permission]:
    """Define what the roles of a token allow on published vectors.

    Parameters
    ----------
    definitions : EmbeddingDefinitions
        What `embedding_definitions` gives.
    readers : sequence of str, default=("reader",)
        Roles that may read and search vectors, by feature view and by service, those
        of model versions included. Events of feedback are not for them.
    writers : sequence of str, default=("writer",)
        Roles that may push events of feedback. Vectors are not for them: Feast asks for
        the same right to push them and to materialize them.
    publishers : sequence of str, default=("publisher",)
        Roles that may read, push and materialize everything.

    Returns
    -------
    list of feast.permissions.permission.Permission
        One for each of the three that has roles.

    Raises
    ------
    TypeError
        For roles that are not a sequence of strings.
    ValueError
        For a role that is empty, or when nobody has a role. Where nothing is defined,
        Feast lets everybody with a token do everything.

    Notes
    -----
    Feast knows one right to read a view online, by id or by search.
    Permissions count once `feast apply` has registered them, and only with ``auth`` in
    ``feature_store.yaml``.

    Examples
    --------
    >>> from skmmrec.feature_store import embedding_definitions, embedding_permissions
    >>> definitions = embedding_definitions(dim=65)
    >>> for permission in embedding_permissions(definitions, readers=["shop", "app"]):
    ...     print(permission.name, permission.policy.roles)
    embedding_readers ['shop', 'app']
    embedding_writers ['writer']
    embedding_publishers ['publisher']
    """
    names = [each.name for each in definitions if isinstance(each, tuple(_TYPES))]
    names = [name for name in names if not name.startswith("model_")]
    vectors = [*(name for name in names if name != EVENT_VIEW), "model_.*"]
    describe = AuthzedAction.DESCRIBE
    granted = {
        "readers": (readers, vectors, [AuthzedAction.READ_ONLINE, describe]),
        "writers": (writers, [EVENT_VIEW], [*WRITE, describe]),
        "publishers": (publishers, [*vectors, EVENT_VIEW], [*READ, *WRITE, describe]),
    }
    permissions = [
        _permission(f"embedding_{name}", allowed, patterns, actions)
        for name, (roles, patterns, actions) in granted.items()
        if (allowed := _checked(roles, name))
    ]
    if not permissions:
        raise ValueError(
            "readers, writers and publishers are all empty: without a permission Feast "
            "lets everybody with a token do everything; name at least one role"
        )
    return permissions


def _permission(
    name: str, roles: list[str], patterns: list[str], actions: list[AuthzedAction]
) -> Permission:
    return Permission(
        name=name,
        types=_TYPES,
        name_patterns=patterns,
        actions=actions,
        policy=RoleBasedPolicy(roles),
    )


def _checked(roles: Sequence[str], name: str) -> list[str]:
    listed = isinstance(roles, Iterable) and not isinstance(roles, str)
    if not listed or not all(isinstance(role, str) for role in roles):
        raise TypeError(f"{name} must be a sequence of strings, got {roles!r}")
    if not all(role.strip() for role in roles):
        raise ValueError(f"{name} holds an empty role: {list(roles)!r}")
    return list(roles)
