from ._audio_clips import load_audio_clips as load_audio_clips
from ._generated import make_multimodal_interactions as make_multimodal_interactions
from ._movielens import load_movielens_posters as load_movielens_posters
from ._social import make_social_feed as make_social_feed
from ._tables import read_interactions as read_interactions
from ._tiktok import load_tiktok as load_tiktok
