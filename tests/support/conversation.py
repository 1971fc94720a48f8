"""Accounts of the messenger that talk to each other, without any server."""

from __future__ import annotations

from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import PreKeys
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.messages.content import Content, compose
from msgspec.structs import replace

NOW = 1_700_000_000_000


def account(name: str, one_time: int = 4) -> Account:
    return Account.create(name, NOW, one_time)


def bundle(owner: Account, one_time: int = 1) -> PreKeys:
    published = owner.get_published_keys()
    return replace(published, one_time=published.one_time[:one_time])


def say(text: str) -> Content:
    return compose(text, (), NOW, system_randomness())


def send(sender: Account, recipient: Account, text: str) -> bytes:
    first = None if sender.has_session(recipient.name) else bundle(recipient)
    return sender.encrypt(recipient.name, say(text), first)


def deliver(sender: Account, recipient: Account, text: str) -> None:
    assert recipient.decrypt(sender.name, send(sender, recipient, text)).text == text


def conversation() -> tuple[Account, Account]:
    alice = account("alice")
    bob = account("bob")
    deliver(alice, bob, "hello")
    deliver(bob, alice, "hello yourself")
    return alice, bob
