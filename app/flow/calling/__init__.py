"""Calling people: escalations with their steps, PagerDuty calls, their statuses, and calls that could not be sent."""
