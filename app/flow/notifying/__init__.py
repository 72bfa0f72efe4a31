"""Records of what happened, and the messages that follow from them."""
