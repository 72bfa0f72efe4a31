"""What people order and answer: approvals, undo, pauses, promotions; and who may."""
