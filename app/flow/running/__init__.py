"""The life of a run: carry out a step, verify it, go on, undo, end."""
