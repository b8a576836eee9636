"""The Google Cloud backend."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from google.cloud.firestore_v1.async_client import AsyncClient

from functions.adapters.gcp.accounts import FirestoreAccounts
from functions.adapters.gcp.activity import FirestoreActivity
from functions.adapters.gcp.cooldowns import FirestoreCooldowns
from functions.adapters.gcp.failures import store_failures
from functions.adapters.gcp.firestore import FirestoreCounters, FirestoreDeliveredAlerts, FirestoreLedger
from functions.adapters.gcp.gate import FirestoreGate
from functions.adapters.gcp.keys import FirestoreKeys
from functions.adapters.gcp.pubsub import PubSubBus, open_publisher
from functions.adapters.stores import Stores


@asynccontextmanager
async def open_gcp(project: str, *, pubsub_emulator_host: str | None = None) -> AsyncGenerator[Stores]:
    """Open Firestore and Pub/Sub of a project. Firestore's client looks for its emulator itself."""
    with store_failures():
        firestore = AsyncClient(project=project)
    try:
        async with open_publisher(pubsub_emulator_host) as publisher:
            yield Stores(
                ledger=FirestoreLedger(firestore),
                counters=FirestoreCounters(firestore),
                gate=FirestoreGate(firestore),
                keys=FirestoreKeys(firestore),
                accounts=FirestoreAccounts(firestore),
                activity=FirestoreActivity(firestore),
                delivered_alerts=FirestoreDeliveredAlerts(firestore),
                cooldowns=FirestoreCooldowns(firestore),
                bus=PubSubBus(publisher, project),
            )
    finally:
        await firestore._firestore_api.transport.close()  # pyright: ignore[reportPrivateUsage]
