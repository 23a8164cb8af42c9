from ._encode import encode as encode
from ._report import BatchReport as BatchReport
