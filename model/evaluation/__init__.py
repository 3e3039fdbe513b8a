"""Evaluation: the gate between candidate and champion, blind verdicts, calibration."""
