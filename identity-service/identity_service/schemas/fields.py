"""Types of the values that requests carry. Every string of a request is validated here."""

from datetime import datetime
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints

from chassis.clock import now
from chassis.schemas import Time, check_text

from ..common_passwords import is_common_password
from ..settings import normalize_email

get_timezones = cache(available_timezones)


def require_one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("must be one line")
    return text


def require_known_timezone(name: str) -> str:
    if name not in get_timezones():
        raise ValueError("is not a known time zone, such as Europe/Berlin")
    return name


def reject_reserved_role(name: str) -> str:
    if name == "service":
        raise ValueError("'service' is reserved for services; choose another name")
    return name


def reject_common_password(password: str) -> str:
    if is_common_password(password):
        raise ValueError("is too common; choose a longer or less predictable password")
    return password


def require_future(time: datetime) -> datetime:
    if time <= now():
        raise ValueError("must be in the future")
    return time


CheckedText = AfterValidator(check_text)
Future = Annotated[Time, AfterValidator(require_future)]
Email = Annotated[str, Field(max_length=254), CheckedText, AfterValidator(normalize_email)]
# repr=False keeps the secret out of a model that is printed or logged.
NewPassword = Annotated[
    str,
    Field(min_length=8, max_length=128, repr=False),
    CheckedText,
    AfterValidator(reject_common_password),
]
# Inside a union such as `SecretText | None`, repr=False has no effect: set it on the field itself.
SecretText = Annotated[str, Field(min_length=1, max_length=4096), CheckedText]
Secret = Annotated[SecretText, Field(repr=False)]
Trimmed = StringConstraints(strip_whitespace=True, min_length=1, max_length=100)
Name = Annotated[str, Trimmed, CheckedText, AfterValidator(require_one_line)]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
PushToken = Annotated[str, Field(min_length=1, max_length=500), CheckedText]
PushTokens = Annotated[list[PushToken], Field(max_length=20)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
Timezone = Annotated[str, Field(max_length=64), AfterValidator(require_known_timezone)]
Permission = Annotated[str, Field(pattern=r"^(\*|[a-z_]{1,40}:[a-z_]{1,40})$")]
Permissions = Annotated[list[Permission], Field(max_length=100)]
RoleName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{0,49}$"), AfterValidator(reject_reserved_role)
]
RoleNames = Annotated[list[RoleName], Field(max_length=50)]
SecondFactorCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9 -]{6,32}$")]
Description = Annotated[str, Field(max_length=500), CheckedText]
