"""The audit of all images before any training: files, duplicates, classes, color and scale."""

from hemabridge.data.audit.audit_results import Audit, Finding
from hemabridge.data.audit.duplicates import near_duplicates
from hemabridge.data.audit.survey import audit

__all__ = ["Audit", "Finding", "audit", "near_duplicates"]
