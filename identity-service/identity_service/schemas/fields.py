"""What kinds of values come in. Every string that comes in is checked here and nowhere else."""

from datetime import UTC, datetime
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from chassis.schemas import check_text

from ..crypto.common_passwords import is_common
from ..settings import normal_address


def one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("must be one line")
    return text


timezones = cache(available_timezones)


def known_timezone(name: str) -> str:
    if name not in timezones():
        raise ValueError("is not a time zone like Europe/Berlin")
    return name


def not_reserved(name: str) -> str:
    if name == "service":
        raise ValueError("is what services are called; people cannot have that role")
    return name


def uncommon(password: str) -> str:
    if is_common(password):
        raise ValueError("is among the first that are tried by whoever guesses passwords")
    return password


def in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies beyond the calendar") from error


def to_come(time: datetime) -> datetime:
    if time <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return time


Storable = AfterValidator(check_text)
Time = Annotated[AwareDatetime, AfterValidator(in_utc)]
Future = Annotated[Time, AfterValidator(to_come)]
Email = Annotated[str, Field(max_length=254), Storable, AfterValidator(normal_address)]
# repr=False: a model that is printed or logged does not give the secret away.
NewPassword = Annotated[
    str, Field(min_length=8, max_length=128, repr=False), Storable, AfterValidator(uncommon)
]
Guess = Annotated[str, Field(min_length=1, max_length=4096), Storable]
Secret = Annotated[Guess, Field(repr=False)]
Trimmed = StringConstraints(strip_whitespace=True, min_length=1, max_length=100)
Name = Annotated[str, Trimmed, Storable, AfterValidator(one_line)]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]
PushToken = Annotated[str, Field(min_length=1, max_length=500), Storable]
PushTokens = Annotated[list[PushToken], Field(max_length=20)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
Timezone = Annotated[str, Field(max_length=64), AfterValidator(known_timezone)]
Permission = Annotated[str, Field(pattern=r"^(\*|[a-z_]{1,40}:[a-z_]{1,40})$")]
Permissions = Annotated[list[Permission], Field(max_length=100)]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,49}$"), AfterValidator(not_reserved)]
RoleNames = Annotated[list[RoleName], Field(max_length=50)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9 -]{6,32}$")]
Description = Annotated[str, Field(max_length=500), Storable]
