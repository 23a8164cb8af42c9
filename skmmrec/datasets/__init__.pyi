from ._audio_clips import load_audio_clips as load_audio_clips
from ._generated import make_multimodal_interactions as make_multimodal_interactions
from ._movielens import load_movielens_posters as load_movielens_posters
from ._music import make_music as make_music
from ._shop import make_shop as make_shop
from ._shorts import make_shorts as make_shorts
from ._tables import read_interactions as read_interactions
from ._tiktok import load_tiktok as load_tiktok
