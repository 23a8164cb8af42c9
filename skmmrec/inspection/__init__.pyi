from ._ablation import ModalityAblationDisplay as ModalityAblationDisplay
from ._contribution_bars import (
    ModalityContributionDisplay as ModalityContributionDisplay,
)
from ._contributions import (
    modality_contributions as modality_contributions,
    modality_shares as modality_shares,
)
from ._describe import describe_html as describe_html
from ._drift import measure_drift as measure_drift
from ._embedding_map import EmbeddingMapDisplay as EmbeddingMapDisplay
from ._encoder_comparison import EncoderComparisonDisplay as EncoderComparisonDisplay
from ._explanations import (
    explain as explain,
    nearest_in_history as nearest_in_history,
)
from ._exposure_curve import ExposureCurveDisplay as ExposureCurveDisplay
from ._gallery import RecommendationGalleryDisplay as RecommendationGalleryDisplay
from ._history_contributions import history_contributions as history_contributions
from ._loss_curve import LossCurveDisplay as LossCurveDisplay
from ._ranking_curve import RankingCurveDisplay as RankingCurveDisplay
from ._video_windows import VideoWindowsDisplay as VideoWindowsDisplay

# isort: split
# For other rooms.
from ._axes import modality_colors as modality_colors
