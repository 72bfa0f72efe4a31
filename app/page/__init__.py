"""The web page: where somebody on call sees what happened and why, and answers with one click.

Called by the composition root, which adds it to the HTTP side. Owns the pages, their session and their forms. It reads with
the store's queries and passes orders to the operations that the API calls: no second way to approve, undo or pause, no rights
of its own. Everything works without JavaScript; what a script adds is live news and keys.
"""
