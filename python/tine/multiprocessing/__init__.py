"""multiprocessing over tine."""
