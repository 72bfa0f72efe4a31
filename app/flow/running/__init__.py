"""The life of a run: carry out a step, find the next one, go on after whatever happened, end."""
