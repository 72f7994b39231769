"""STORE: what lives in Redis and in the blob store."""

from gradclinic_store.attempt import Attempt, Standing
from gradclinic_store.settings import StoreSettings
from gradclinic_store.store import Store, TenantStore

__all__ = ["Attempt", "Standing", "Store", "StoreSettings", "TenantStore"]
