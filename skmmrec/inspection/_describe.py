"""The description that a fitted recommender shows in a notebook."""

from skmmrec.recommender import describe_html

__all__ = ["describe_html"]
