from ._audio_clips import load_audio_clips as load_audio_clips
from ._generated import make_multimodal_interactions as make_multimodal_interactions
from ._movielens import load_movielens_posters as load_movielens_posters
from ._music import make_music as make_music
from ._shop import make_shop as make_shop
from ._shorts import make_shorts as make_shorts
from ._social import make_social_feed as make_social_feed
from ._tables import read_interactions as read_interactions
from ._tiktok import load_tiktok as load_tiktok

# isort: split
# For other rooms: tables in CSV and parquet files.
from ._table_files import (
    Kind as Kind,
    TableFiles as TableFiles,
    read_features as read_features,
    read_table as read_table,
)
