"""The metadata service, asked as the documentation says, and by oss2's own provider."""

from collections.abc import Iterator

import oss2
import pytest
import requests

from tests.oss_server import OssServer
from tests.oss_server.client import bucket_of
from tests.oss_server.ecs import ROLE_PATH, TOKEN_HEADER, TOKEN_PATH, TTL_HEADER, Ecs, ecs_serving


@pytest.fixture
def ecs(oss: OssServer) -> Iterator[Ecs]:
    with ecs_serving(oss) as serving:
        yield serving


def token_of(ecs: Ecs) -> str:
    return requests.put(ecs.endpoint + TOKEN_PATH, headers={TTL_HEADER: "60"}, timeout=5).text


def asked(ecs: Ecs, path: str, token: str = "") -> requests.Response:
    return requests.get(ecs.endpoint + path, headers={TOKEN_HEADER: token} if token else {}, timeout=5)


def test_with_a_token_the_role_gives_keys_that_oss_takes(oss: OssServer, ecs: Ecs) -> None:
    token = token_of(ecs)
    role = asked(ecs, ROLE_PATH, token).text
    keys = [asked(ecs, ROLE_PATH + role, token).json() for _ in range(2)]
    assert keys[0]["AccessKeyId"] != keys[1]["AccessKeyId"]
    for key in keys:
        auth = oss2.StsAuth(key["AccessKeyId"], key["AccessKeySecret"], key["SecurityToken"], auth_version="v4")
        bucket_of(oss, auth=auth).put_object("key", b"")


def test_hardened_it_answers_nothing_without_a_good_token(oss: OssServer, ecs: Ecs) -> None:
    assert asked(ecs, ROLE_PATH).status_code == 403
    assert asked(ecs, ROLE_PATH, "made up").status_code == 403
    assert requests.put(ecs.endpoint + TOKEN_PATH, timeout=5).status_code == 400
    token = token_of(ecs)
    oss.clock.skew_s = 61
    assert asked(ecs, ROLE_PATH, token).status_code == 403


def test_oss2_itself_gets_keys_in_normal_mode_only(oss: OssServer, ecs: Ecs) -> None:
    provider = oss2.credentials.EcsRamRoleCredentialsProvider(ecs.endpoint + ROLE_PATH + ecs.role, max_retries=1)
    with pytest.raises(oss2.exceptions.ClientError):
        provider.get_credentials()
    ecs.needs_token = False
    bucket_of(oss, auth=oss2.ProviderAuthV4(provider)).put_object("key", b"")


def test_an_instance_without_a_role(ecs: Ecs) -> None:
    ecs.role = ""
    assert asked(ecs, ROLE_PATH, token_of(ecs)).status_code == 404
    ecs.status = 500
    assert asked(ecs, ROLE_PATH).status_code == 500
    assert ecs.asked == [f"PUT {TOKEN_PATH}", f"GET {ROLE_PATH}", f"GET {ROLE_PATH}"]
