"""Multipart: begin, parts, end. An upload that is neither ended nor aborted stays until then, as at OSS."""

from tests.oss_server import errors, xml
from tests.oss_server.bucket_actions import answer, keys_asked_for, name_writer
from tests.oss_server.disk import Blob
from tests.oss_server.object_actions import add_version, check_md5, class_asked_for, kept_headers, source_of
from tests.oss_server.objects import Part, Upload
from tests.oss_server.ranges import requested_range
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer

PART_SIZE_MIN = 100 * 1024  # bytes, of all parts but the last; OSS's documentation of CompleteMultipartUpload
PARTS_MAX = 10_000


def initiate(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket = store.bucket(call.bucket)
        upload = Upload(
            upload_id=f"{store.disk.next_serial():032X}",
            key=call.key,
            storage_class=class_asked_for(call, bucket),
            headers=kept_headers(call),
            initiated_s=store.clock.now_s(),
        )
        bucket.uploads[upload.upload_id] = upload
    facts = {"Bucket": call.bucket, "Key": name_writer(call)(call.key), "UploadId": upload.upload_id}
    return answer("InitiateMultipartUploadResult", facts)


def upload_part(store: Store, call: Call) -> Answer:
    with store.lock:
        store.bucket(call.bucket).upload(call.key, call.query("uploadId"))
    blob = store.disk.receive(call.bucket, call.pieces)
    try:
        check_md5(call, blob)
        _keep_part(store, call, blob)
    except BaseException:
        store.disk.discard(blob)
        raise
    return Answer(status=200, headers=_digests(blob))


def upload_part_copy(store: Store, call: Call) -> Answer:
    with store.lock:
        bucket, source = source_of(store, call)
        found = requested_range(call.header("x-oss-copy-source-range"), source.size_bytes, standard=True)
        offset, size_bytes = found or (0, source.size_bytes)
        pieces = store.disk.read(bucket.name, source.blob, offset, size_bytes)
        blob = store.disk.receive(call.bucket, pieces)
        _keep_part(store, call, blob)
        facts = {"LastModified": xml.iso_time(store.clock.now_s()), "ETag": f'"{blob.md5.hex().upper()}"'}
    told = answer("CopyPartResult", facts)
    told.headers |= _digests(blob)
    return told


def _keep_part(store: Store, call: Call, blob: Blob) -> None:
    text = call.query("partNumber")
    if not text.isdigit() or not 1 <= int(text) <= PARTS_MAX:
        raise errors.invalid_argument("Part number must be an integer between 1 and 10000.", "partNumber", text)
    with store.lock:
        upload = store.bucket(call.bucket).upload(call.key, call.query("uploadId"))
        old = upload.parts.get(int(text))
        upload.parts[int(text)] = Part(
            path=blob.path,
            size_bytes=blob.size_bytes,
            crc64=blob.crc64,
            md5=blob.md5,
            modified_s=store.clock.now_s(),
        )
    if old is not None:
        store.disk.discard(_blob_of(old))


def _blob_of(part: Part) -> Blob:
    return Blob(path=part.path, size_bytes=part.size_bytes, crc64=part.crc64, md5=part.md5)


def _digests(blob: Blob) -> dict[str, str]:
    return {"ETag": f'"{blob.md5.hex().upper()}"', "x-oss-hash-crc64ecma": str(blob.crc64)}


def complete(store: Store, call: Call) -> Answer:
    body = call.document()
    with store.lock:
        bucket = store.bucket(call.bucket)
        upload = bucket.upload(call.key, call.query("uploadId"))
        parts = _parts_named(upload, body)
        blob = store.disk.joined(call.bucket, [_blob_of(part) for part in parts])
        try:
            version = add_version(
                store,
                call,
                blob,
                storage_class=upload.storage_class,
                headers=upload.headers,
                etag=f"{blob.md5.hex().upper()}-{len(parts)}",
                kind="Multipart",
            )
        except BaseException:
            store.disk.discard(blob)
            raise
        _forget(store, call, upload)
    told = answer(
        "CompleteMultipartUploadResult", {"Bucket": call.bucket, "Key": call.key, "ETag": f'"{version.etag}"'}
    )
    told.headers |= {"ETag": f'"{version.etag}"', "x-oss-hash-crc64ecma": str(version.crc64)}
    return told


def _parts_named(upload: Upload, body: bytes) -> list[Part]:
    """Raises InvalidPart, InvalidPartOrder, EntityTooSmall, MalformedXML."""
    found, numbers = [], []
    for element in xml.parsed(body, "CompleteMultipartUpload").findall("Part"):
        number = int(xml.text_of(element, "PartNumber", "0"))
        part = upload.parts.get(number)
        if part is None or part.md5.hex().upper() != xml.text_of(element, "ETag").strip('"').upper():
            text = "One or more of the specified parts could not be found, or the entity tag might not have matched."
            raise errors.OssError(400, "InvalidPart", text, facts={"PartNumber": str(number)})
        found.append(part)
        numbers.append(number)
    if not found:
        raise errors.malformed_xml()
    if numbers != sorted(set(numbers)):
        raise errors.OssError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    if any(part.size_bytes < PART_SIZE_MIN for part in found[:-1]):
        raise errors.OssError(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.")
    return found


def abort(store: Store, call: Call) -> Answer:
    with store.lock:
        _forget(store, call, store.bucket(call.bucket).upload(call.key, call.query("uploadId")))
    return Answer(status=204)


def _forget(store: Store, call: Call, upload: Upload) -> None:
    del store.bucket(call.bucket).uploads[upload.upload_id]
    for part in upload.parts.values():
        store.disk.discard(_blob_of(part))


def list_parts(store: Store, call: Call) -> Answer:
    count_max = keys_asked_for(call, "max-parts")
    behind = int(call.query("part-number-marker") or "0")
    with store.lock:
        upload = store.bucket(call.bucket).upload(call.key, call.query("uploadId"))
        numbers = [number for number in sorted(upload.parts) if number > behind]
        parts: list[xml.Content] = [_facts_of(number, upload.parts[number]) for number in numbers[:count_max]]
    facts: dict[str, xml.Content] = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload.upload_id,
        "NextPartNumberMarker": numbers[:count_max][-1] if numbers else 0,
        "MaxParts": count_max,
        "IsTruncated": len(numbers) > count_max,
        "Part": parts,
    }
    return answer("ListPartsResult", facts)


def _facts_of(number: int, part: Part) -> dict[str, xml.Content]:
    return {
        "PartNumber": number,
        "LastModified": xml.iso_time(part.modified_s),
        "ETag": f'"{part.md5.hex().upper()}"',
        "HashCrc64ecma": str(part.crc64),
        "Size": part.size_bytes,
    }


def list_uploads(store: Store, call: Call) -> Answer:
    """Uploads that are not ended, in the order of their keys. Without delimiter: not asked for by anybody."""
    count_max, written = keys_asked_for(call, "max-uploads"), name_writer(call)
    behind = (call.query("key-marker"), call.query("upload-id-marker") or chr(0x10FFFF))
    with store.lock:
        uploads = store.bucket(call.bucket).uploads.values()
        found = sorted((one.key, one.upload_id, one.initiated_s) for one in uploads)
    found = [one for one in found if one[0].startswith(call.query("prefix")) and one[:2] > behind]
    page = found[:count_max]
    facts: dict[str, xml.Content] = {
        "Bucket": call.bucket,
        "EncodingType": call.query("encoding-type"),
        "KeyMarker": written(call.query("key-marker")),
        "UploadIdMarker": call.query("upload-id-marker"),
        "NextKeyMarker": written(page[-1][0]) if page else "",
        "NextUploadIdMarker": page[-1][1] if page else "",
        "MaxUploads": count_max,
        "IsTruncated": len(found) > count_max,
        "Upload": [
            {"Key": written(key), "UploadId": upload_id, "Initiated": xml.iso_time(initiated_s)}
            for key, upload_id, initiated_s in page
        ],
    }
    return answer("ListMultipartUploadsResult", facts)
