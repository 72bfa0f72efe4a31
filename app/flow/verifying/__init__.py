"""Did it help? What was measured before a step and after it, and what of it a step is undone for."""
