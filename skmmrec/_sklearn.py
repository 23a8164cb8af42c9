"""What scikit-learn gives this package, with types.

scikit-learn ships no types: a checker takes a class that inherits from one of its bases
for one that has every attribute and takes every argument. Here the same names say what
they are, to a checker alone; at run time they are scikit-learn's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    from numpy.typing import NDArray
    from sklearn.utils import Tags

    T = TypeVar("T")

    def clone(estimator: T, *, safe: bool = True) -> T:
        """Make an unfitted copy."""
        ...

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[T], T]:
        """Check the parameters before a method."""
        ...

    class BaseEstimator:
        """Parameters by name, and what a notebook shows."""

        n_features_in_: int
        feature_names_in_: NDArray

        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def get_metadata_routing(self) -> Any: ...
        def _validate_params(self) -> None: ...
        def _repr_html_inner(self) -> str: ...
        def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]: ...
        def __getstate__(self) -> dict[str, Any]: ...
        def __setstate__(self, state: dict[str, Any]) -> None: ...
        def __sklearn_tags__(self) -> Tags: ...
        def __sklearn_clone__(self) -> Self: ...

    class TransformerMixin:
        """`fit_transform` and `set_output`."""

        def __init_subclass__(
            cls,
            auto_wrap_output_keys: tuple[str, ...] | None = ("transform",),
            **options: Any,
        ) -> None: ...
        def fit_transform(self, X: Any, y: Any = None) -> Any: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin:
        """Names of the columns that `transform` gives, by the name of the class."""

        def get_feature_names_out(self, input_features: Any = None) -> NDArray: ...

    class OneToOneFeatureMixin:
        """Names of the columns that `transform` gives, which are those that it gets."""

        def get_feature_names_out(self, input_features: Any = None) -> NDArray: ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        TransformerMixin,
        _fit_context as fit_context,
        clone,
    )


class Transformer(Protocol):
    """Anything with the methods of a scikit-learn transformer."""

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn from columns, and turn them into numbers."""
        ...

    def transform(self, X: Any) -> Any:
        """Turn columns into numbers."""
        ...

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Name the numbers."""
        ...


__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "OneToOneFeatureMixin",
    "Transformer",
    "TransformerMixin",
    "clone",
    "fit_context",
]
