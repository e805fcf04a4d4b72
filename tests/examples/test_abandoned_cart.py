"""The example of an abandoned cart: one reminder after an hour of silence, none for who pays."""

from durable_jobs.testing import Simulation, run_job
from examples.abandoned_cart import AbandonedCart, Cart, Change, changed


class Shop:
    """A simulation with the mails that it sent."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str]]] = []
        self.job = AbandonedCart(self._send)
        self.sim = Simulation(self.job)

    async def _send(self, customer: str, items: list[str], key: str) -> None:
        self.mails.append((customer, list(items)))

    def change(self, change: Change, request_id: str) -> None:
        self.sim.run(changed(self.sim.jobs, "ada", change, request_id))


ADDED = Change(kind="added", item="tea")


def test_a_cart_left_alone_for_an_hour_brings_one_mail_and_is_given_up_a_day_later() -> None:
    shop = Shop()
    shop.change(ADDED, "1")
    shop.change(ADDED, "1")
    shop.sim.advance("59m")
    shop.change(Change(kind="added", item="pot"), "2")
    shop.sim.advance("59m")
    assert shop.mails == []
    shop.sim.advance("1m")
    assert shop.mails == [("ada", ["tea", "pot"])]
    shop.sim.advance("1d")
    assert shop.sim.events[-1]["reason"] == "given up"
    assert len(shop.mails) == 1


def test_who_pays_hears_nothing() -> None:
    shop = Shop()
    shop.change(ADDED, "1")
    shop.change(Change(kind="paid"), "2")
    shop.sim.advance("2d")
    assert shop.mails == []
    assert shop.sim.events[-1]["reason"] == "paid"


def test_an_empty_cart_brings_no_mail() -> None:
    outcome = run_job(
        Shop().job, state=Cart(items=["tea"]), events=[Change(kind="removed", item="tea")]
    )
    assert outcome.state.items == []
    shop = Shop()
    assert run_job(shop.job, state=outcome.state).terminate_reason == "given up"
    assert shop.mails == []
