from ._card import CardSection as CardSection, ModelCard as ModelCard
from ._choices import Choice as Choice, Choices as Choices
from ._estimator import MultimodalFusionRecommender as MultimodalFusionRecommender
from ._model import FittedModel as FittedModel
from ._serving import (
    ServingVectors as ServingVectors,
    StoredVectors as StoredVectors,
    TableSource as TableSource,
)
from ._settings import (
    EarlyStopping as EarlyStopping,
    Propagation as Propagation,
    Regularization as Regularization,
    Training as Training,
)
from ._user_towers import (
    AttentionTower as AttentionTower,
    MeanTower as MeanTower,
    SequenceTower as SequenceTower,
    TowerSettings as TowerSettings,
)
from .baselines import (
    ContentRecommender as ContentRecommender,
    EASERecommender as EASERecommender,
    GraphDiffusionRecommender as GraphDiffusionRecommender,
    HistoryRecommender as HistoryRecommender,
    ImplicitALSRecommender as ImplicitALSRecommender,
    ItemKNNRecommender as ItemKNNRecommender,
    MatrixFactorizationRecommender as MatrixFactorizationRecommender,
    PopularityRecommender as PopularityRecommender,
    RandomWalkRecommender as RandomWalkRecommender,
    UserKNNRecommender as UserKNNRecommender,
)
from .memory import ItemMemory as ItemMemory

# isort: split
# For other rooms: the base class, variants of a model, what a notebook shows, and
# saved models of any class.
from ._base import BaseRecommender as BaseRecommender
from ._html import (
    describe_html as describe_html,
    format_share as format_share,
    validation_name as validation_name,
)
from ._model import keep_modalities as keep_modalities
from .baselines import load_model as load_model, load_shared as load_shared
