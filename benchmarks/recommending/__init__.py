"""Parts of the benchmark of the recommender."""
