"""The Kubernetes side: the real client behind the cluster port, and everything that gives meaning to manifests.

`client` is the only importer of the client library; `read`, `apply` and `actions` work on the port, so that the
simulated cluster runs the same logic.
"""
