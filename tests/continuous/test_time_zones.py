"""Cron on machines without time zone data."""

import subprocess
import sys
from textwrap import dedent

NO_DATA = """
    import sys, zoneinfo
    sys.modules["tzdata"] = None
    zoneinfo.reset_tzpath(to=[])
    assert not zoneinfo.available_timezones()
"""


def _printed(*programs: str) -> str:
    code = "\n".join(map(dedent, programs))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_utc_needs_no_data() -> None:
    program = """
        from datetime import UTC, datetime
        from durable_jobs import Cron
        from durable_jobs.cron import next_cron_time
        for zone in ("UTC", "Etc/UTC"):
            for line in ("0 9 * * *", "*/5 * * * *", "@daily"):
                Cron(line, timezone=zone).check("Poll")
        print(next_cron_time(Cron("0 9 * * *").rule(), datetime(2026, 1, 1, tzinfo=UTC)))
    """
    assert _printed(NO_DATA, program) == "2026-01-01 09:00:00+00:00"


def test_another_zone_says_that_data_is_missing_and_what_to_install() -> None:
    program = """
        from durable_jobs import Cron, DefinitionError
        try:
            Cron("0 9 * * *", timezone="Europe/Berlin").check("Poll")
        except DefinitionError as error:
            print(error)
    """
    assert _printed(NO_DATA, program) == (
        "Poll: time zone 'Europe/Berlin' cannot be read: this machine has no time zone data. "
        "Install the package tzdata from PyPI, or your system's"
    )


def test_the_installed_package_stands_in_for_the_systems_data() -> None:
    program = """
        import zoneinfo
        zoneinfo.reset_tzpath(to=[])
        from durable_jobs import Cron
        Cron("0 9 * * *", timezone="Europe/Berlin").check("Poll")
        print("taken")
    """
    assert _printed(program) == "taken"
