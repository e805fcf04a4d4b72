"""The example of a payment service's webhooks: each is booked once, in order, or set aside."""

import hashlib
import hmac
import time

import pytest

from durable_jobs.testing import Simulation
from examples.payment_webhooks import BadSignature, BookPayments, Ledger, Payment, receive

SECRET = b"whsec_test"


def signed(body: bytes, sent: float, secret: bytes = SECRET) -> str:
    """The header that the service sends along."""
    text = f"{int(sent)}.".encode() + body
    return f"t={int(sent)},v1={hmac.new(secret, text, hashlib.sha256).hexdigest()}"


def deliver(sim: Simulation, number: int, customer: str = "ada") -> None:
    body = Payment(id=f"evt_{number}", customer=customer, cents=number).model_dump_json().encode()
    sim.run(receive(sim.jobs, body, signed(body, time.time()), SECRET))


def test_webhooks_of_a_customer_are_booked_once_and_in_order() -> None:
    ledger = Ledger("ada")
    sim = Simulation(BookPayments(ledger.book))
    for number in (1, 2, 1, 3):
        deliver(sim, number)
    assert list(ledger.rows) == ["evt_1", "evt_2", "evt_3"]
    assert len(sim.runs) == 3


def test_a_payment_of_an_unknown_customer_is_set_aside_until_somebody_brings_it_back() -> None:
    ledger = Ledger("ada")
    sim = Simulation(BookPayments(ledger.book))
    deliver(sim, 1, customer="eve")
    [letter] = sim.worker_pool(BookPayments).status().failed_events
    assert letter["error"].endswith("no customer eve")
    ledger.customers.add("eve")
    assert sim.worker_pool(BookPayments).redrive() == 1
    assert list(ledger.rows) == ["evt_1"]


@pytest.mark.parametrize(
    "signature",
    [
        signed(b"{}", time.time(), b"another"),
        signed(b"[]", time.time()),
        signed(b"{}", time.time() - 301),
        "t=1",
        "",
    ],
    ids=["another secret", "another body", "too old", "no digest", "empty"],
)
def test_what_the_service_did_not_sign_just_now_is_refused(signature: str) -> None:
    sim = Simulation(BookPayments(Ledger().book))
    with pytest.raises(BadSignature):
        sim.run(receive(sim.jobs, b"{}", signature, SECRET))
    assert sim.runs == []
