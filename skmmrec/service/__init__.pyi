from ._app import (
    app_from_environment as app_from_environment,
    create_app as create_app,
)
from ._client import ServiceClient as ServiceClient
from ._client_errors import ServiceError as ServiceError
from ._serve import serve as serve
from ._settings import ServiceSettings as ServiceSettings
