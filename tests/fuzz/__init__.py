"""Fuzzing: every parser of bytes from outside as a function that takes any bytes and must neither raise nor stall."""
