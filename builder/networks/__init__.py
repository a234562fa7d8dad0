"""The embedded engine's two networks: brought, written as ONNX once at set-up, placed under NETWORKS_PATH, recorded. See docs/models.md."""
