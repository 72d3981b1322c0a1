"""Earlier keys and values of recipes, for error messages that state the new name; old names are not accepted."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

NewName: TypeAlias = str | None

OLD_KEYS: Final[Mapping[str, NewName | Mapping[str, NewName]]] = MappingProxyType(
    {
        "agreement": "ensemble",
        "again": "source_fine_tuning",
        "batch_norm_anew": "adabn",
        "looks": {"": "stain_augmentation", "ensemble": None},
        "judge": {"": "discriminator", "the recipe": "scorer"},
        "taught_table": "learned_lut",
        "both_sites": "semi_supervised",
        "worth": "learning_curve",
        "sure": "min_confidence",
        "discord": None,
        "doubt": None,
        "anew": None,
        "mixing_rounds": None,
        "source_looks": None,
        "self_training_rounds": None,
    }
)
"""New key by old key; None: what it set is gone. If that depends on the section that holds the key: by section, "" for
any other."""

OLD_VALUES: Final[Mapping[str, str]] = MappingProxyType(
    {"gray-then-colour": "gray-then-color", "by-look": "by-subdomain", "taught-table": "learned-lut"}
)
"""New name by old name of presets, kinds of translators and normalizers."""
