"""Scoring of runs and bags: inputs, replays, errors, tables, reports."""
