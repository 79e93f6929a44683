"""The base of every specification: frozen, closed, keyword-only, told in one error, changed by copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    field_validator,
)

from perfmodel.errors import InputError, SpecError
from perfmodel.specs.describing import field_docs
from perfmodel.specs.strictness import with_strict_numbers
from perfmodel.specs.telling import told

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["SourcedSpec", "Spec"]


class Spec(BaseModel):
    """A frozen specification that refuses what it does not know.

    Numbers are strict (no text or bool for an int or a float), unknown fields are refused, and all faults
    come as one `InputError`. An attribute's docstring is its description in the JSON schema.

    Examples
    --------
    >>> class Tray(Spec):
    ...     slots: int = Field(ge=1)
    >>> tray = Tray(slots=4)
    >>> tray.replace(slots=8)
    Tray(slots=8)
    >>> Tray(slot="4")
    Traceback (most recent call last):
    perfmodel.errors.InputError: Tray has 2 faults:
      - slots is missing
      - unknown field "slot"; did you mean slots? valid: slots
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    error_type: ClassVar[type[InputError]] = InputError

    def __init__(self, /, **data: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(data, self_instance=self)
        except ValidationError as error:
            raise told(error, type(self), data.get("id")).error(self.error_type) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # nested specs are validated in one pass

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_strict_numbers(handler(source))  # type: ignore[no-any-return]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema, with each attribute's docstring as its description."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docs(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema

    def __setattr__(self, name: str, value: Any) -> None:
        raise InputError(f"{type(self).__name__} is frozen; a changed copy is .replace({name}=…)")

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed.

        Parameters
        ----------
        changes : new values by field name; `outer__inner=value` changes a field of a nested spec
        """
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        for name, value in changes.items():
            outer, _, inner = name.partition("__")
            if inner and isinstance(nested := fields.get(outer, getattr(self, outer, None)), Spec):
                fields[outer] = nested.replace(**{inner: value})
            else:
                fields[name] = value
        return type(self)(**fields)


class SourcedSpec(Spec):
    """A specification with an identity, whose numbers say where they come from."""

    error_type: ClassVar[type[InputError]] = SpecError

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$")
    """Name it is looked up by; also the name of its file."""
    name: str
    """Name as printed."""
    sources: tuple[str, ...]
    """Where the numbers come from (datasheet, paper, measurement), at least one: a number needs a source."""
    confidence: Literal["datasheet", "secondary", "estimate"]
    """How good the sources are."""
    unverified: tuple[str, ...] = ()
    """Fields whose value no source confirmed."""
    notes: str = ""
    """What a user of the numbers should know."""

    @field_validator("sources")
    @classmethod
    def _sourced(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if not any(source.strip() for source in sources):
            raise ValueError("a number needs a source: name the datasheet, paper or measurement")
        return sources
