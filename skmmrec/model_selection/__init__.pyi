from ._compare_encoders import compare_encoders as compare_encoders
from ._encoder_comparison import EncoderComparison as EncoderComparison
from ._random import (
    ColdItemSplit as ColdItemSplit,
    ColdUserSplit as ColdUserSplit,
    RandomHoldoutPerUser as RandomHoldoutPerUser,
    UserKFold as UserKFold,
)
from ._recommend import recommend as recommend
from ._time import (
    LeaveLastOut as LeaveLastOut,
    TimeSplit as TimeSplit,
)
