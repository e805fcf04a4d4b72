"""Takes signed webhooks of a payment service, and books each once and in its customer's order."""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import BaseModel

from durable_jobs import JobClient, NonRetryable, Retry, RunFailure, WorkerPoolJob, WorkerPoolRun


class Payment(BaseModel):
    """An event of the service: so many cents paid, or given back."""

    id: str
    customer: str
    cents: int


class BadSignature(Exception):
    """Not from the service, or too old: answer 400."""


async def receive(jobs: JobClient, body: bytes, signature: str, secret: bytes) -> None:
    """Queue a webhook; answer 200 once this returns, so that the service does not send it again.

    Args:
        signature: The header of the request, as in `t=1767603600,v1=…` in hexadecimal.

    Raises:
        BadSignature: The webhook is not from the service, or older than five minutes.
    """
    sent, _, digest = signature.removeprefix("t=").partition(",v1=")
    wanted = hmac.new(secret, sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), digest.encode()):
        raise BadSignature("the signature does not fit")
    if abs(time.time() - int(sent)) > 300:
        raise BadSignature("it is older than five minutes")
    payment = Payment.model_validate_json(body)
    pool = jobs.worker_pool(BookPayments)
    await pool.enqueue(payment, partition_key=payment.customer, id=payment.id)


class BookPayments(WorkerPoolJob[Payment]):
    name = "book-payments"
    concurrency = 4
    timeout = timedelta(seconds=30)
    retry = Retry(max_attempts=4, maximum=timedelta(minutes=1))

    def __init__(self, book: Callable[[Payment], Awaitable[None]]) -> None:
        self._book = book

    async def execute(self, run: WorkerPoolRun[Payment]) -> None:
        await self._book(run.event)

    async def on_dead_letter(self, run: WorkerPoolRun[Payment], error: RunFailure) -> None:
        print(f"set aside {run.event.id}: {error.message}")


class Ledger:
    """A table whose primary key is the event's id: what is booked twice counts once."""

    def __init__(self, *customers: str) -> None:
        self.customers = set(customers)
        self.rows: dict[str, Payment] = {}

    async def book(self, payment: Payment) -> None:
        """Insert a row, unless it is there."""
        if payment.customer not in self.customers:
            raise NonRetryable(f"no customer {payment.customer}")
        if self.rows.setdefault(payment.id, payment) is payment:
            print(f"booked {payment.id}: {payment.cents} cents of {payment.customer}")


jobs = [BookPayments(Ledger("ada", "bob").book)]
