"""Credentials that never change, and are easily found where they should not be."""

from rustfsfs.store.credentials import Credentials

KEY_ID, SECRET, TOKEN = "LTAIheld", "secret-of-the-tests-0123", "token-of-the-tests-4567"


class Held:
    """A `CredentialSource`."""

    def __init__(self, key_id: str = KEY_ID, secret: str = SECRET, token: str = TOKEN) -> None:
        self._credentials = Credentials(access_key_id=key_id, access_key_secret=secret, security_token=token)

    def get(self) -> Credentials:
        return self._credentials

    def refresh(self) -> None:
        pass
