"""Renamed keys and values of recipes, for error messages that state the new name; old names are not accepted."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OLD_KEYS: Final[Mapping[str, str | Mapping[str, str]]] = MappingProxyType(
    {
        "agreement": "ensemble",
        "again": "source_fine_tuning",
        "batch_norm_anew": "adabn",
        "looks": "stain_augmentation",
        "judge": {"": "discriminator", "the recipe": "scorer"},
        "taught_table": "learned_lut",
        "both_sites": "semi_supervised",
        "worth": "learning_curve",
        "sure": "min_confidence",
    }
)
"""New key by old key. If it depends on the section that holds the key: new key by section, "" for any other."""

OLD_VALUES: Final[Mapping[str, str]] = MappingProxyType(
    {"gray-then-colour": "gray-then-color", "by-look": "by-subdomain", "taught-table": "learned-lut"}
)
"""New name by old name of presets, kinds of translators and normalizers."""
