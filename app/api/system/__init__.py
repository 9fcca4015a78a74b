"""Health, readiness, metrics, and the upstream's models."""
