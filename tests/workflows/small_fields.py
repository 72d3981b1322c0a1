"""Small simulated fields in which a few lymphocytes lie, for tests that search, count and classify."""

from hemabridge.data.simulate import FieldSpec

SMALL_FIELDS = FieldSpec(
    seed=5,
    width_px=340,
    height_px=300,
    um_per_px=0.22,
    leukocytes=5.0,
    areas=("monolayer",),
    prevalence={"lymphocyte": 1.0},
)
