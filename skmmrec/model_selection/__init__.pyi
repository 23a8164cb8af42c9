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
