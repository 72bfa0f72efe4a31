"""What people read: messages made from the story of an incident, and the doors they leave through."""
