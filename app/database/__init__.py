"""The door to PostgreSQL servers that rules name: one login from a Secret, one look or one statement, and out again.

Implements `app.domain.database.Databases`, and the actuator of sessions. Never keeps a connection or a login.
"""
