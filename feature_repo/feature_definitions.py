"""Users, items and their vectors, as `feast apply` registers them."""

from pathlib import Path

from skmmrec.feature_store import (
    embedding_definitions,
    embedding_permissions,
    repo_settings,
)

# The arguments hold until `publish` has written those of the recommender to
# data/embeddings.json. 65 is the recommender's default n_factors and the item's bias.
definitions = embedding_definitions(
    **repo_settings(
        Path(__file__).parent, dim=65, user_id_type="int64", item_id_type="int64"
    )
)
user = definitions.user
item = definitions.item
user_embeddings = definitions.user_embeddings
item_embeddings = definitions.item_embeddings
recommendation = definitions.recommendation
embeddings = definitions.embeddings
user_item_score = definitions.user_item_score
event = definitions.event
feedback_events = definitions.feedback_events
globals().update({service.name: service for service in definitions.services})

# What a token's roles allow, where `auth` is configured.
permissions = embedding_permissions(
    definitions, readers=["reader"], writers=["writer"], publishers=["publisher"]
)
globals().update({permission.name: permission for permission in permissions})
