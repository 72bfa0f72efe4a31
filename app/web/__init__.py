"""The HTTP side: webhooks, the JSON API, health and metrics. `app.web.app.create_app` puts it together.

Called by uvicorn. Owns routes, authentication of callers, limits of requests and the one error shape. Never decides,
never touches the cluster: it stores what arrives, shows what is stored, and passes orders on.
"""
