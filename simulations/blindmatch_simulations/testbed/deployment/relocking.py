"""Another passphrase or key file for a device's store; whenever it is killed, the old one works or the new.

    settings name both --> one transaction replaces the store's lock --> settings name the new one alone

What is sealed stays as it is: the lock alone changes. Whoever has an older copy of the store, and what opened
it, still has what was in it.
"""

from __future__ import annotations

from pathlib import Path

from blindmatch_client.errors import StoreError, WrongKeyError
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import KEY_NAME, lock_kind
from msgspec.structs import replace

from blindmatch_simulations.testbed.deployment.device_settings import STATE, Options, Settings
from blindmatch_simulations.testbed.deployment.folder import Deployment


def relock(
    deployment: Deployment,
    name: str,
    key_file: Path | None,
    new_passphrase: str | None,
    passphrase: str | None = None,
) -> None:
    """Lock the store of the device called `name` with something else from now on.

    Args:
        key_file: what locks it then; None with no `new_passphrase`: a file beside it.
        new_passphrase: what locks it then, in place of a file.
        passphrase: that locks it now, if one does.

    Raises:
        WrongKeyError: if it is locked with something else now.
        StoreError: if there is no such device, nothing would change, or the new key cannot be had.
    """
    settings = settled(deployment, name, passphrase)
    new = replace(settings.options, key_file=key_file, passphrase=new_passphrase is not None)
    if new.encoded() == settings.options.encoded() and not new.passphrase:
        raise StoreError(f"device {name} is locked with this key file already")
    folder, key = deployment.device(name) / STATE, settings.options.key(passphrase)
    store = Store(folder, False, key)
    try:
        if new != settings.options:
            replace(settings, following=new).write(deployment, name)
        store.relock(new.source(new_passphrase, folder))
    finally:
        # if it failed, `settled` finds out how far it came
        store.close()
    _finish(deployment, name, settings, new)


def current_kind(deployment: Deployment, name: str) -> str:
    """What kind of key opens the device now. Raises `StoreError` if there is no such device."""
    settings = Settings.read(deployment, name)
    if settings.following is None:
        return settings.options.kind
    return lock_kind(deployment.device(name) / STATE)


def settled(deployment: Deployment, name: str, passphrase: str | None) -> Settings:
    """A device's settings; if a change of its lock was broken off, first see how far it came.

    Raises:
        StoreError: if there is no such device, or neither the old key nor the new one can be had.
        WrongKeyError: if neither opens it.
    """
    settings = Settings.read(deployment, name)
    if settings.following is None:
        return settings
    folder = deployment.device(name) / STATE
    kind = lock_kind(folder)
    # one of them at least: the transaction was made, or it was not
    possible = [one for one in (settings.following, settings.options) if one.kind == kind]
    for options in possible[:-1]:
        try:
            Store(folder, False, options.source(passphrase, folder)).close()
        except StoreError:
            continue
        return _finish(deployment, name, settings, options)
    if not possible:
        raise WrongKeyError(f"device {name}: its store is locked with a {kind}, which nobody asked for")
    return _finish(deployment, name, settings, possible[-1])


def _finish(deployment: Deployment, name: str, settings: Settings, options: Options) -> Settings:
    """The store is locked as `options` say. The file beside it, if it was one, opens nothing any more."""
    if options.passphrase or options.key_file is not None:
        (deployment.device(name) / STATE / KEY_NAME).unlink(missing_ok=True)
    done = replace(settings, options=options, following=None)
    done.write(deployment, name)
    return done
