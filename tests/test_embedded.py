"""The embedded server."""

from temporalio.client import Client


async def test_a_started_server_answers(client: Client) -> None:
    assert await client.service_client.check_health()
