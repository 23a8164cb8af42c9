from ._attention import AttentionFusion as AttentionFusion
from ._base import Fusion as Fusion
from ._bilinear import BilinearFusion as BilinearFusion
from ._concat import ConcatFusion as ConcatFusion
from ._cross_attention import CrossAttentionFusion as CrossAttentionFusion
from ._gated import GatedFusion as GatedFusion
from ._late import (
    LateFusion as LateFusion,
    LateMeanFusion as LateMeanFusion,
    LateStackingFusion as LateStackingFusion,
)
from ._registry import (
    get_fusion as get_fusion,
    get_fusion_names as get_fusion_names,
    register_fusion as register_fusion,
)
from ._transformer import TransformerFusion as TransformerFusion
from ._weighted import WeightedFusion as WeightedFusion

# isort: split
# For other rooms: constructing by name or class, and names of classes.
from ._registry import fusion_name as fusion_name, make_fusion as make_fusion
from ._stack import StackFusion as StackFusion
