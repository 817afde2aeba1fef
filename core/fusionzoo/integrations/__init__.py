"""Model folders in other tools: `integrations.mlflow` logs, loads and serves them with MLflow."""
