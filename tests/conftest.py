"""Settings every room's tests share."""

from hypothesis import HealthCheck, settings

# tests assert behaviour, never time: a busy machine must not fail one
settings.register_profile(
    "blindmatch", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("blindmatch")
