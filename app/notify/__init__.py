"""What people read: messages made from the timeline of an incident, and the clients they leave through."""
