"""What Feast calls the views and features that are stored."""

USER_VIEW, ITEM_VIEW = "user_embeddings", "item_embeddings"
# The feature views whose rows are published; all others are Feast's alone.
PUBLISHED_VIEWS = (USER_VIEW, ITEM_VIEW)
USER_VECTOR, ITEM_VECTOR = "user_vector", "item_vector"
USER_VERSION, ITEM_VERSION = "user_model_version", "item_model_version"
SEEN, HISTORY_SIZE = "user_seen_items", "user_history_size"
# Of models with a memory of items: what was met and not liked, and which items an item
# of a history speaks for, and how strongly.
DISLIKED = "user_disliked_items"
MEMORY, MEMORY_WEIGHTS = "item_memory_items", "item_memory_weights"
POPULARITY, CATEGORY = "item_popularity", "item_category"
EVENT_VIEW, EVENT = "feedback_events", "event_id"
EVENT_USER, EVENT_ITEM, EVENT_Y = "event_user_id", "event_item_id", "event_y"
TIMESTAMP = "event_timestamp"
