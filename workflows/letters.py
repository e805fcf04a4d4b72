"""Gives a machine what is in its mailbox, a slice at a time. Knows no Temporal workflow."""

from typing import Protocol

from temporalio.exceptions import ApplicationError

from durable_jobs.kinds import JobKind
from durable_jobs.values import JSON

from .inputs import read_message
from .machines.machine import Machine
from .machines.messages import BadInput, Message, Refused
from .mailbox import Letter, Mailbox


class Context(Protocol):
    """What letters need of whoever drives the machine."""

    def warn(self, text: str, *args: object) -> None:
        """Log something."""
        ...

    def judge(self, message: Message) -> None:
        """Have a worker judge a schedule; then the message goes into the mailbox."""
        ...


class Letters:
    """The letters of one instance, until its machine has taken them."""

    def __init__(self, kind: JobKind, mailbox: Mailbox, context: Context) -> None:
        self._kind = kind
        self._mailbox = mailbox
        self._context = context

    def waiting(self, machine: Machine) -> bool:
        """Whether letters can be taken up: behind an end they belong to the next life.

        Where the machine has enough to do, events wait unread.
        """
        ready = machine.over or not machine.closing
        return bool(self._mailbox) and ready and not (machine.full and self._mailbox.can_wait)

    def take_slice(self, machine: Machine) -> bool:
        """Take up a slice of the mailbox. Returns whether more is left that can be taken up."""
        for letter in self._mailbox.take_slice():
            if machine.over and machine.more_waits:
                machine.reopen(letter.at)
            closing = machine.closing and not machine.over
            if closing or (machine.full and letter.can_wait and self._mailbox.can_wait):
                self._mailbox.put_back(letter)
                break
            self._open(machine, letter)
        return self.waiting(machine)

    def _open(self, machine: Machine, letter: Letter) -> None:
        try:
            message = letter.message or self._read(letter)
            answer = None if message is None else self._receive(machine, message)
        except (BadInput, Refused) as error:
            if letter.answer is None:
                machine.reject(f"{letter.name}: {error}", letter.at)
            elif not letter.answer.done():
                letter.answer.set_exception(refusal(error))
        else:
            if letter.answer is not None and not letter.answer.done():
                letter.answer.set_result(answer)

    def _read(self, letter: Letter) -> Message | None:
        """Read a signal; None where there is nothing to take up now."""
        if letter.name not in self._kind.verbs or letter.name in self._kind.update_only:
            self._context.warn("Ignored the unknown signal %r", letter.name)
            return None
        try:
            message = read_message(self._kind, letter.name, letter.args, letter.at)
        except BadInput as error:
            if letter.name not in self._kind.brings:
                raise
            return Message(letter.name, letter.at, [error])
        if message.verb == "reschedule":
            self._context.judge(message)
            return None
        return message

    def _receive(self, machine: Machine, message: Message) -> JSON:
        self._mailbox.weigh(len(message.events))
        if machine.over:
            if message.verb not in self._kind.brings:
                # Nobody is there any more to heed it.
                return {"status": machine.status_word()}
            machine.reopen(message.at)
        return machine.receive(message)


def refusal(error: BadInput | Refused) -> ApplicationError:
    """How a caller of an update sees why it was refused."""
    kind = error.kind if isinstance(error, Refused) else "InvalidEvent"
    return ApplicationError(str(error), type=kind, non_retryable=True)
