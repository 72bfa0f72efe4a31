"""The clients of PostgreSQL servers and Redis caches that rules name: one login from a Secret, one look or one statement, and out again.

Implements `app.domain.database.Databases`, the actuator of sessions, and `app.domain.cache.Caches`. Never keeps a connection or a login.
"""
