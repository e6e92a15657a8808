"""Invalid settings stop the start with a line that says what is wrong."""

import fsspec  # type: ignore[import-untyped]
import pytest

from chassis.settings import load_settings
from content_service.settings import Settings

fsspec.register_implementation("absent", "no_such_driver.Store", errtxt="Install no_such_driver")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("STORAGE_URL", "absent://bucket", "Install no_such_driver .*pip install"),
        ("STORAGE_URL", "nowhere://bucket", "Protocol not known: nowhere"),
        ("MAX_UPLOAD_BYTES", str(2**31), "must be below 2 GiB"),
    ],
)
def test_a_setting_that_cannot_work_stops_the_start(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit, match=rf"^Wrong settings\. {variable}: .*{reason}.*$"):
        load_settings(Settings)
