"""Timeouts of the connections to the database."""

import os
import socket

from content_service.database import engine


def test_a_connection_to_a_silent_database_times_out_in_ten_seconds() -> None:
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as wire:
            waits = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            idle = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)

    assert (waits, idle) == (10_000, 5)
