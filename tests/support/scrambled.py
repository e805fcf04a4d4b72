"""A payload codec, as users have for encryption."""

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec


class Scrambler(PayloadCodec):
    """Stands for encryption: no byte of a payload or of its metadata stays readable."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(
                metadata={"encoding": b"binary/scrambled"},
                data=bytes(byte ^ 0x5A for byte in payload.SerializeToString()),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decoded(payload) for payload in payloads]

    @staticmethod
    def _decoded(payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != b"binary/scrambled":
            return payload
        return Payload.FromString(bytes(byte ^ 0x5A for byte in payload.data))


ENCRYPTED = dataclasses.replace(DataConverter.default, payload_codec=Scrambler())
