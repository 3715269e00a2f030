"""multiprocessing and joblib over tine: faster, and whole when processes are killed."""
