"""The named experiments: model, data, initialisation and horizon. Imports data."""
