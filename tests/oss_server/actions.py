"""One request, one answer: the table from operation to the function that carries it out."""

import base64
from collections.abc import Callable

from tests.oss_server import bucket_actions, errors, object_actions, xml
from tests.oss_server.operations import Operation
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer

_O = Operation
_ACTIONS: dict[Operation, Callable[[Store, Call], Answer]] = {
    _O.LIST_BUCKETS: bucket_actions.list_buckets,
    _O.PUT_BUCKET: bucket_actions.put_bucket,
    _O.DELETE_BUCKET: bucket_actions.delete_bucket,
    _O.GET_BUCKET_INFO: bucket_actions.get_bucket_info,
    _O.GET_BUCKET_LOCATION: bucket_actions.get_bucket_location,
    _O.GET_BUCKET_STAT: bucket_actions.get_bucket_stat,
    _O.GET_BUCKET_ACL: bucket_actions.get_acl,
    _O.GET_VERSIONING: bucket_actions.get_versioning,
    _O.PUT_VERSIONING: bucket_actions.put_versioning,
    _O.LIST_OBJECTS: bucket_actions.list_objects,
    _O.DELETE_OBJECTS: bucket_actions.delete_objects,
    _O.PUT_OBJECT: object_actions.put_object,
    _O.COPY_OBJECT: object_actions.copy_object,
    _O.GET_OBJECT: object_actions.get_object,
    _O.HEAD_OBJECT: object_actions.head_object,
    _O.GET_OBJECT_META: object_actions.get_object_meta,
    _O.GET_OBJECT_ACL: bucket_actions.get_acl,
    _O.DELETE_OBJECT: object_actions.delete_object,
    _O.RESTORE_OBJECT: object_actions.restore_object,
}


def carry_out(store: Store, call: Call) -> Answer:
    """Raises OssError."""
    action = _ACTIONS.get(call.operation)
    if action is None:
        raise errors.not_implemented(str(call.operation))
    return action(store, call)


def refusal(error: errors.OssError, *, method: str, request_id: str, host: str) -> Answer:
    """The answer that tells an error: XML, or for a HEAD, which has no body, the same XML in a header."""
    document = xml.error_document(error, request_id=request_id, host=host)
    headers = {"Content-Type": "application/xml"} | ({"x-oss-ec": error.ec} if error.ec else {}) | error.headers
    if error.status == 304:
        return Answer(status=304, headers=headers)
    if method == "HEAD":
        return Answer(status=error.status, headers=headers | {"x-oss-err": base64.b64encode(document).decode()})
    return Answer(status=error.status, headers=headers, body=document)
