from ._encoders import EncoderTests as EncoderTests
from ._fusion import FusionTests as FusionTests
from ._recommenders import RecommenderTests as RecommenderTests
