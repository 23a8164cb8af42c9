"""What requests and answers look like."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

T = TypeVar("T")
# Names in one field; there are as many as modalities, some few.
_MOST_NAMES = 64


class _FailFast(FailFast):
    """As pydantic's own, and to be used in unions of types, which are hashed."""

    __hash__ = object.__hash__


def _few(given: Any) -> Any:
    if isinstance(given, dict) and len(given) > _MOST_NAMES:
        raise PydanticCustomError(
            "too_many_names",
            "there may be {most} names, got {n}",
            {"most": _MOST_NAMES, "n": len(given)},
        )
    return given


# An error takes hundreds of bytes: a request of a megabyte could ask for a million, and
# for a minute of the thread that all others wait for. So lists end at their first, and
# names are few.
Listed: TypeAlias = Annotated[list[T], _FailFast()]
Named: TypeAlias = Annotated[dict[str, T], BeforeValidator(_few)]

# Numbers with a fraction are refused by the store, in the same words as elsewhere.
Id: TypeAlias = StrictInt | StrictStr | StrictFloat
Ids: TypeAlias = Id | Listed[Id]
Number: TypeAlias = StrictInt | StrictFloat
Category: TypeAlias = StrictStr | StrictInt | StrictFloat
Categories: TypeAlias = Category | Listed[Category]

_WHERE = Field(
    default=None,
    description='A condition on published features, such as "price < 30 and brand in '
    "['north']\"; or a filter of Feast, as JSON.",
)
_K = Field(default=10, description="Items for each; fewer where there are fewer.")
_CATEGORY = Field(default=None, description="Choose from items of these categories.")
Where: TypeAlias = str | dict[str, Any] | None


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [values]})


class _Request(BaseModel):
    """A body whose fields are known by name; who errs in one is told the names."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        unknown = given.keys() - cls.model_fields if isinstance(given, dict) else ()
        if unknown:
            raise PydanticCustomError(
                "unknown_field",
                "there is no field {name}; there are {names}",
                {
                    "name": f"{min(unknown)!r:.100}",
                    "names": ", ".join(map(repr, cls.model_fields)),
                },
            )
        return given


class RecommendRequest(_Request):
    """Whom to recommend to, and from what: users, or one history of items."""

    model_config = _example(users=["ann", "ben"], k=5, where="price < 30")

    users: Ids | None = Field(default=None, description="User ids.")
    history: Ids | None = Field(
        default=None, description="In place of users: items somebody saw, oldest first."
    )
    k: StrictInt = _K
    items: Ids | None = Field(default=None, description="Choose from these items.")
    category: Categories | None = _CATEGORY
    where: Where = _WHERE
    exclude_seen: StrictBool = Field(
        default=True, description="Leave out what was seen."
    )
    fresh: Number = Field(
        default=0,
        description="Places of each list that are kept for new items: a whole number "
        "of them, or a share from 0.0 to 1.0.",
    )
    fresh_met: StrictInt = Field(
        default=0,
        description="An item is new while at most so many users interacted with it.",
    )


class SimilarRequest(_Request):
    """What to find items like: items, words, or vectors."""

    model_config = _example(content={"text": "a storm at sea"}, k=5, where="price < 30")

    query: Ids | None = Field(default=None, description="Item ids.")
    content: Named[StrictStr] | None = Field(
        default=None,
        description="Words, by the name of the vectors to compare with. Files come in "
        "parts of multipart/form-data of these names.",
    )
    vectors: Named[Listed[Listed[float | None]]] | None = Field(
        default=None, description="Vectors by name; null stands for NaN."
    )
    weights: Named[Number] | None = Field(
        default=None, description="How much each vector counts."
    )
    k: StrictInt = _K
    items: Ids | None = Field(default=None, description="Choose from these items.")
    category: Categories | None = _CATEGORY
    where: Where = _WHERE


class FeedbackRequest(_Request):
    """That a user interacted with an item, and how much it was liked."""

    model_config = _example(user="ann", item="i042", y=1.0)

    user: Id
    item: Id
    y: Number = Field(default=1.0, description="Only above 0, it moves the user.")


class FeedbackQuery(_Request):
    """Which of the events that wait to return."""

    # What stands in an address is text.
    after: int = Field(
        default=0, ge=0, description="Leave out events up to this number."
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="At most so many, the first ones, and no more than an answer may "
        "have.",
    )


class ExplainRequest(_Request):
    """Pairs of users and items; one id goes with all of the others."""

    model_config = _example(users="ann", items=["i042", "i007"])

    users: Ids
    items: Ids


class _Answer(BaseModel):
    model_version: str | None = Field(description="The model that has answered.")


class Recommendation(BaseModel):
    """An item in a list."""

    user_id: Id | None = Field(default=None, description="Not with a history.")
    item_id: Id
    rank: int = Field(description="From 1.")
    score: float


class _Found(_Answer):
    search: str = Field(description='"exact" or "approximate".')
    recall: float = Field(description="Share of the best items that is found.")


class RecommendAnswer(_Found):
    """Lists, users in the order of the request."""

    recommendations: list[Recommendation]


class Similar(BaseModel):
    """An item that is like what was asked for."""

    query: Id = Field(description="Item id, or number of the row of vectors.")
    item_id: Id
    rank: int = Field(description="From 1.")
    score: float = Field(description="Cosine.")


class SimilarAnswer(_Found):
    """Items for each that was asked for, best first."""

    similar: list[Similar]


class FeedbackAnswer(_Answer):
    """Whether the event has moved the user; it was recorded in any case."""

    moved: bool


class Event(BaseModel):
    """An event that was recorded."""

    event: int = Field(description="Numbers all events of the repository.")
    user_id: Id
    item_id: Id
    y: float
    timestamp: str = Field(description="When, in ISO 8601.")


class EventsAnswer(_Answer):
    """The first events that the served model has not taken in."""

    events: list[Event]
    next: int | None = Field(
        description="There are more: ask again, with this number as `after`. null: "
        "there are none."
    )


class Contribution(BaseModel):
    """What one item of the history adds to a score."""

    item_id: Id
    contribution: float


class Explanation(BaseModel):
    """Why an item has its score for a user."""

    user_id: Id
    item_id: Id
    history: list[Contribution] = Field(description="Items met, oldest first.")
    rest: float = Field(description="What no single item adds, such as popularity.")
    reason: str | None = Field(description="A sentence, where a model is configured.")
    modalities: dict[str, float] | None = Field(
        description="What each modality adds, and the interactions, likewise."
    )


class ExplainAnswer(_Answer):
    """Explanations; the history and the rest add up to the score."""

    source: str = Field(description='What the history is from: "store" or "model".')
    explanations: list[Explanation]


class Health(BaseModel):
    """That the service is alive, or ready."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "alive"}})

    status: str
    model_version: str | None = None
