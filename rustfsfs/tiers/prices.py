"""What the bucket costs. Figures change, and come from a price file; the defaults are mainland China's of 2024-25."""

from collections.abc import Mapping

import msgspec

from rustfsfs.bucketfacts import Placement
from rustfsfs.units import GIB, KIB

DAYS_PER_MONTH = 30.0
DAY_S = 86400.0


class ClassPrices(msgspec.Struct, frozen=True, kw_only=True):
    storage_per_gb_month: float
    put_per_10k: float  # DELETE, LIST and COPY too
    get_per_10k: float
    retrieval_per_gb: float = 0.0
    billed_bytes_min: int = 0  # of an object
    days_min: float = 0.0  # of storage; who deletes before pays for the rest


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    classes: Mapping[Placement, ClassPrices]
    egress_per_gb: float = 0.0  # 0: within the region; public 0.25 to 0.50


PRICES_2025 = Prices(  # OSS.md
    currency="CNY",
    classes={
        Placement.STANDARD: ClassPrices(storage_per_gb_month=0.12, put_per_10k=0.01, get_per_10k=0.01),
        Placement.IA: ClassPrices(
            storage_per_gb_month=0.08,
            put_per_10k=0.1,
            get_per_10k=0.1,
            retrieval_per_gb=0.0325,
            billed_bytes_min=64 * KIB,
            days_min=30.0,
        ),
        Placement.ARCHIVE: ClassPrices(
            storage_per_gb_month=0.033,
            put_per_10k=0.1,
            get_per_10k=0.1,
            retrieval_per_gb=0.06,
            billed_bytes_min=64 * KIB,
            days_min=60.0,
        ),
        Placement.COLD_ARCHIVE: ClassPrices(
            storage_per_gb_month=0.015,
            put_per_10k=0.1,
            get_per_10k=0.1,
            retrieval_per_gb=0.06,  # "standard" speed
            billed_bytes_min=64 * KIB,
            days_min=180.0,
        ),
        Placement.DEEP: ClassPrices(
            storage_per_gb_month=0.0075,
            put_per_10k=0.1,
            get_per_10k=0.1,
            retrieval_per_gb=0.06,  # pessimistic: not published for all regions
            billed_bytes_min=64 * KIB,
            days_min=180.0,
        ),
    },
)


def storage_cost(size_bytes: int, days: float, prices: ClassPrices) -> float:
    """Of one object."""
    billed_bytes = max(size_bytes, prices.billed_bytes_min)
    return billed_bytes / GIB * prices.storage_per_gb_month * days / DAYS_PER_MONTH


def days_left(age_s: float, prices: ClassPrices) -> float:
    """Days of storage of an object that are billed whether it stays or not; 0: it may go."""
    return max(0.0, prices.days_min - max(age_s, 0.0) / DAY_S)


def paid_since_s(prices: Prices, *, now_s: float) -> dict[Placement, int]:
    """Class -> when (seconds since 1970) an object was put whose minimum days are over just now."""
    return {placement: int(now_s - one.days_min * DAY_S) for placement, one in prices.classes.items()}
