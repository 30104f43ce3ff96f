"""Hypothesis without its stopwatch: a busy machine is no fault of a kernel's."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
