"""One request, one answer: the table from operation to the function that carries it out."""

import base64
from collections.abc import Callable

from tests.oss_server import bucket_actions, errors, lifecycle_actions, object_actions, uploads, versions, xml
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
    _O.GET_LIFECYCLE: lifecycle_actions.get_lifecycle,
    _O.PUT_LIFECYCLE: lifecycle_actions.put_lifecycle,
    _O.DELETE_LIFECYCLE: lifecycle_actions.delete_lifecycle,
    _O.LIST_VERSIONS: versions.list_versions,
    _O.LIST_UPLOADS: uploads.list_uploads,
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
    _O.INITIATE_UPLOAD: uploads.initiate,
    _O.UPLOAD_PART: uploads.upload_part,
    _O.UPLOAD_PART_COPY: uploads.upload_part_copy,
    _O.COMPLETE_UPLOAD: uploads.complete,
    _O.ABORT_UPLOAD: uploads.abort,
    _O.LIST_PARTS: uploads.list_parts,
}


def carry_out(store: Store, call: Call) -> Answer:
    """Raises OssError."""
    lifecycle_actions.run_lifecycle_if_due(store)
    return _ACTIONS[call.operation](store, call)


assert set(_ACTIONS) == set(Operation)


def refusal(error: errors.OssError, *, method: str, request_id: str, host: str) -> Answer:
    """The answer that tells an error: XML, or for a HEAD, which has no body, the same XML in a header."""
    document = xml.error_document(error, request_id=request_id, host=host)
    headers = {"Content-Type": "application/xml"} | ({"x-oss-ec": error.ec} if error.ec else {}) | error.headers
    if error.status == 304:
        return Answer(status=304, headers=headers)
    if method == "HEAD":
        return Answer(status=error.status, headers=headers | {"x-oss-err": base64.b64encode(document).decode()})
    return Answer(status=error.status, headers=headers, body=document)
