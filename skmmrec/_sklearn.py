"""scikit-learn's base classes, with types.

scikit-learn ships no types: a checker takes a class that inherits from one of its bases
for one that has every attribute. Here the same bases say what they have, to a checker
alone; at run time they are scikit-learn's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import NDArray
    from sklearn.utils import Tags

    class BaseEstimator:
        """Parameters by name, and what a notebook shows."""

        n_features_in_: int
        feature_names_in_: NDArray

        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def _validate_params(self) -> None: ...
        def _repr_html_inner(self) -> str: ...
        def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]: ...
        def __sklearn_tags__(self) -> Tags: ...
        def __sklearn_clone__(self) -> Self: ...
        def get_metadata_routing(self) -> Any: ...

    class TransformerMixin:
        """`fit_transform` and `set_output`."""

        def fit_transform(
            self, X: Any, y: Any = None, **fit_params: Any
        ) -> NDArray: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin:
        """Names of the columns that `transform` gives."""

        def get_feature_names_out(self, input_features: Any = None) -> NDArray: ...

else:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
    )

__all__ = ["BaseEstimator", "ClassNamePrefixFeaturesOutMixin", "TransformerMixin"]
