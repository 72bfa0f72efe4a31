"""Evidence that several handlers gather: one kind a file, each giving findings and the numbers behind them.

Called by handlers only. Reads through the ports of the scene; a source that cannot be read becomes an unknown finding.
Never decides what is done about it.
"""
