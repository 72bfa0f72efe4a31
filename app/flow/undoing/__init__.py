"""Taking back: undos, their orders, temporary changes and their ends, and what holds a write of ours."""
